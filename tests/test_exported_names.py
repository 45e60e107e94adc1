import inspect
import types
from importlib import import_module
from pkgutil import walk_packages

import pytest

import metagen
from metagen import backends, errors, strategies, tools, verifiers
from metagen.lazy import Names
from metagen.settings import spelled
from metagen.verifiers import critics


@pytest.mark.parametrize("name", metagen.__all__)
def test_what_is_exported_is_there_and_documented(name: str) -> None:
    assert getattr(metagen, name).__module__.startswith("metagen.") or name == "Backend"
    assert inspect.getdoc(getattr(metagen, name))


@pytest.mark.parametrize("package", [metagen, strategies, verifiers, tools, backends])
def test_nothing_else_is_public(package: types.ModuleType) -> None:
    for name in package.__all__:
        getattr(package, name)
    public = {name for name, value in vars(package).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert sorted(public - {"TYPE_CHECKING", "load_lazily"}) == sorted(package.__all__)


def parts(room: types.ModuleType) -> list[type]:
    """The finished strategies, verifiers, tools or backends that the modules of a room define, and not their bases."""
    names = [each.name for each in walk_packages(room.__path__, f"{room.__name__}.")]
    modules = [import_module(name) for name in names if name != "metagen.backends.rewards.scorer"]  # needs torch
    classes = [value for module in modules for value in vars(module).values() if inspect.isclass(value)]
    own = [each for each in classes if each.__module__ in names and not each.__name__.startswith("_")]
    return [each for each in own if is_part(each) and not any(each in other.__mro__[1:] for other in own)]


def is_part(value: type) -> bool:
    return getattr(value, "__repr__", None) is spelled or hasattr(value, "generate") or hasattr(value, "rate")


@pytest.mark.parametrize("room", [strategies, verifiers, tools, backends])
def test_every_part_of_the_room_is_in_its_list(room: types.ModuleType) -> None:
    listed = {*room.__all__, *critics.__all__}
    assert {part.__name__ for part in parts(room)} <= listed, f"name it in {room.__name__}.__all__"
    assert len(parts(room)) > 2


def test_all_strategies_verifiers_tools_and_backends_are_exported() -> None:
    assert {*strategies.__all__, *verifiers.__all__, *tools.__all__, *backends.__all__} <= set(metagen.__all__)


def test_all_errors_are_exported_and_drawn_in_their_tree() -> None:
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(classes) <= set(metagen.__all__)
    assert all(issubclass(value, errors.MetagenError) for value in classes.values())
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "── " in line]
    assert {line.split("── ")[1].split()[0] for line in drawn} == set(classes) - {"MetagenError"}


def test_what_costs_a_sample_is_no_error_of_the_caller() -> None:
    assert not issubclass(errors.SampleError, errors.InputError)
    assert issubclass(errors.WeightError, errors.InputError)
    assert not issubclass(errors.BackendGone, errors.SampleError)


def test_a_function_keeps_its_name_from_the_module_that_has_the_same() -> None:
    import_module("metagen.solve")
    assert inspect.isfunction(metagen.solve)
    assert inspect.ismodule(metagen.sync)


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'metagen' has no attribute 'Elsewhere'"):
        getattr(metagen, "Elsewhere")  # noqa: B009
    assert set(metagen.__all__) <= set(dir(metagen))


def test_names_are_those_of_packages_and_others_which_come_first() -> None:
    names = Names(tools, Seven=7) | {"Python": "ours"}
    assert set(names) == {*tools.__all__, "Seven"}
    assert len(names) == len(set(names))
    assert (names["Calculator"], names["Seven"], names["Python"]) == (tools.Calculator, 7, "ours")
