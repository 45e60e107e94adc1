"""How the published reward models want to be asked, and where their scores are read: pure text and names.

Each form is that of the model's own card; the tests hold them against strings from there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metagen.errors import InputError

Turns = list[dict[str, str]]
"""Messages for the model's own chat template."""
Pieces = tuple[str, ...]
"""Texts that are tokenised each by itself, after the tokenizer's first token if it has one."""
Form = Turns | Pieces | str
"""Turns, or the bare text of a model without a template."""
Forming = Callable[[str, Sequence[str]], Form]
"""From a question and the steps of an answer to what is read."""

BOXED = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of reward model.

    `marks`: one pass, a score at each `mark` token, the probability of the second of two classes. `values`: the same,
    but one number, whose sigmoid is the score. `last`: one pass, one number at the last token, a logit. `next`: a
    causal model; after each step the probability that it continues with `good` rather than with `bad`.
    """

    name: str
    form: Forming
    reads: Literal["marks", "values", "last", "next"]
    mark: str = ""
    good: str = ""
    bad: str = ""
    served: bool = True
    """Whether vLLM has its architecture; else torch runs it."""

    @property
    def process(self) -> bool:
        """Whether there is a score for each step."""
        return self.reads != "last"


def marked(system: str = "", mark: str = "<extra_0>") -> Forming:
    """Each step is followed by a mark (Qwen2.5-Math-PRM, Zhang et al. 2025; with its `system` prompt).

    A mark that a candidate writes itself is pulled apart: it would be scored in place of a step.
    """

    def form(prompt: str, steps: Sequence[str]) -> Turns:
        plain = (step.strip().replace(mark, f"{mark[0]} {mark[1:]}") for step in steps)
        return _turns(system, prompt, "".join(f"{step}{mark}" for step in plain))

    return form


def whole(system: str = "") -> Forming:
    """Question and answer as a chat (Skywork-Reward; Qwen2.5-Math-RM with its `system` prompt)."""

    def form(prompt: str, steps: Sequence[str]) -> Turns:
        return _turns(system, prompt, "".join(steps))

    return form


def shepherd(prompt: str, steps: Sequence[str]) -> str:
    """`question Step 1: … ки` and one line per step (Math-Shepherd-Mistral-7B-PRM; Wang et al. 2024)."""
    lines = "\n".join(f"{_numbered(number, step.strip())} ки" for number, step in enumerate(steps, 1))
    return f"{prompt} {lines}"


def rlhflow(prompt: str, steps: Sequence[str]) -> Turns:
    """One turn per step, each answered with `+` but the last (Llama3.1-8B-PRM; Xiong et al. 2024, RLHFlow)."""
    asked = [f"{prompt} {steps[0].strip()}", *(step.strip() for step in steps[1:])] if steps else [prompt]
    turns = [
        turn for text in asked for turn in ({"role": "user", "content": text}, {"role": "assistant", "content": "+"})
    ]
    return turns[:-1]


def lines(prompt: str, steps: Sequence[str]) -> Pieces:
    """The question and one line per step, each with a newline of its own (Skywork-o1-Open-PRM; He et al. 2024)."""
    return (f"{prompt}\n", *_ended(steps))


def separated(prompt: str, steps: Sequence[str]) -> Pieces:
    """The question, then the steps with a newline after each, scored at the newlines (TRL's `PRMTrainer`)."""
    return (prompt, *_ended(steps))


FAMILIES = {
    family.name: family
    for family in (
        Family("qwen-prm", marked(BOXED), "marks", mark="<extra_0>"),
        Family("marked", marked(), "marks", mark="<extra_0>"),
        Family("skywork-prm", lines, "values", mark="\n", served=False),
        Family("trl-prm", separated, "marks", mark="\n", served=False),
        Family("math-shepherd", shepherd, "next", good="+", bad="-"),
        Family("rlhflow", rlhflow, "next", good="+", bad="-"),
        Family("qwen-rm", whole(BOXED), "last"),
        Family("outcome", whole(), "last"),
    )
}
"""By name. `marked` and `outcome` are the same forms without a system prompt: for models of one's own."""

_NAMES = {
    "qwen2.5-math-prm": "qwen-prm",
    "qwen2.5-math-rm": "qwen-rm",
    "math-shepherd": "math-shepherd",
    "llama3.1-8b-prm": "rlhflow",
    "skywork-reward": "outcome",
    "skywork-o1-open-prm": "skywork-prm",
}
_ARCHITECTURES = {
    "ForProcessRewardModel": "marked",
    "ForRewardModel": "outcome",
    "ForSequenceClassification": "outcome",
    "ForTokenClassification": "trl-prm",
}


def family(model: str, config: Mapping[str, Any], named: str | None = None) -> Family:
    """The family of a model: as `named`, else by the model's name, else by the architecture in its `config.json`.

    Raises `InputError` if it is none that is known.
    """
    if named is not None and named not in FAMILIES:
        raise InputError(f"there is no family of reward models {named!r}; there is {', '.join(FAMILIES)}")
    found = named or known_family(model, config)
    if found is None:
        raise InputError(
            f"{model} is no reward model that is known by its name or its architecture: "
            f"say which it is like, with like= one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[found]


def known_family(model: str, config: Mapping[str, Any]) -> str | None:
    """The name of the family, or `None` for what is no reward model, as far as can be told."""
    called = model.rstrip("/").rpartition("/")[2].lower()
    by_name = next((kind for part, kind in _NAMES.items() if part in called), None)
    architectures = config.get("architectures") or ()
    by_layout = (kind for end, kind in _ARCHITECTURES.items() if any(str(one).endswith(end) for one in architectures))
    return by_name or next(by_layout, None)


def _turns(system: str, prompt: str, reply: str) -> Turns:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]


def _ended(steps: Sequence[str]) -> Iterator[str]:
    """Each step as one line, and its newline apart: so its score stands at a token that is nothing but that."""
    for step in steps:
        yield from (" ".join(step.strip().split("\n")), "\n")


def _numbered(number: int, step: str) -> str:
    return step if step.startswith("Step ") else f"Step {number}: {step}"
