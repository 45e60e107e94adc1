import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metagen
from metagen import (
    BestOf,
    Candidate,
    CoT,
    Fallback,
    InputError,
    MatchesReference,
    Model,
    PassesTests,
    Pattern,
    Problem,
    Proves,
    Run,
    Score,
    Sigmoid,
    Until,
    Vote,
    Within,
    parse,
)
from metagen.lazy import OURS
from metagen.settings import spelled

ROOT = Path(__file__).parents[2]


async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [None] * len(candidates)


async def escalate(problem: Problem, run: Run) -> Candidate:
    return await run.ask(None, problem)


@dataclass(frozen=True, repr=False)
class Custom:
    """A strategy of the user's own, which takes anything."""

    anything: Any = None

    __repr__ = spelled

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem)


@dataclass(frozen=True)
class Picky:
    n: int

    def __post_init__(self) -> None:
        if self.n > 9:
            raise ValueError("too many")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem)


NAMES = {"judge": judge, "escalate": escalate, "Custom": Custom, "Picky": Picky}

any_text = st.text(st.characters(exclude_categories=()))
counts = st.integers(1, 2**64 - 1)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
literals = st.recursive(
    st.none() | st.booleans() | numbers | any_text, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5
)
models = st.builds(
    Model,
    any_text,
    temperature=st.none() | st.floats(0, inf),
    top_p=st.none() | st.floats(0, 1, exclude_min=True),
    top_k=st.none() | st.integers(-1, 2**64 - 1),
    max_tokens=st.none() | counts,
    stop=st.lists(any_text.filter(len), max_size=3).map(tuple),
    logprobs=st.booleans(),
)
verifiers = st.recursive(
    st.just(judge)
    | st.builds(MatchesReference, seconds=st.floats(0.001, 1e300))
    | st.builds(PassesTests, st.none() | st.text() | st.dictionaries(st.text(), st.text()), seconds=st.floats(0.001, 9))
    | st.builds(Proves, seconds=st.floats(0.001, 9), libraries=st.lists(st.text()).map(tuple)),
    lambda inner: st.builds(Sigmoid, inner),
    max_leaves=2,
)


def wrapped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    of = st.none() | inner
    return st.one_of(
        st.builds(CoT, shots=st.lists(st.tuples(any_text, any_text), max_size=2).map(tuple), of=of),
        st.builds(Vote, counts, of=of, by=st.none() | verifiers),
        st.builds(BestOf, counts, of=of, by=verifiers),
        st.builds(Until, verifiers, of=of, limit=counts, window=counts, threshold=numbers),
        st.builds(Within, tokens=st.none() | counts, seconds=st.floats(1e-9, inf), of=of),
        st.builds(Within, tokens=counts, of=of),
        st.lists(inner, min_size=1, max_size=3).map(lambda generators: Fallback(*generators)),
    )


examples = [
    Model("\ud800"),
    Model("\ud83d\ude00"),
    Model(temperature=inf),
    Until(judge, threshold=-inf),
    Custom((None,)),
]
strategies = st.sampled_from(examples) | st.recursive(
    models | st.just(escalate) | st.builds(Custom, literals), wrapped, max_leaves=4
)


@settings(deadline=None, max_examples=300)
@given(strategies.filter(lambda strategy: strategy is not escalate))
def test_the_repr_of_a_strategy_is_its_spec(strategy: object) -> None:
    again = parse(repr(strategy), NAMES)
    assert again == strategy
    assert repr(again) == repr(strategy)


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("Model()", Model()),
        (" \n Vote( 16 ,of = CoT( ) )\n", Vote(16, of=CoT())),
        ("Vote(n=16)", Vote(16)),
        ("(\n  Vote(16)  # many\n)", Vote(16)),
        ("Until(MatchesReference(), limit=0x10, threshold=-.5)", Until(MatchesReference(), limit=16, threshold=-0.5)),
        ('Model(stop=[\'a\' \'b\', """c"""])', Model(stop=("ab", "c"))),
        ("Fallback(Vote(8), escalate)", Fallback(Vote(8), escalate)),
        ("escalate", escalate),
    ],
)
def test_a_strategy_is_written_as_in_python(text: str, strategy: object) -> None:
    assert parse(text, NAMES) == strategy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("  \n", "cannot be read"),
        ("Vote(", "cannot be read"),
        ("Vote(16) CoT()", "cannot be read"),
        ("x = Vote(16)", "cannot be read"),
        ("import os", "cannot be read"),
        ("Vote(16); CoT()", "cannot be read"),
        ("Vote(16)\nCoT()", "cannot be read"),
        ("Vote(16, 16=3)", "cannot be read"),
        ("Vote(n=1, n=2)", "Vote: a setting is given twice"),
        ("Model('\x00')", "cannot be read"),
        ("Model('\ud800')", "cannot be read"),
        ("Model(stop='\n')", "cannot be read"),
        (f"Vote({'9' * 5000})", "cannot be read"),
        (f"Vote(0x{'f' * 5000})", "a whole number of 20000 bits is too large"),
        (f"Vote(-0x{'f' * 5000})", "a whole number of 20000 bits is too large"),
        (f"Vote(1 + 0x{'f' * 5000})", "'BinOp' is neither"),
        ("Vote(" * 3000 + ")" * 3000, "cannot be read"),
        ("Vote(1, of=" * 300 + "CoT()" + ")" * 300, "cannot be read"),
        ("-" * 19_000 + "1", "cannot be read|nested too deeply|neither"),
        ("1+" * 9_000 + "1", "cannot be read|nested too deeply|neither"),
        ("a" + ".a" * 9_000, "cannot be read|nested too deeply|neither"),
        ("a" + "[0]" * 6_000, "cannot be read|nested too deeply|neither"),
        ("Vote(16)" + " " * 20_000, "is 20008 characters long"),
        ("Voet(16)", "'Voet' is not known: did you mean Vote?"),
        ("Vote(16, of=COT())", "'COT' is not known: did you mean CoT?"),
        ("Vote(16, by=jugde)", "'jugde' is not known: did you mean judge?"),
        ("zzz", "'zzz' is not known: there is "),
        ("VOTE(16)", "'VOTE' is not known: did you mean Vote?"),
        ("best_of(16)", "'best_of' is not known: did you mean BestOf?"),
        ("BeamSearch(4, 4)", "'BeamSearch' is not known: did you mean Beam?"),
        ("TreeOfThoughts(3)", "'TreeOfThoughts' is not known: did you mean BestFirst?"),
        ("SelfConsistency(16)", "'SelfConsistency' is not known: did you mean Vote?"),
        ("Vote(2, by=PRM())", "'PRM' is not known: did you mean ProcessReward?"),
        (
            "Vote(16, temperature=1)",
            "'temperature'; its settings are Vote(n, *, of=None, by=None, until=None, window=1)",
        ),
        ("__builtins__", "is not known"),
        ("eval('1')", "is not known"),
        ("__import__('os').system('true')", "is neither a strategy nor a literal"),
        ("__import__('os')", "is not known"),
        ("open('x')", "is not known"),
        ("Vote", "'Vote' is not a strategy but a class: write Vote(...)"),
        ("16", "'16' is not a strategy"),
        ("'Vote(16)'", "is not a strategy"),
        ("None", "'None' is not a strategy"),
        ("(Vote(16),)", "is not a strategy"),
        ("...", "is not a strategy"),
        ("Vote()", "Vote: missing a required argument: 'n'; its settings are Vote("),
        ("Vote(16, 17)", "Vote: too many positional arguments"),
        ("Vote(16, m=17)", "Vote: got an unexpected keyword argument 'm'"),
        ("Vote(16, n=17)", "Vote: multiple values for argument 'n'"),
        ("Until()", "Until: missing a required argument: 'by'"),
        ("Fallback()", "Fallback: needs strategies"),
        ("BestOf(4)", "needs a verifier"),
        ("Vote(0)", "Vote: n must be a whole number of 1 or more, not 0"),
        ("Vote(-1)", "not -1"),
        ("Vote(1.5)", "not 1.5"),
        ("Vote(1e3)", "not 1000.0"),
        ("Vote('16')", "not '16'"),
        ("Vote(True)", "not True"),
        ("Vote(1j)", "not 1j"),
        ("Vote(b'1')", "not b'1'"),
        ("Vote(...)", "not Ellipsis"),
        ("Vote(16, of=CoT)", "Vote: of=CoT is a class: write CoT(...)"),
        ("Vote(16, by=MatchesReference)", "Vote: by=MatchesReference is a class"),
        ("Vote(16, of='CoT()')", 'Vote: of="CoT()" is not a strategy'),
        ("Vote(16, of=(CoT(),))", "Vote: of=(CoT(),) is not a strategy"),
        ("Fallback(Vote)", "is a class"),
        ("Model(3)", "Model: name must be a text, not 3"),
        ("Model(temperature=-1)", "Model: temperature must be a number from 0"),
        ("Model(temperature='hot')", "Model: temperature must be a number from 0"),
        ("Model(top_p=2)", "Model: top_p must be a number from 0 to 1"),
        ("Model(stop='x')", "Model: stop must be a tuple"),
        ("CoT(shots='ab')", "CoT: "),
        ("CoT(shots=1)", "CoT: "),
        ("CoT(shots=(1, 2))", "CoT: "),
        ("Model(top_p=0)", "Model: top_p must be above 0"),
        ("Within()", "Within: needs a limit"),
        ("Within(tokens=0)", "Within: tokens must be"),
        ("Within(seconds=-3)", "Within: seconds must be"),
        ("MatchesReference(seconds='x')", "MatchesReference: "),
        ("Picky(10)", "Picky: too many"),
        ("judge()", "judge is a function that serves as it is: write judge without parentheses"),
        ("escalate(3)", "escalate is a function that serves as it is"),
        ("judge.__globals__", "'judge.__globals__' is neither a strategy nor a literal"),
        ("Vote(16).n", "is neither"),
        ("Vote.__init__(16)", "is neither"),
        ("Vote(16)(1)", "is neither"),
        ("(Vote)(16)[0]", "is neither"),
        ("lambda: 1", "is neither"),
        ("Vote(16, by=lambda problem, candidates, run: [])", "is neither"),
        ("Vote([1 for _ in range(9)])", "is neither"),
        ("Vote({'n': 16})", "n must be a whole number"),
        ("Model(extra={1 + 1: 2})", "is neither"),
        ("Vote({16})", "is neither"),
        ("Vote(8 + 8)", "is neither"),
        ("Vote(8 * 2 ** 9999)", "is neither"),
        ("Vote(not 1)", "is neither"),
        ("Vote(--1)", "is neither"),
        ("Model(f'{1}')", "is neither"),
        ("Model('a' % 1)", "is neither"),
        ("Vote(16 if 1 else 2)", "is neither"),
        ("Vote(n := 16)", "is neither"),
        ("Vote(16 == 16)", "is neither"),
        ("Vote(16 and 17)", "is neither"),
        ("await escalate", "is neither"),
        ("(yield)", "is neither"),
        ("Vote(*(16,))", "Vote: stars cannot be used"),
        ("Vote(**{'n': 16})", "Vote: stars cannot be used"),
        ("Model(stop=(*(), 'x'))", "is neither"),
    ],
)
def test_what_is_no_strategy_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        parse(text, NAMES)
    message = str(error.value)
    assert re.search(said, message) if "|" in said else said in message
    assert "\n" not in message
    assert len(message) < 1000


@given(st.text(max_size=60) | st.text("Vote(16,of=CoT)by'\\ \n.*-[]{}:lambda", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert callable(parse(text, NAMES))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 (both outcomes are right)


def test_a_text_that_is_no_syntax_is_refused_without_a_file_name() -> None:
    with pytest.raises(InputError, match=r"^the strategy 'Vote\(2' cannot be read: '\(' was never closed$"):
        parse("Vote(2")


def test_a_regular_expression_is_read_without_a_warning_of_python() -> None:
    assert parse(r'Pattern("move (\d+)")') == parse(r'Pattern(r"move (\d+)")') == Pattern(r"move (\d+)")


def test_a_given_name_comes_before_one_of_ours() -> None:
    assert parse("Vote(3)", {"Vote": Custom}) == Custom(3)


def test_the_names_of_the_literature_lead_to_ours_which_there_are() -> None:
    for name, ours in OURS.items():
        assert name not in metagen.__all__
        with pytest.raises(AttributeError, match=re.escape(f"has no attribute {name!r}: did you mean {ours}?")):
            getattr(metagen, name)
    assert not hasattr(metagen, "Nothing")


def test_of_many_names_the_nearest_are_shown_and_where_all_are() -> None:
    with pytest.raises(InputError) as raised:
        parse("Mlt(3)")
    said = str(raised.value)
    assert re.search(r"is not known: there is (\w+, ){7}\w+ and \d+ more \(docs/strategies/README.md, ", said)
    assert "Model" in said
    assert all((ROOT / page).is_file() for page in re.findall(r"docs/[\w/]+\.md", said))
