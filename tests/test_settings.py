import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass
from inspect import signature
from typing import Any

import pytest

from metagen import (
    ABMCTS,
    DSP,
    MCTS,
    Arithmetic,
    Bandit,
    BestOf,
    BetaStop,
    Candidate,
    Chain,
    ConsensusStop,
    Correct,
    Cosine,
    CoT,
    Escalate,
    Fallback,
    Feedback,
    InputError,
    Intrinsic,
    Joined,
    Judge,
    Limits,
    Mapped,
    MatchesReference,
    Mean,
    Model,
    Panel,
    Problem,
    ProgramOfThought,
    ReAct,
    Reason,
    Rebase,
    Refine,
    Run,
    Sandbox,
    Score,
    SelfAsk,
    Until,
    Vote,
    Within,
    parse,
    strategies,
    tools,
    verifiers,
)
from metagen.answers.spec import CONSTRUCTORS
from metagen.settings import counted, kind_of, literal, require_generator, require_verifier, require_whole, spelled
from metagen.spec.parse import parse_grade
from metagen.verifiers import critics


@dataclass(frozen=True, repr=False)
class Example:
    n: int
    by: object = None
    _: KW_ONLY
    name: str = "x"
    of: object = None

    __repr__ = spelled


async def judge(problem: object, candidates: object, run: object) -> None: ...


@pytest.mark.parametrize(
    ("example", "spec"),
    [
        (Example(3), "Example(3)"),
        (Example(n=3, by=None, name="x"), "Example(3)"),
        (Example(3, judge), "Example(3, judge)"),
        (Example(3, name='say "hi"\n'), r'Example(3, name="say \"hi\"\n")'),
        (Example(3, of=Example(1), name="日本"), 'Example(3, name="日本", of=Example(1))'),
        (Example(3, Vote(2, of=CoT())), "Example(3, Vote(2, of=CoT()))"),
    ],
)
def test_an_object_prints_as_the_call_that_makes_it(example: Example, spec: str) -> None:
    assert repr(example) == spec


def test_what_comes_after_a_setting_that_is_left_out_is_named() -> None:
    vote = Vote(9, until=ConsensusStop(least=8))
    assert repr(vote) == "Vote(9, until=ConsensusStop(least=8))"
    assert parse(repr(vote)) == vote


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ("it's", '"it\'s"'),
        ("\x00\t\\", r'"\u0000\t\\"'),
        ("\ud800", r'"\ud800"'),
        ((), "()"),
        ((1,), "(1,)"),
        (("a", ("b", -0.5)), '("a", ("b", -0.5))'),
        (float("inf"), "1e999"),
        (float("-inf"), "-1e999"),
        (1e-7, "1e-07"),
        (True, "True"),
        (None, "None"),
        (judge, "judge"),
    ],
)
def test_a_setting_is_written_as_a_literal(value: object, text: str) -> None:
    assert literal(value) == text


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, float("nan")])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(InputError) as error:
        require_whole(Example(1), limit=value)
    assert str(error.value) == f"Example: limit must be a whole number of 1 or more, not {value!r}"


def test_the_least_whole_number_can_be_chosen() -> None:
    require_whole(Example(1), -1, k=-1)
    with pytest.raises(InputError, match="-1 or more, not -2"):
        require_whole(Example(1), -1, k=-2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Vote, r"Example: of=Vote is a class: write Vote\(\.\.\.\)"),
        (8, "Example: of=8 is not a strategy"),
        ("CoT()", r'Example: of="CoT\(\)" is not a strategy, which is an async function of \(problem, run\)'),
        (MatchesReference(), r"Example: of=MatchesReference\(\) is not a strategy"),
        (judge, "Example: of=judge is not a strategy"),
    ],
)
def test_what_is_no_generator_is_refused(value: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        require_generator(Example(1), of=value)


@pytest.mark.parametrize("value", [Vote, 8, Vote(2), Model()])
def test_what_is_no_verifier_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="Example: by="):
        require_verifier(Example(1), by=value)


LARGE = 10**400


@pytest.mark.parametrize(
    "make",
    [
        lambda: Refine(Reason(by=rates), threshold=LARGE),
        lambda: Reason(by=rates, threshold=LARGE),
        lambda: Until(rates, threshold=LARGE),
        lambda: Until(rates, threshold=True),
        lambda: Until(rates, threshold="1"),  # type: ignore[arg-type]
        lambda: Until(rates, threshold=float("nan")),
        lambda: Within(seconds=LARGE),
        lambda: Within(flops=LARGE),
        lambda: Within(flops=True),
        lambda: Within(seconds=float("nan")),
        lambda: Within(money="1"),  # type: ignore[arg-type]
        lambda: Mean(rates, weights=(LARGE,)),
        lambda: Model(temperature=LARGE),
        lambda: Model(logit_bias={1: LARGE}),
        lambda: MatchesReference(seconds=LARGE),
        lambda: MCTS(3, 2, by=rates, exploration=LARGE),
        lambda: Rebase(3, by=rates, temperature=LARGE),
    ],
)
def test_what_no_float_holds_is_no_number(make: Callable[[], Any]) -> None:
    with pytest.raises(InputError):
        make()


def test_infinity_is_a_threshold_and_a_limit() -> None:
    assert Until(rates, threshold=float("-inf")).threshold == -float("inf")
    assert Within(seconds=float("inf")).seconds == float("inf")
    assert Until(rates, threshold=10**300).threshold == 10**300


def test_what_fits_is_accepted() -> None:
    require_generator(Example(1), of=None)
    require_generator(Example(1), of=Model())
    require_verifier(Example(1), by=MatchesReference())
    require_verifier(Example(1), by=judge)


def plain_generator(problem: Any, run: Any) -> Any: ...


def plain_verifier(problem: Any, candidates: Any, run: Any) -> Any:
    return [1.0]


def plain_tool(text: str) -> str:
    return text


class PlainGenerator:
    def __call__(self, problem: Any, run: Any) -> Any: ...

    def __repr__(self) -> str:
        return "PlainGenerator()"


async def yields(problem: Problem, run: Run) -> AsyncIterator[Candidate]:
    yield Candidate(("7",))


class Yields:
    async def __call__(
        self, problem: Problem, candidates: Sequence[Candidate], run: Run
    ) -> AsyncIterator[Score | None]:
        yield None


async def async_rule(keys: object, weights: object, left: object) -> bool:
    return True


async def async_step(text: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Vote(2, of=plain_generator), "Vote: of=plain_generator is not async: write async def plain_generator"),
        (lambda: Vote(2, of=lambda problem, run: None), r"is not async: write async def NAME\(problem, run\)"),  # type: ignore[arg-type]
        (lambda: Vote(2, of=PlainGenerator()), r"is not async: write async def __call__\(problem, run\)"),
        (
            lambda: BestOf(2, by=plain_verifier),
            r"not async: write async def plain_verifier\(problem, candidates, run\)",
        ),
        (lambda: BestOf(2, by=functools.partial(plain_verifier)), "is not async"),
        (lambda: Until(plain_verifier), "Until: by=plain_verifier is not async"),
        (lambda: Mean(MatchesReference(), plain_verifier), "Mean: of=plain_verifier is not async"),
        (lambda: Refine(by=plain_verifier), "is not async"),
        (lambda: ProgramOfThought(plain_tool), "ProgramOfThought: interpreter=plain_tool is not async"),  # type: ignore[arg-type]
        (lambda: ReAct((("look", plain_tool),)), r"ReAct: look is not async: write async def plain_tool\(text\)"),  # type: ignore[arg-type]
        (lambda: Chain(plain_generator), "Chain: plain_generator is not async"),
        (lambda: Chain(plain_verifier), r"is not async: write async def plain_verifier\(problem, earlier, run\)"),
        (lambda: Fallback(CoT(), plain_generator), "Fallback: of=plain_generator is not async"),
        (lambda: parse("given", {"given": plain_generator}), "^plain_generator is not async: write async def"),
        (lambda: parse("Vote(2, of=given)", {"given": plain_generator}), "Vote: of=plain_generator is not async"),
        (lambda: Joined(async_step), "Joined: until=async_step is async: write a plain def"),  # type: ignore[arg-type]
        (lambda: Vote(2, until=async_rule), "Vote: until=async_rule is async: write a plain def"),  # type: ignore[arg-type]
        (lambda: Cosine(async_step), "Cosine: embed=async_step is async: write a plain def"),  # type: ignore[arg-type]
        (lambda: Vote(2, of=yields), "Vote: of=yields yields: write return in place of yield"),  # type: ignore[arg-type]
        (lambda: BestOf(2, by=Yields()), "BestOf: by=.*Yields.* yields: write return"),  # type: ignore[arg-type]
    ],
)
def test_a_plain_function_is_refused_where_one_is_awaited_and_the_reverse(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_wrappers_of_async_functions_are_async() -> None:
    @functools.wraps(judge)
    def logged(*args: Any) -> Any:
        return judge(*args)

    for verifier in (judge, functools.partial(judge), logged, MatchesReference().__call__):
        require_verifier(Example(1), by=verifier)


async def rates(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [Score(1.0) for _ in candidates]


async def look(text: str) -> str:
    return text


async def stage(problem: Problem, run: Run) -> Candidate:
    return await run.ask(None, problem)


NEEDED: dict[str, Any] = {
    "by": rates,
    "function": lambda prompt, text: 1.0,
    "corpus": "x",
    "weights": (1.0,),
    "template": "{question} Plan.",
    "tools": (("look", look),),
    "corrector": stage,
    "embed": lambda texts: texts,
    "reads": lambda text: text,
    "regex": "[a-h][1-8]",
    **dict.fromkeys(("search", "interpreter", "prover"), look),
    **dict.fromkeys(("n", "k", "width", "branch", "subtrees", "expansions", "tokens", "every"), 32),
}
"""Settings that some cannot do without."""
OWN: dict[Any, dict[str, Any]] = {
    Bandit: {"of": (stage, stage)},
    Escalate: {"of": (stage, stage), "until": rates},
    Joined: {"until": lambda text: True},
    Mapped: {"by": lambda text: text},
    Panel: {"of": (stage, stage)},
    Within: {"tokens": 10},
    BestOf: {"by": rates},
}
"""Those of single classes."""
ODD: list[Any] = ["10", True, None, -1, 1.5, float("nan"), float("inf"), (), ("a",), ((),), ((1, 2),), b"x", {}, [1]]
SETTABLE = [
    *(getattr(room, name) for room in (strategies, verifiers, tools, critics) for name in room.__all__),
    *(Limits, Sandbox),
    *CONSTRUCTORS.values(),
]


@pytest.mark.parametrize("kind", SETTABLE, ids=lambda kind: kind.__name__)
def test_a_setting_of_the_wrong_kind_is_named_or_works_as_one(kind: Any) -> None:
    parameters = signature(kind).parameters.values()
    part: Any = ["yes", "no"] if kind in CONSTRUCTORS.values() else [stage] if kind in (Chain, Fallback) else [rates]
    several = part if any(each.kind is each.VAR_POSITIONAL for each in parameters) else []
    named = [each for each in parameters if each.kind is not each.VAR_POSITIONAL]
    known = NEEDED | OWN.get(kind, {})
    needed = {each.name: known[each.name] for each in named if each.default is each.empty} | OWN.get(kind, {})
    assert repr(kind(*several, **needed))
    for each in named:
        for value in ODD:
            refused = pytest.raises(InputError, match=rf"^{kind.__name__}\b")
            fits = isinstance(value, bool) == isinstance(each.default, bool)
            with nullcontext() if fits and works(kind, several, {**needed, each.name: value}) else refused:
                kind(*several, **{**needed, each.name: value})


def works(kind: Any, several: list[Any], settings: dict[str, Any]) -> bool:
    """Whether it can be made with these settings, and used as every setting is."""
    try:
        return repr(kind(*several, **settings)) != "" and hash(kind(*several, **settings)) is not None
    except InputError:
        return False


async def feeds_back(_problem: Problem, candidate: Candidate, _run: Run) -> Feedback | None:
    return None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Until(Arithmetic()), r"Until: by=Arithmetic\(\) is a critic, .*: give a verifier"),  # type: ignore[arg-type]
        (lambda: Vote(2, by=feeds_back), "Vote: by=feeds_back is a critic"),  # type: ignore[arg-type]
        (lambda: Mean(Arithmetic()), r"Mean: of=Arithmetic\(\) is a critic"),  # type: ignore[arg-type]
        (lambda: Reason(by=Intrinsic()), r"Reason: by=Intrinsic\(\) is a critic"),  # type: ignore[arg-type]
        (lambda: Refine(Judge()), r"Refine: feedback=Judge\(\) is a verifier, .* such as Reason\(by=Judge\(\)\)$"),  # type: ignore[arg-type]
        (lambda: Refine(judge), r"Refine: feedback=judge is a verifier, .* such as Reason\(by=judge\)$"),
        (lambda: Refine(functools.partial(judge)), "is a verifier"),
        (
            lambda: Correct(Model("c"), feedback=MatchesReference()),  # type: ignore[arg-type]
            "Correct: feedback=MatchesReference.* is a verifier",
        ),
        (lambda: parse_grade("Arithmetic()"), r"--grade: grade=Arithmetic\(\) is a critic"),
        (lambda: BestOf(4, by=BetaStop(0.9)), r"BestOf: by=BetaStop\(0.9\) is a rule .*: write until=BetaStop\(0.9\)$"),  # type: ignore[arg-type]
        (lambda: Vote(4, until=MatchesReference()), r"is a verifier: write Until\(MatchesReference\(\)\)$"),  # type: ignore[arg-type]
        (lambda: Vote(16, of="small"), r'Vote: of="small" is not a strategy, .*: write Model\("small"\)$'),  # type: ignore[arg-type]
        (lambda: Vote(16, by="prm"), r'Vote: by="prm" is not a verifier, .*: write ProcessReward\("prm"\)$'),  # type: ignore[arg-type]
        (lambda: Until("Judge()"), r'write Judge\(\) without quotes, or parse\("Judge\(\)"\)$'),  # type: ignore[arg-type]
    ],
)
def test_what_belongs_in_another_place_is_told_where(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", verifiers.__all__)
def test_what_says_how_it_is_called_is_told_apart(name: str) -> None:
    kind = getattr(verifiers, name)
    assert kind_of(kind.__call__) == ("critic" if name in critics.__all__ else "verifier")


@pytest.mark.parametrize(
    ("listed", "same"),
    [
        (lambda: Panel([Model("a"), Model("b")]), Panel((Model("a"), Model("b")))),  # type: ignore[arg-type]
        (
            lambda: Escalate([Model("a"), Vote(2)], until=MatchesReference()),  # type: ignore[arg-type]
            Escalate((Model("a"), Vote(2)), until=MatchesReference()),
        ),
        (
            lambda: Bandit([Model("a"), Vote(2)], by=MatchesReference()),  # type: ignore[arg-type]
            Bandit((Model("a"), Vote(2)), by=MatchesReference()),
        ),
        (lambda: ReAct([("judge", look)]), ReAct((("judge", look),))),  # type: ignore[arg-type]
        (lambda: ABMCTS(4, of=[Model("a")], by=judge), ABMCTS(4, of=(Model("a"),), by=judge)),  # type: ignore[arg-type]
        (lambda: CoT(shots=[("1 + 1?", "2")]), CoT(shots=(("1 + 1?", "2"),))),  # type: ignore[arg-type]
        (lambda: CoT(shots=[["1 + 1?", "2"]]), CoT(shots=(("1 + 1?", "2"),))),  # type: ignore[arg-type]
        (lambda: ReAct((["judge", look],)), ReAct((("judge", look),))),  # type: ignore[arg-type]
        (lambda: SelfAsk(look, shots=[["a?", "b"]]), SelfAsk(look, shots=(("a?", "b"),))),  # type: ignore[arg-type]
        (
            lambda: DSP(look, shots=[["a?", [["b", "c"]], "d"]]),  # type: ignore[arg-type]
            DSP(look, shots=(("a?", (("b", "c"),), "d"),)),
        ),
    ],
)
def test_a_list_does_for_a_tuple(listed: Callable[[], Any], same: Any) -> None:
    assert (listed(), repr(listed()), hash(listed())) == (same, repr(same), hash(same))


@pytest.mark.parametrize("make", [Fallback, Mean, Chain])
def test_what_is_written_one_by_one_is_refused_in_brackets(make: Any) -> None:
    with pytest.raises(InputError, match="each by itself, without brackets"):
        make([Model("a"), judge])


async def unnamed(x: Problem, y: Any, run: Run) -> Any:
    return None


async def weighing(problem: Problem, ys: Any, run: Run, weights: Any = None, candidate: Any = None) -> Any:
    return None


def ruling(candidates: Any, powers: Any, left: int) -> bool:
    return True


def test_what_does_not_say_how_it_is_called_may_be_either() -> None:
    assert Vote(2, by=weighing, until=ruling).until is ruling
    assert (Vote(2, by=unnamed).by, Refine(unnamed).feedback) == (unnamed, unnamed)


@pytest.mark.parametrize(
    ("count", "word", "said"),
    [(1, "sample", "1 sample"), (0, "sample", "0 samples"), (2000, "reply", "2,000 replies"), (1, "reply", "1 reply")],
)
def test_one_is_not_said_as_many(count: int, word: str, said: str) -> None:
    assert counted(count, word) == said
