"""Packages that load a name when it is first used, so that `import metagen` is fast.

Such a package lists its names as plain imports under `if TYPE_CHECKING:`, where type checkers and editors read them,
and ends with `load_lazily(__name__)`.
"""

import ast
import inspect
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

OURS = {
    "AdaptiveConsistency": "BetaStop",
    "BeamSearch": "Beam",
    "BestOfN": "BestOf",
    "BudgetForcing": "Think",
    "ChainOfThought": "CoT",
    "LLMJudge": "Judge",
    "MajorityVote": "Vote",
    "MajorityVoting": "Vote",
    "MBR": "Medoid",
    "MixtureOfAgent": "Fuse",
    "MonteCarloTreeSearch": "MCTS",
    "ORM": "OutcomeReward",
    "OutcomeRewardModel": "OutcomeReward",
    "PRM": "ProcessReward",
    "ProcessRewardModel": "ProcessReward",
    "ProgramAidedLanguageModel": "ProgramOfThought",
    "RejectionSampling": "Until",
    "Rerank": "BestOf",
    "SelfConsistency": "Vote",
    "SelfRefine": "Refine",
    "TreeOfThought": "BestFirst",
    "WeightedVote": "Vote(n, by=...)",
}
"""What the names of the literature are called here, without an s at the end."""


class LazyPackage(ModuleType):
    """A package whose names are imported from their modules when they are first used."""

    _sources: Mapping[str, str]
    """The module that each name comes from; the package itself, for a module of its own."""

    def __getattr__(self, name: str) -> Any:
        source = self._sources.get(name)
        if source is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}{self._hint(name)}")
        found = import_module(f"{source}.{name}") if source == self.__name__ else getattr(import_module(source), name)
        super().__setattr__(name, found)
        return found

    def _hint(self, name: str) -> str:
        """What may be meant, where the name is one of the literature's."""
        return "".join(f": did you mean {ours}?" for ours in called_here(name, self._sources))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, but leave `metagen.solve` a function: once loaded, Python sets the module of that name."""
        is_module = isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}"
        if not (is_module and self._sources.get(name) == value.__name__):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._sources})


def called_here(name: str, offered: Collection[str]) -> list[str]:
    """What a name of the literature is called here, if that is offered."""
    ours = OURS.get(name.removesuffix("s"), "")
    return [ours] if ours.partition("(")[0] in offered else []


def load_lazily(package: str) -> None:
    """Make a package load the names that it imports under `if TYPE_CHECKING:` when they are first used."""
    module = sys.modules[package]
    tree = ast.parse(inspect.getsource(module))
    listed = (node for part in tree.body if _is_for_types(part) for node in part.body)  # type: ignore[attr-defined]
    vars(module)["_sources"] = dict(_sources(listed))
    module.__class__ = LazyPackage


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _sources(nodes: Iterator[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Each name that is imported, with the module that it comes from."""
    for node in nodes:
        assert isinstance(node, ast.ImportFrom), "a lazy package lists its names as `from ... import ...`"
        assert node.module
        for alias in node.names:
            star = import_module(node.module).__all__ if alias.name == "*" else [alias.name]
            yield from ((name, node.module) for name in star)


class Names(Mapping[str, Any]):
    """Objects by name, each loaded when it is looked up."""

    def __init__(self, *packages: ModuleType, **more: Any) -> None:
        self._homes = {name: package for package in packages for name in package.__all__}
        self._more = more

    def __or__(self, more: Mapping[str, Any]) -> "Names":
        return Names(*set(self._homes.values()), **{**self._more, **more})

    def __getitem__(self, name: str) -> Any:
        return self._more[name] if name in self._more else getattr(self._homes[name], name)

    def __iter__(self) -> Iterator[str]:
        return iter({**self._homes, **self._more})

    def __len__(self) -> int:
        return len(self._homes.keys() | self._more.keys())
