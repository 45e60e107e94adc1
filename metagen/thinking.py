"""Thoughts apart from answers: how families of reasoning models mark what they think, and how a reply is split.

A family is data, in one table. What is thought is never an answer: it votes for nothing, and no judge reads it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from metagen.copies import maker
from metagen.errors import InputError


@dataclass(frozen=True, slots=True)
class Family:
    """How the models of one kind open and close their thoughts."""

    name: str
    open: str = "<think>"
    close: str = "</think>"
    lead: str = "\n"
    """What stands after the opening mark, and before the closing one."""
    gap: str = "\n\n"
    """What stands between the closing mark and the text."""
    opened: bool = False
    """Whether the chat template opens the thought itself, at the end of the prompt."""
    apart: bool = True
    """Whether its thoughts can be drawn by themselves and ended: for that, replies must be continued from ids."""
    on: Mapping[str, Any] = field(default_factory=dict, hash=False)
    off: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What switches thinking on and off, for the chat template; empty where it has no switch."""
    always: bool = False
    """Whether it still thinks, if less, when it is switched off."""
    called: str = ""
    """A regular expression that finds the family in a model's name."""
    template: tuple[str, ...] = ()
    """Texts that all stand in the family's chat templates."""

    @property
    def opening(self) -> str:
        """The text that begins a thought; empty where the prompt has done so."""
        return "" if self.opened else f"{self.open}{self.lead}"

    @property
    def closing(self) -> str:
        """The text that ends a thought."""
        return f"{self.lead}{self.close}{self.gap}"

    def written(self, thought: str, text: str, *, is_open: bool) -> str:
        """A reply as the model itself would have written it."""
        if not thought and not is_open:
            return text
        return f"{self.opening}{thought}" + ("" if is_open else f"{self.closing}{text}")


FAMILIES: dict[str, Family] = {
    each.name: each
    for each in (
        Family(
            "gpt-oss",
            open="<|channel|>analysis<|message|>",
            close="<|end|><|start|>assistant<|channel|>final<|message|>",
            lead="",
            gap="",
            off={"reasoning_effort": "low"},
            on={"reasoning_effort": "high"},
            always=True,
            called=r"gpt-?oss",
            template=("<|channel|>",),
        ),
        Family("magistral", open="[THINK]", close="[/THINK]", lead="", called="magistral", template=("[THINK]",)),
        Family(
            "granite",
            open="Here is my thought process:",
            close="Here is my response:",
            on={"thinking": True},
            off={"thinking": False},
            called=r"granite-?3\.[23]",
            template=("Here is my thought process",),
        ),
        Family(
            "exaone-deep",
            open="<thought>",
            close="</thought>",
            opened=True,
            called=r"exaone-?deep",
            template=("<thought>",),
        ),
        Family("qwq", opened=True, called="qwq"),
        Family("deepseek-r1", opened=True, called=r"deepseek-?r1|r1-distill|deepscaler|openthinker"),
        Family(
            "qwen3-thinking",
            opened=True,
            called=r"qwen-?3\S*(?<!no)(?<!non)(?<!without)-thinking(?:-(?:\d{4}|fp8|awq|gptq|gguf)\S*)?$",
        ),
        Family(
            "qwen3",
            on={"enable_thinking": True},
            off={"enable_thinking": False},
            called=r"qwen-?3(?!.*(?:instruct|coder|embedding|reranker|guard))",
            template=("<think>", "enable_thinking"),
        ),
        Family("think", called="reason|think", template=("<think>",)),
    )
}
"""By name, the most particular first. `think` stands for all others that write `<think>`."""
NONE = "none"
"""The name for models that do not think."""
USUAL = FAMILIES["think"]
"""By its marks a reply is split where nothing is known of the model."""
_OTHERS: dict[str, Family] = {
    "[THINK]": FAMILIES["magistral"],
    "<|channel|>": FAMILIES["gpt-oss"],
    "<|start|>assistant<|channel|>": FAMILIES["gpt-oss"],
    "<thought>": FAMILIES["exaone-deep"],
    "<seed:think>": Family("seed-oss", open="<seed:think>", close="</seed:think>"),
    "◁think▷": Family("kimi-vl", open="◁think▷", close="◁/think▷"),
    "<|START_THINKING|>": Family("command-a", open="<|START_THINKING|>", close="<|END_THINKING|>"),
    "<|begin_of_thought|>": Family("sky-t1", open="<|begin_of_thought|>", close="<|end_of_thought|>"),
}
"""What no reply of another family begins with. The last four are read, and their thoughts cannot be limited."""
_OPENED = FAMILIES["exaone-deep"]
"""Whose thoughts a prompt opens with other than the usual marks."""
_BARE = re.compile(
    r"\s*(?:assistant)?analysis(?![\s,.:;])"
    r"(?:(?P<thought>.*?)assistantfinal|(?P<open>[A-Z][\w’']*,? [a-z].*))(?P<text>.*)",
    re.DOTALL,
)
"""A reply of gpt-oss without its special tokens: `analysisWe need 2 + 3.assistantfinal5`."""
_BARE_CHANNEL = re.compile("assistant(?:analysis|commentary)")
_OPENINGS = (USUAL.open, *_OTHERS, "analysis", "assistantanalysis")


def find_family(wanted: str | None, model: str, template: str = "") -> Family | None:
    """The family of a model: the one that is `wanted`, else the one its chat template or its name shows, if any.

    Raises `InputError` for a name that no family has.
    """
    if wanted == NONE:
        return None
    if wanted is not None:
        if wanted not in FAMILIES:
            raise InputError(f"thinking={wanted!r}: no family is called so; there is {', '.join((*FAMILIES, NONE))}")
        return FAMILIES[wanted]
    shown = (each for each in FAMILIES.values() if each.template and all(mark in template for mark in each.template))
    if template:
        return next(shown, None)
    return next((each for each in FAMILIES.values() if re.search(each.called, model, re.IGNORECASE)), None)


def switched(options: Mapping[str, Any]) -> Family | None:
    """The family whose thinking these options of a chat template switch on or off, if any does."""
    switches = ((family, switch) for family in FAMILIES.values() for switch in (family.on, family.off))
    return next((family for family, switch in switches if switch and switch.items() <= options.items()), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, or a part of one: what was thought, what was said, and whether the thought is still open at its end."""

    thought: str
    text: str
    open: bool = False


replied = maker(Reply)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
CHANNEL = re.compile(r"(?:<\|start\|>\w*)?<\|channel\|>(\w+)[^<]*<\|message\|>")
ENDED = re.compile(r"<\|(?:end|return|call)\|>")


def may_think(raw: str) -> bool:
    """Whether a reply has marks of a thought, of a family that is not known."""
    return raw.lstrip().startswith(_OPENINGS) or USUAL.close in raw or _OPENED.close in raw


def split(raw: str, family: Family | None = None, *, opened: bool = False) -> Reply:
    """Split a reply at its marks; `opened` says that its thought was open before it began, though it may open it again.

    The first closing mark ends a thought. In what is said, a mark inside of code is text; outside of code it opens
    another thought. A closing mark without an opening one ends a thought that the prompt has opened. Where the family
    is not known, the marks that the reply begins with count, else the usual ones, and a thought opens at the beginning
    alone.
    """
    if family is None and not opened:
        if not may_think(raw):
            return replied("", raw, open=False)
        family = _shown(raw)
    if family and family.name == "gpt-oss":
        bare = None if opened else _BARE.fullmatch(raw)
        return _split_bare(bare) if bare else _split_channels(raw, opened=opened)
    at_start = family is None and not raw.lstrip().startswith(USUAL.open)
    family = family or USUAL
    if not opened and (at_start or family.open not in raw) and family.close not in raw:
        return Reply("", raw)
    if opened and raw.lstrip().startswith(family.open):
        raw = raw.lstrip().removeprefix(family.open).lstrip()
    thoughts: list[str] = []
    texts: list[str] = []
    thinking = opened
    at = 0
    for begin, end, closes in _marks(raw, family, opened=opened):
        if closes == thinking:
            (thoughts if thinking else texts).append(raw[at:begin])
            thinking, at = not thinking, end
        elif closes and not thoughts and not texts:  # the prompt had opened it, and nobody told
            thoughts.append(raw[at:begin])
            at = end
    (thoughts if thinking else texts).append(raw[at:])
    return join(thoughts, texts, opened=opened, is_open=thinking)


def _shown(raw: str) -> Family | None:
    """The family whose marks a reply shows; `None` for the usual ones."""
    if _BARE.fullmatch(raw):
        return FAMILIES["gpt-oss"]
    begins = raw.lstrip()
    found = next((each for mark, each in _OTHERS.items() if begins.startswith(mark)), None)
    if found or begins.startswith(USUAL.open) or USUAL.close in raw:
        return found
    return _OPENED if _OPENED.close in raw else None


def join(thoughts: list[str], texts: list[str], *, opened: bool, is_open: bool) -> Reply:
    """The parts without the blanks around marks; a thought keeps them at an end where it is continued."""
    last = len(thoughts) - 1
    ended = [each if is_open and place == last else each.rstrip() for place, each in enumerate(thoughts)]
    kept = [each if opened and not place else each.lstrip() for place, each in enumerate(ended)]
    said = "".join(texts)
    return Reply("\n".join(filter(None, kept)), said.lstrip() if thoughts else said, is_open)


def _marks(raw: str, family: Family, *, opened: bool) -> Iterator[tuple[int, int, bool]]:
    """Where the marks stand, and whether each closes; those in code that is said are left out."""
    pattern = re.compile(f"({re.escape(family.open)})|{re.escape(family.close)}")
    said = 0 if not opened else -1
    for found in pattern.finditer(raw):
        closes = found[1] is None
        if said >= 0 and _in_code(raw, said, found.start()):
            continue
        yield found.start(), found.end(), closes
        said = found.end() if closes else -1


def _in_code(raw: str, begin: int, place: int) -> bool:
    return any(found.start() <= place < found.end() for found in CODE.finditer(raw, begin))


def _split_channels(raw: str, *, opened: bool) -> Reply:
    """Harmony's channels: what is said stands in `final`, all else is thought."""
    pieces = list(CHANNEL.finditer(raw))
    first = raw[: pieces[0].start()] if pieces else raw
    thoughts, texts = ([_until_end(first)], []) if opened else ([], [_until_end(first)])
    is_open = opened and not ENDED.search(first)
    for piece, following in zip(pieces, [*pieces[1:], None][: len(pieces)], strict=True):
        content = raw[piece.end() : following.start() if following else len(raw)]
        (texts if piece[1] == "final" else thoughts).append(_until_end(content))
        is_open = piece[1] != "final"
    return join(thoughts, texts, opened=opened, is_open=is_open)


def _split_bare(found: re.Match[str]) -> Reply:
    thought = found["open"] if found["thought"] is None else found["thought"]
    return join(_BARE_CHANNEL.split(thought), [found["text"]], opened=False, is_open=found["thought"] is None)


def _until_end(content: str) -> str:
    return ENDED.split(content, 1)[0]
