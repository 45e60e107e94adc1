from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    Account,
    BestOf,
    Budget,
    Candidate,
    Completion,
    CoT,
    Fallback,
    InputError,
    Model,
    Price,
    Priced,
    Problem,
    Request,
    Run,
    Sampling,
    Score,
    Scripted,
    ScriptedReward,
    Vote,
    Within,
    parse,
    solve,
    solve_all,
)
from metagen.answers.protocol import Form
from metagen.leaves import find_answering, leaves_open, named_models
from metagen.model import UNBEGUN

SPECS = ["Model()"]

PROBLEM = Problem("p", "Count.")
STEPS = "one\ntwo\nthree"


class Counting(Scripted):
    """A model that continues with "one\\ntwo\\nthree" from where the reply stands, and keeps what it is asked."""

    def __init__(self, name: str = "counter", context: int = 8192) -> None:
        super().__init__(self._go_on, name=name, context=context)
        self.requests: list[Request] = []

    def _go_on(self, request: Request) -> str:
        self.requests.append(request)
        return STEPS.removeprefix(request.partial)


async def drawn(problem: Problem, *models: Model, backend: Any = None) -> list[Candidate]:
    """The candidates of these models, each continuing the one before."""
    candidates: list[Candidate] = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        for model in models:
            going_on = problem.continuing(candidates[-1]) if candidates else problem
            candidates.append(await run.ask(model, going_on))
        return candidates[-1]

    await solve(problem, strategy, backend or Counting())
    return candidates


async def test_a_whole_reply_is_one_step() -> None:
    (whole,) = await drawn(PROBLEM, Model())
    assert whole == Candidate((STEPS,), finished=True, tokens=tuple(map(ord, STEPS)), model="counter")


completions = st.builds(
    Completion,
    text=st.text("ab"),
    tokens=st.just(()) | st.just((1, 2)),
    end=st.sampled_from(["eos", "stop", "length"]),
    logprobs=st.just(()) | st.just((-1.0, -2.0)),
    confidences=st.just(()) | st.just((3.0, 4.0)),
    first=st.just(()) | st.just((("a", -1.0),)),
    thought=st.text("ab"),
    open=st.booleans(),
    thought_tokens=st.integers(0, 2),
    recorded=st.none() | st.just(Score(1.0)),
)


@given(completions, st.none() | st.just(2))
def test_a_reply_from_its_beginning_is_a_candidate_as_any_other(completion: Completion, step: int | None) -> None:
    asked = Request("p", "Count.")
    begun = Candidate(())
    assert begun is not UNBEGUN
    usual = Model()._candidate(completion, begun, asked, "counter", step)
    assert Model()._candidate(completion, UNBEGUN, asked, "counter", step) == usual


async def test_a_step_ends_with_its_string_and_the_last_is_finished() -> None:
    backend = Counting()
    first, second, third = await drawn(Problem("p", "Count.", step="\n"), *[Model()] * 3, backend=backend)
    assert (first.steps, first.finished) == (("one\n",), False)
    assert (second.steps, second.finished) == (("one\n", "two\n"), False)
    assert (third.steps, third.finished) == (("one\n", "two\n", "three"), True)
    assert third.text == STEPS
    assert [request.sampling for request in backend.requests] == [Sampling(stop=("\n",), keep_stop=True)] * 3


async def test_a_step_may_be_so_many_tokens_and_the_last_is_finished() -> None:
    backend = Counting()
    problem = PROBLEM.stepping(6)
    first, second, third = await drawn(problem, *[Model(max_tokens=9)] * 3, backend=backend)
    assert (first.steps, first.finished, first.cut) == (("one\ntw",), False, False)
    assert (second.steps, second.finished, second.cut) == (("one\ntw", "o\nthre"), False, False)
    assert (third.steps, third.finished, third.cut) == (("one\ntw", "o\nthre", "e"), True, False)
    assert [request.sampling for request in backend.requests] == [Sampling(max_tokens=6, keep_stop=True)] * 3


async def test_a_step_that_a_budget_cut_is_not_a_whole_one() -> None:
    (first,) = await drawn(PROBLEM.stepping(6), Model(), backend=Counting(context=len("Count.") + 4))
    assert (first.steps, first.finished, first.cut) == (("one\n",), False, True)
    (first,) = await drawn(PROBLEM.stepping("\n"), Model(max_tokens=3), backend=Counting())
    assert (first.steps, first.finished, first.cut) == (("one",), False, True)


async def test_a_limit_below_the_step_is_refused() -> None:
    with pytest.raises(InputError, match=r"^Model\(max_tokens=5\) cannot write steps of 6 tokens"):
        await drawn(PROBLEM.stepping(6), Model(max_tokens=5))


async def test_the_same_model_goes_on_from_its_token_ids() -> None:
    backend = Counting()
    first, second = await drawn(Problem("p", "Count.", step="\n"), Model(), Model(), backend=backend)
    request = backend.requests[1]
    assert (request.partial, request.tokens) == ("one\n", first.tokens)
    assert second.tokens == tuple(map(ord, "one\ntwo\n"))


async def test_another_model_goes_on_from_the_text() -> None:
    small, large = Counting("small"), Counting("large")
    models = {"small": small, "large": large}
    problem = Problem("p", "Count.", step="\n")
    _, second, third = await drawn(problem, Model("small"), Model("large"), Model("large"), backend=models)
    first_ask, second_ask = large.requests
    assert (first_ask.partial, first_ask.tokens) == ("one\n", ())
    assert (second.tokens, second.model) == ((), ""), "the ids of a half that another model wrote are not known"
    assert (second_ask.partial, second_ask.tokens) == ("one\ntwo\n", ())
    assert third.text == STEPS


async def test_what_is_cut_by_length_is_not_finished() -> None:
    (cut,) = await drawn(PROBLEM, Model(max_tokens=5))
    assert (cut.text, cut.finished, cut.cut) == ("one\nt", False, True)


@pytest.mark.parametrize("step", [None, "\n"])
async def test_a_stop_string_of_the_user_finishes_the_reply_and_is_not_in_it(step: str | None) -> None:
    backend = Counting()
    (candidate,) = await drawn(Problem("p", "Count.", step=step), Model(stop=("e",)), backend=backend)
    assert (candidate.text, candidate.finished) == ("on", True)
    assert backend.requests[0].sampling.stop == (("e",) if step is None else ("e", "\n"))


async def test_a_reply_cut_by_a_user_stop_is_not_continued_from_ids_that_hold_the_stop() -> None:
    backend = Counting()
    first, _ = await drawn(Problem("p", "Count.", step="\n"), Model(stop=("e",)), Model(), backend=backend)
    assert first.tokens in ((), tuple(map(ord, first.text)))
    assert backend.requests[1].partial == "on"


async def test_settings_reach_the_request() -> None:
    backend = Counting()
    settings: dict[str, Any] = {
        "temperature": 0,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "max_tokens": 99,
        "logprobs": True,
    }
    (candidate,) = await drawn(PROBLEM, Model(**settings), backend=backend)
    assert backend.requests[0].sampling == Sampling(**settings)
    assert candidate.logprobs == (0.0,) * len(STEPS)


async def test_logprobs_go_on_with_the_reply() -> None:
    model = Model(logprobs=True)
    _, second = await drawn(Problem("p", "Count.", step="\n"), model, model)
    assert len(second.logprobs) == len(second.tokens) == len("one\ntwo\n")


async def test_what_is_asked_in_place_of_the_question_is_sent() -> None:
    backend = Counting()
    await drawn(PROBLEM.asking("Count down."), Model(), backend=backend)
    assert [(request.problem, request.prompt) for request in backend.requests] == [("p", "Count down.")]


async def test_without_a_name_it_is_the_first_model() -> None:
    models = {"b": Scripted("b"), "a": Scripted("a")}
    assert [candidate.text for candidate in await drawn(PROBLEM, Model(), backend=models)] == ["b"]
    with pytest.raises(InputError, match=r"no model is named 'c' in this run; there is b, a"):
        await drawn(PROBLEM, Model("c"), backend=models)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": 3},
        {"name": None},
        {"temperature": -0.1},
        {"temperature": "1"},
        {"temperature": float("nan")},
        {"top_p": 1.1},
        {"top_p": -1},
        {"min_p": 2},
        {"top_k": -2},
        {"top_k": 1.5},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"stop": "x"},
        {"stop": ["x"]},
        {"stop": ("",)},
        {"stop": (3,)},
        {"logprobs": "no"},
        {"logprobs": 1},
        {"ignore_eos": None},
        {"logit_bias": True},
        {"logit_bias": (1, 2)},
        {"logit_bias": ""},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(InputError, match=f"^Model: {name} must be "):
        Model(**settings)


def test_the_models_that_a_strategy_names_are_found_wherever_they_stand() -> None:
    async def function(problem: Problem, run: Run) -> Candidate:
        raise NotImplementedError

    strategy = Fallback(Vote(2, of=CoT(of=Model("a"))), BestOf(1, of=Model("b")), function, Vote(2))
    assert list(named_models(strategy)) == ["a", "b"]
    assert list(named_models(Model())) == [""]
    assert list(named_models(None)) == []


@pytest.mark.parametrize(
    ("spec", "names", "is_open"),
    [
        ("Vote(2)", [""], True),
        ('Vote(2, of=Model("a"))', ["a"], False),
        ('BestOf(2, by=Judge(of=Model("b")))', [""], True),
        ('Panel((Model("a"), CoT()))', ["a", ""], True),
        ('Chain(CoT(), Ask("{last}", of=Model("a")))', ["a"], False),
        ('Select(2, by=Model("b"), of=Model("a"))', ["a"], False),
        ("ProgramOfThought(Python())", [], False),
    ],
)
def test_the_models_that_draw_an_answer_are_found(spec: str, names: list[str], is_open: bool) -> None:
    assert [model.name for model in find_answering(parse(spec))] == names
    assert leaves_open(parse(spec)) is is_open


@pytest.mark.parametrize(
    "spec",
    [
        "Model(repetition_penalty=1.1, presence_penalty=-0.5, frequency_penalty=0.5, min_tokens=4)",
        'Model(logit_bias={42: -100, 7: 1.5}, bad_words=("no",), stop_token_ids=(3, 4), ignore_eos=True)',
        'Model(adapter="mine", chat_template_kwargs={"thinking": False, "effort": "low"}, extra={"a": {"b": 1}})',
    ],
)
def test_every_setting_is_part_of_the_spec(spec: str) -> None:
    assert repr(parse(spec)) == spec
    assert parse(spec) != Model()
    assert hash(parse(spec)) == hash(parse(spec))


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), json, min_size=1, max_size=3)
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y", None]}}, "required": ["a"]}


@given(objects, objects, objects)
def test_settings_may_hold_lists(schema: dict[str, Any], extra: dict[str, Any], options: dict[str, Any]) -> None:
    model = Model(form={"json": schema}, extra=extra, chat_template_kwargs=options)
    again = parse(repr(model))
    assert again == model
    assert repr(again) == repr(model)
    for each in (model, again):  # a list as which it was given, for backends
        sampling = each.wishes()
        assert sampling.form is not None
        assert (sampling.form.schema, sampling.extra, sampling.chat_template_kwargs) == (schema, extra, options)


def test_a_list_and_a_tuple_are_one_setting() -> None:
    assert Model(form={"json": SCHEMA}) == parse(f"Model(form={{'json': {SCHEMA}}})")
    assert Model(extra={"a": [1, (2,)]}) == Model(extra={"a": (1, [2])})
    assert Model(form={"choice": ["yes", "no"]}) == Model(form={"choice": ("yes", "no")})
    assert Model(form={"choice": ["yes", "no"]}).wishes().form == Form(choices=("yes", "no"))
    assert Model(form={"regex": "[0-9]"}).wishes().form == Form(regex="[0-9]")
    assert 'required": ("a",)' in repr(Model(form={"json": SCHEMA}))


def test_what_a_model_was_made_from_may_change() -> None:
    given = {"a": [1]}
    model = Model(extra=given)
    given["a"].append(2)
    assert model == Model(extra={"a": [1]})


@pytest.mark.parametrize("form", [{"choice": []}, {"choice": "yes"}, {"json": ["a"]}, {"regex": ["a"]}, ["a"]])
def test_what_is_no_form_is_refused(form: Any) -> None:
    with pytest.raises(InputError, match=r"^Model: form"):
        Model(form=form)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"repetition_penalty": 0}, "repetition_penalty must be above 0"),
        ({"presence_penalty": 3}, "presence_penalty must be a number from -2 to 2, not 3"),
        ({"min_tokens": -1}, "min_tokens must be a whole number of 0 or more"),
        ({"bad_words": "no"}, "bad_words must be a tuple of texts"),
        ({"stop_token_ids": (1.5,)}, "token id must be a whole number"),
        ({"stop_token_ids": 3}, "stop_token_ids must be a tuple of token ids"),
        ({"logit_bias": {"x": 1}}, "token id must be a whole number"),
        ({"logit_bias": {1: "x"}}, "logit_bias must be numbers by token id"),
        ({"chat_template_kwargs": (1,)}, "chat_template_kwargs must be settings by name"),
        ({"extra": {1: 2}}, "extra must be settings by name"),
        ({"extra": {"n": 5}}, "extra may not hold 'n', which metagen sets itself"),
        ({"extra": {"stream": True}}, "extra may not hold 'stream'"),
        ({"extra": {"top_a": 1, "messages": []}}, "extra may not hold 'messages'"),
        ({"extra": {"api_key": "s"}}, "extra may hold no api_key, since strategies are written to files"),
        ({"adapter": ""}, "adapter must be the folder or the name of an adapter"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=rf"^Model: {said}"):
        Model(**settings)


@pytest.mark.parametrize(
    "spec",
    [
        "Vote(4, of=Model(temperature=0))",
        "BestOf(2, of=CoT(of=Model(temperature=0.0)), by=MatchesReference())",
        "Refine(of=Vote(4, of=Model(temperature=0)))",
        "Vote(4, by=Judge(n=3, of=Model(temperature=0)))",
        "Escalate((Model(temperature=0), Model(temperature=0)), n=2, until=BetaStop(0.95))",
        "Vote(2, of=Fallback(Model(temperature=0), Model(temperature=0)))",
        "Until(MatchesReference(), of=Model(temperature=0), limit=5)",
        "Until(MatchesReference(), of=Within(tokens=500, of=CoT(of=Model(temperature=0))), limit=9)",
        "Vote(1, of=Until(MatchesReference(), of=Model(temperature=0), limit=2))",
        "Beam(4, 1, by=MatchesReference(), of=Model(temperature=0))",
        "Beam(1, 4, by=MatchesReference(), of=CoT(of=Model(temperature=0)))",
        "DVTS(4, 1, by=MatchesReference(), of=Model(temperature=0))",
        "Fuse((4, 2), of=Model(temperature=0))",
        "Fuse((1, 2), of=Model(temperature=0))",
        "Fuse(2, of=Model(temperature=0))",
    ],
)
async def test_equal_samples_are_refused_at_the_start(spec: str) -> None:
    backend = Counting()
    with pytest.raises(InputError, match=r"draws [0-9] samples that are all the same, since temperature=0 makes no"):
        await solve(PROBLEM, parse(spec), backend)
    assert backend.requests == []


@pytest.mark.parametrize(
    "spec",
    [
        "Until(MatchesReference(), of=Model(temperature=0), limit=1)",
        "Until(Judge(of=Model(temperature=0)), limit=3)",
        "Beam(1, 1, by=MatchesReference(), of=Model(temperature=0))",
        "DVTS(1, 1, by=MatchesReference(), of=Model(temperature=0))",
        "BestFirst(5, 1, by=MatchesReference(), of=Model(temperature=0))",
        "Fuse((1, 1), of=Model(temperature=0))",
        "Fuse((4, 2), by=Model(temperature=0))",
        "Fuse((2, 2), of=Panel((Model(temperature=0), Model(temperature=0))))",
        "Until(MatchesReference(), of=Fallback(Model(temperature=0), Model()), limit=3)",
        "ABMCTS(5, by=MatchesReference(), of=Model(temperature=0))",  # its revisions differ
        "Odd(limit=5, width=7, of=Model(temperature=0))",
    ],
)
async def test_samples_that_differ_are_drawn(spec: str) -> None:
    solution = await solve(Problem("p", "Count.", "7"), parse(spec, {"Odd": Odd}), Counting())
    assert solution.text


@dataclass(frozen=True)
class Odd:
    """A strategy of one's own, whose settings are called as those of others."""

    limit: int
    width: int
    of: Any = None

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await run.ask(self.of, problem)


@pytest.mark.parametrize("n", [3, 4])
async def test_more_samples_than_a_panel_has_greedy_models_are_refused(n: int) -> None:
    spec = f"Vote({n}, of=CoT(of=Panel((Model(temperature=0), Model(temperature=0)))))"
    with pytest.raises(InputError, match=rf"draws {n} samples of which at most 2 differ, since temperature=0 makes no"):
        await solve(PROBLEM, parse(spec), Counting())


async def test_one_greedy_sample_and_greedy_parts_are_fine() -> None:
    panel = "Panel((Model(temperature=0), Model(temperature=0)))"
    for spec in (f"Vote(2, of={panel})", f"Fuse(2, of={panel})", f"Vote(2, of=CoT(of={panel}))"):
        assert not (await solve(PROBLEM, parse(spec), Counting())).failed
    for spec in ("Model(temperature=0)", "Vote(1, of=Model(temperature=0))", "Fallback(Model(temperature=0), Model())"):
        assert not (await solve(PROBLEM, parse(spec), Counting())).failed


async def test_what_to_draw_one_sample_with_has_a_name_where_it_is_left_out() -> None:
    with pytest.raises(InputError, match=r"leave temperature out, or draw one sample with Model\(\)$"):
        await solve("?", Vote(4), Scripted("7"), default=Model(temperature=0))


@pytest.mark.parametrize(
    ("spec", "budget", "said"),
    [
        ('Chain(Model("paid"), Model("free"))', Budget(money=1), "^a budget in money needs the price of scripted:"),
        ('Chain(Model("paid"), Within(money=1, of=Model("free")))', None, "^a budget in money needs the price of"),
        ('Escalate((Model("paid"), Model("free")), until=MatchesReference())', Budget(money=1), "needs the price of"),
        ('BestOf(2, of=Model("paid"), by=ProcessReward())', Budget(money=1), "needs the price of scripted-reward"),
        ('Chain(Model("paid"), Within(flops=1e9, of=Model("paid")))', None, "^a budget in FLOPs needs the sizes of"),
        ('Model("paid")', Budget(tokens=100, flops=1e9), "needs the sizes of"),
    ],
)
async def test_a_limit_that_cannot_be_kept_is_refused_before_anything_is_drawn(
    spec: str, budget: Budget | None, said: str
) -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "The answer is 7."

    backend, prm = Scripted(script), ScriptedReward(lambda reading: [1.0] * len(reading.steps))
    models: dict[str, Any] = {"paid": Priced(backend, Price(1, 1)), "free": backend, "prm": prm}
    with pytest.raises(InputError, match=said):
        await solve(PROBLEM, parse(spec), models, budget=budget)
    with pytest.raises(InputError, match=said):
        _ = [each async for each in solve_all([PROBLEM], parse(spec), models, account=Account(budget))]
    assert asked == []


async def test_a_model_that_is_not_asked_needs_no_price() -> None:
    models: dict[str, Any] = {
        "paid": Priced(Scripted("The answer is 7."), Price(1, 1)),
        "free": Scripted("The answer is 8."),
    }
    solution = await solve(PROBLEM, Within(money=1, of=Model("paid")), models)
    assert solution.answer == "7"
    assert (await solve(PROBLEM, Within(money=1), models, default=Model("paid"))).answer == "7"
