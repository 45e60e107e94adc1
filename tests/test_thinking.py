"""Replies of reasoning models: what is thought, what is said, and what is asked of a model in which order."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    Budget,
    Candidate,
    Choice,
    Code,
    InputError,
    Json,
    Judge,
    Label,
    LastNumber,
    Maths,
    Model,
    Number,
    Pattern,
    Problem,
    Recorded,
    Request,
    Run,
    Scripted,
    Text,
    Vote,
    parse,
    solve,
)
from metagen.disk.pool import Sample, reply_of, text_of
from metagen.request import Completion, Meter, Outcome
from metagen.thinking import FAMILIES, Family, Reply, find_family, split

PROBLEM = Problem("p", "What is 3 + 4?", "7")
FENCE = "Write:\n```\n<think>x</think>\n```\nor `</think>`."


def raw(family: Family, thought: str, text: str | None) -> str:
    """A reply of this family; without a text its thought is open."""
    return family.opening + thought + ("" if text is None else family.closing + text)


FORMS: list[tuple[str, str, Reply]] = [
    ("<think>So \\boxed{5}.</think> The answer is 7.", "think", Reply("So \\boxed{5}.", "The answer is 7.")),
    ("<think>\n\n</think>\n\nSeven.", "qwen3", Reply("", "Seven.")),
    ("<think>a</think>One. <think>b</think>Two.", "think", Reply("a\nb", "One. Two.")),
    ("<think>a</think>One. <think>b", "think", Reply("a\nb", "One. ", open=True)),
    (f"<think>a</think>\n\n{FENCE}", "think", Reply("a", FENCE)),
    ("a</think>One.", "deepseek-r1", Reply("a", "One.")),
    ("<think>\na", "deepseek-r1", Reply("a", "", open=True)),
    (" <think>\na", "qwq", Reply("a", "", open=True)),
    ("a <think>", "deepseek-r1", Reply("a <think>", "", open=True)),
    ("[THINK]a[/THINK]One. <think>", "magistral", Reply("a", "One. <think>")),
    ("Just text.", "qwen3", Reply("", "Just text.")),
    ("<|channel|>final<|message|>One.<|return|>", "gpt-oss", Reply("", "One.")),
    (
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=f<|message|>b<|call|>"
            "<|start|>assistant<|channel|>final<|message|>One.<|return|>"
        ),
        "gpt-oss",
        Reply("a\nb", "One."),
    ),
    *((raw(family, "a\nb", "One."), name, Reply("a\nb", "One.")) for name, family in FAMILIES.items()),
    *((raw(family, "a\nb", None), name, Reply("a\nb", "", open=True)) for name, family in FAMILIES.items()),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "reply"), FORMS)
def test_a_reply_is_parted_by_the_marks_of_its_family(text: str, name: str, reply: Reply) -> None:
    family = FAMILIES[name]
    opened = family.opened and family.close not in text
    assert split(text, family, opened=opened) == reply


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.opened])
def test_an_opening_mark_that_is_repeated_is_no_part_of_the_thought(name: str) -> None:
    family = FAMILIES[name]
    begin, end = family.open, family.close
    assert split(f"{begin}\na\n{end}\n\nOne.", family, opened=True) == Reply("a", "One.")
    assert split(f"{begin}{end}One.", family, opened=True) == Reply("", "One.")
    assert split(f"a {begin} b{end}One.", family, opened=True) == Reply(f"a {begin} b", "One.")


def test_where_nothing_is_known_a_thought_opens_at_the_beginning_alone() -> None:
    assert split("\n<think>a</think>b") == Reply("a", "b")
    assert split("Use <think> here.") == Reply("", "Use <think> here.")
    assert split("a</think>b") == Reply("a", "b")
    assert split("a", opened=True) == Reply("a", "", open=True)


plain = st.text(st.characters(exclude_characters="<>[]`", codec="utf-8"), min_size=1).map(str.strip).filter(bool)


@given(st.sampled_from([each for each in FAMILIES.values() if each.name != "granite"]), plain, plain, st.booleans())
def test_what_is_written_is_read_back(family: Family, thought: str, text: str, is_open: bool) -> None:
    written = family.written(thought, text, is_open=is_open)
    expected = Reply(thought, "", open=True) if is_open else Reply(thought, text)
    assert split(written, family, opened=family.opened) == expected


@given(st.text(alphabet="<think>/`a \n"), st.sampled_from(list(FAMILIES.values())), st.booleans())
def test_any_text_can_be_read(text: str, family: Family, opened: bool) -> None:
    for reply in (split(text, family, opened=opened), split(text, opened=opened)):
        assert len(reply.thought) + len(reply.text) <= len(text) + text.count(">")
        assert (
            not (opened and family.close not in text and not reply.open and family.name != "gpt-oss") or not reply.text
        )


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        ("[THINK]So \\boxed{5}.[/THINK]The answer is 7.", Reply("So \\boxed{5}.", "The answer is 7.")),
        (" [THINK]So \\boxed{5}.", Reply("So \\boxed{5}.", "", open=True)),
        ("<|channel|>analysis<|message|>\\boxed{5}", Reply("\\boxed{5}", "", open=True)),
        (
            "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>7.<|return|>",
            Reply("Hm.", "7."),
        ),
        ("<|channel|>final<|message|>7.", Reply("", "7.")),
        ("<seed:think>\n\\boxed{5}\n</seed:think>7.", Reply("\\boxed{5}", "7.")),
        ("◁think▷\\boxed{5}", Reply("\\boxed{5}", "", open=True)),
        (
            "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>7.<|END_RESPONSE|>",
            Reply("Hm.", "<|START_RESPONSE|>7."),
        ),
        ("<think>Hm.</think>7.<|im_end|>", Reply("Hm.", "7.")),
        ("<thought>\nHm.\n</thought>\n7.", Reply("Hm.", "7.")),
        ("<thought>\\boxed{5}", Reply("\\boxed{5}", "", open=True)),
        ("Hm.\n</thought>\n\n7.", Reply("Hm.", "7.")),
        ("<think>a</think>Write </thought>.", Reply("a", "Write </thought>.")),
        ("Use <thought> here.", Reply("", "Use <thought> here.")),
        ("It closes `</thought>` too.", Reply("", "It closes `</thought>` too.")),
        ("<|begin_of_thought|>\n\nHm.<|end_of_thought|>\n\n7.", Reply("Hm.", "7.")),
        (
            "analysisWe need 3 + 4. So \\boxed{5}.assistantfinalThe answer is 7.",
            Reply("We need 3 + 4. So \\boxed{5}.", "The answer is 7."),
        ),
        ("analysis3 + 4 = 7.assistantfinal7", Reply("3 + 4 = 7.", "7")),
        (
            "analysisHm.assistantcommentary to=python code3 + 4assistantanalysisSo 7.assistantfinal7",
            Reply("Hm.\nto=python code3 + 4\nSo 7.", "7"),
        ),
        ("assistantanalysisHm.assistantfinal7", Reply("Hm.", "7")),
        ("analysisWe need 3 + 4. So \\boxed{5}", Reply("We need 3 + 4. So \\boxed{5}", "", open=True)),
        *(
            (text, Reply("", text))
            for text in (
                "analysis of 3 + 4: the answer is 7.",
                "analysis: 7",
                "Analysis\n\nThe answer is 7.",
                "analysis.\nassistantfinal 7",
                "analysisResult = 7\nprint(analysisResult)",
                "analysis of models that write assistantfinal",
                "analysis with <thought> tags",
            )
        ),
        ("B</s>", Reply("", "B")),
        ("It writes [THINK] first.", Reply("", "It writes [THINK] first.")),
        ("Here is my thought process: 3 + 4 is 7.", Reply("", "Here is my thought process: 3 + 4 is 7.")),
    ],
)
def test_where_the_family_is_not_known_the_marks_at_the_beginning_tell_it(raw: str, reply: Reply) -> None:
    assert reply_of(Sample("p", raw)) == reply
    assert text_of(Sample("p", raw)) == reply.text


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-4B-Instruct-2507", None),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", None),
        ("Qwen/Qwen3-VL-8B-Instruct-FP8", None),
        ("qwen3-vl:8b-instruct", None),
        ("Qwen/Qwen3-Next-80B-A3B-Thinking", "qwen3-thinking"),
        ("Qwen/Qwen3-4B-Thinking-2507", "qwen3-thinking"),
        ("qwen3:30b-a3b-thinking-2507-q8_0", "qwen3-thinking"),
        ("Qwen/Qwen3-VL-8B-Thinking", "qwen3-thinking"),
        ("mine/qwen3-8b-non-thinking", "qwen3"),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "deepseek-r1"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "deepseek-r1"),
        ("Qwen/QwQ-32B", "qwq"),
        ("mistralai/Magistral-Small-2506", "magistral"),
        ("ibm-granite/granite-3.3-8b-instruct", "granite"),
        ("openai/gpt-oss-20b", "gpt-oss"),
        ("small-reasoner", "think"),
        ("Qwen/Qwen2.5-7B-Instruct", None),
        ("allenai/OLMoE-1B-7B-0924-Instruct", None),
    ],
)
def test_a_family_is_found_by_the_name_of_a_model(model: str, name: str | None) -> None:
    family = find_family(None, model)
    assert (family.name if family else None) == name


def test_a_chat_template_says_more_than_a_name_and_the_user_more_than_both() -> None:
    assert find_family(None, "my-qwen3", "{{ messages }}") is None
    assert find_family(None, "mine", "{% if enable_thinking %}<think>{% endif %}") == FAMILIES["qwen3"]
    assert find_family("none", "Qwen/Qwen3-8B") is None
    assert find_family("magistral", "mine") == FAMILIES["magistral"]
    with pytest.raises(InputError, match=r"^thinking='quen': no family is called so; there is gpt-oss, "):
        find_family("quen", "mine")


KINDS = [Maths(), Number(), LastNumber(), Choice("567"), Label("5", "7"), Text(), Code(), Pattern("([0-9])"), Json()]


@pytest.mark.parametrize("kind", KINDS, ids=repr)
async def test_an_open_thought_has_no_answer_of_any_kind(kind: Any) -> None:
    problem = Problem("p", "?", answers=kind)
    solution = await solve(problem, Vote(3), Scripted('<think>The answer is 5. {"a": 5}\n```python\n5\n```'))
    assert (solution.answer, solution.text, solution.unanswered) == (None, "", 3)


async def test_a_guess_in_a_thought_does_not_vote() -> None:
    backend = Scripted("<think>So \\boxed{5}. Hmm, no.</think> The answer is 7.")
    solution = await solve(PROBLEM, Vote(4), backend)
    assert (solution.answer, solution.text, solution.correct) == ("7", "The answer is 7.", True)
    assert solution.usage.thought_tokens == 4 * len("<think>So \\boxed{5}. Hmm, no.")


async def test_a_judge_is_read_by_what_it_says() -> None:
    def reply(request: Request) -> str:
        return "<think>Yes? Yes.</think>No." if request.prompt != PROBLEM.prompt else f"The answer is {request.draw}."

    solution = await solve(PROBLEM, Vote(2, by=Judge()), Scripted(reply))
    assert [span.verdicts for span in solution.trace.walk() if span.verdicts] == [[0.0, 0.0]]


class Thinker(Scripted):
    """Thinks ten letters, says what it thought about, and can continue anywhere."""

    def __init__(self, whole: str = "<think>\nabcdefghij\n</think>\n\nOne.\nThe answer is 7.") -> None:
        super().__init__(self._go_on, thinking="qwen3")
        self.whole = whole
        self.requests: list[Request] = []

    def _go_on(self, request: Request) -> str:
        self.requests.append(request)
        written = "".join(map(chr, request.tokens))
        if self.whole.startswith(written):
            return self.whole.removeprefix(written)
        return f"{'ij</think>' if request.open else ''}The answer is {len(written)}."


async def test_a_thought_is_limited_and_the_model_answers() -> None:
    backend = Thinker()
    solution = await solve(PROBLEM, Model(thinking=12), backend)
    first, second = backend.requests
    assert (first.sampling.max_tokens, first.sampling.thought_only) == (12, True)
    assert "".join(map(chr, second.tokens)) == "<think>\nabcd\n</think>\n\n"
    assert second.sampling.chat_template_kwargs == {"enable_thinking": True}
    assert (solution.text, solution.usage.calls) == ("The answer is 23.", 2)


async def test_a_thought_that_ends_by_itself_goes_on_to_its_answer() -> None:
    backend = Thinker()
    solution = await solve(PROBLEM, Model(thinking=1000), backend)
    assert solution.text == "One.\nThe answer is 7."
    assert "".join(map(chr, backend.requests[1].tokens)) == "<think>\nabcdefghij\n</think>\n\n"


async def test_a_limit_on_the_whole_reply_leaves_an_open_thought_open() -> None:
    solution = await solve(PROBLEM, Vote(2, of=Model(thinking=1000, max_tokens=12)), Thinker())
    assert (solution.answer, solution.text, solution.unanswered, solution.cut) == (None, "", 2, 2)


@pytest.mark.parametrize("model", [Model(thinking=12), Model(stop=(" is",)), Model(form={"choice": ("7", "8")})])
async def test_an_answer_that_a_budget_refuses_leaves_a_reply_that_is_cut(model: Model) -> None:
    backend = Thinker()
    spent = len(PROBLEM.prompt) + len("<think>\nabcd")
    solution = await solve(PROBLEM, model, backend, budget=Budget(tokens=spent if model.thinking else 44))
    assert len(backend.requests) == 1
    assert solution.candidate is not None
    assert (solution.answer, solution.candidate.cut, solution.cut) == (None, True, 1)
    assert (solution.failed, solution.lost, solution.unfinished) == (False, 0, True)
    assert any("a sample is cut: " in note and "leaves no room" in note for note in solution.notes)


@pytest.mark.parametrize(("context", "limits"), [(8192, {"tokens": 30}), (30, {})])
async def test_a_step_of_thought_that_has_fewer_tokens_than_were_asked_for_is_cut(
    context: int, limits: dict[str, int]
) -> None:
    backend = Thinker()
    backend.context = context
    seen: list[Candidate] = []

    async def step(problem: Problem, run: Run) -> Candidate:
        seen.append(await run.ask(None, problem.stepping(17)))
        return seen[-1]

    solution = await solve(PROBLEM, step, backend, budget=Budget(**limits))
    assert len(seen[0].tokens) < 17
    assert (seen[0].open, seen[0].cut, solution.text, solution.lost) == (True, True, "", 0)


async def test_a_limit_below_the_step_is_refused_of_a_thought_too() -> None:
    async def step(problem: Problem, run: Run) -> Candidate:
        return await run.ask(Model(max_tokens=16), problem.stepping(64))

    with pytest.raises(InputError, match=r"^Model\(max_tokens=16\) cannot write steps of 64 tokens"):
        await solve(PROBLEM, step, Thinker())


async def test_after_a_limited_thought_a_step_may_have_all_its_tokens() -> None:
    async def step(problem: Problem, run: Run) -> Candidate:
        first = await run.ask(Model(thinking=12, max_tokens=20), problem.stepping(10))
        return await run.ask(Model(thinking=12, max_tokens=20), problem.stepping(10).continuing(first))

    solution = await solve(PROBLEM, step, Thinker())
    assert (solution.text, solution.candidate and solution.candidate.cut) == ("The answer", False)


async def test_a_thought_is_switched_off() -> None:
    backend = Thinker("The answer is 7.")
    await solve(PROBLEM, Model(thinking=False), backend)
    (request,) = backend.requests
    assert request.sampling.chat_template_kwargs == {"enable_thinking": False}
    backend = Thinker("<think>\n\n</think>\n\nThe answer is 7.")
    backend._family = FAMILIES["think"]
    solution = await solve(PROBLEM, Model(thinking=False), backend)
    assert "".join(map(chr, backend.requests[0].tokens)) == "<think>\n\n</think>\n\n"
    assert (solution.text, solution.correct) == ("The answer is 7.", True)


async def test_stop_strings_and_steps_do_not_end_inside_a_thought() -> None:
    whole = "<think>\nabc\nThe answer is 5.\n</think>\n\nOne.\nThe answer is 7."
    solution = await solve(PROBLEM, Model(stop=(" is",)), Thinker(whole))
    assert solution.text == "One.\nThe answer"
    seen: list[Candidate] = []

    async def steps(problem: Problem, run: Run) -> Candidate:
        going_on = problem.stepping("\n")
        while not seen or not seen[-1].finished:
            seen.append(await run.ask(None, going_on))
            going_on = going_on.continuing(seen[-1])
        return seen[-1]

    await solve(PROBLEM, steps, Thinker(whole))
    assert [candidate.steps for candidate in seen] == [("One.\n",), ("One.\n", "The answer is 7.")]
    assert seen[-1].thought == "abc\nThe answer is 5."
    assert "".join(map(chr, seen[-1].tokens)) == whole


async def test_a_model_that_thinks_all_the_same_has_its_thought_drawn_first() -> None:
    whole = (
        "<|channel|>analysis<|message|>The answer is 5.\nNo.<|end|>"
        "<|start|>assistant<|channel|>final<|message|>One.\nThe answer is 7."
    )
    backend = Thinker(whole)
    backend._family = FAMILIES["gpt-oss"]
    solution = await solve(PROBLEM, Model(thinking=False, stop=(" is",)), backend)
    assert solution.text == "One.\nThe answer"
    first, second = backend.requests
    assert (first.sampling.thought_only, second.sampling.stop) == (True, (" is",))
    assert first.sampling.chat_template_kwargs == {"reasoning_effort": "low"}


async def test_a_reply_without_a_thought_is_drawn_as_it_was_asked_for() -> None:
    backend = Thinker("One.\nThe answer is 7.")
    solution = await solve(PROBLEM, Model(stop=("\n",), thinking=50), backend)
    assert solution.text == "One."
    assert [request.sampling.thought_only for request in backend.requests] == [True, False]


async def test_a_thought_goes_on_after_a_word() -> None:
    async def wait(problem: Problem, run: Run) -> Candidate:
        first = await run.ask(Model(thinking=True), problem)
        return await run.ask(Model(thinking=True), problem.continuing(first.thinking_on("Wait")))

    backend = Thinker()
    solution = await solve(PROBLEM, wait, backend)
    assert "".join(map(chr, backend.requests[-1].tokens)) == "<think>\nabcdefghij\nWait"
    assert backend.requests[-1].open
    assert solution.text == f"The answer is {len(backend.requests[-1].tokens)}."


async def test_a_form_touches_the_text_alone() -> None:
    backend = Thinker()
    await solve(PROBLEM, Model(form={"choice": ("7", "8")}), backend)
    assert [request.sampling.form is None for request in backend.requests] == [True, False]
    backend = Thinker()
    await solve(Problem("p", "?", answers=Number()), Model(form=True), backend)
    assert backend.requests[-1].sampling.form == Number().form


async def test_a_model_that_stops_inside_its_thought_still_gives_an_answer_that_has_a_form() -> None:
    class Stops(Thinker):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            if request.sampling.form:
                return await super().generate(request, spend)
            return [Completion("", tokens=tuple(map(ord, "<think>a")), thought="a", open=True, thought_tokens=8)]

    backend = Stops()
    solution = await solve(PROBLEM, Model(form={"choice": ("7", "8")}), backend)
    assert "".join(map(chr, backend.requests[-1].tokens)).startswith("<think>a")
    assert solution.text
    assert (await solve(PROBLEM, Model(thinking=64), Stops())).answer is None


@pytest.mark.parametrize(
    "spec", ["Model(thinking=True)", "Model(thinking=False)", "Model(thinking=64)", "Vote(2, of=Model(thinking=8))"]
)
async def test_what_is_not_known_to_think_is_refused_at_the_start(spec: str) -> None:
    assert repr(parse(spec)) == spec
    with pytest.raises(InputError, match="is not known to think: name the family of its marks with thinking='FAMILY'"):
        await solve(PROBLEM, parse(spec), Scripted("x"))


NONSENSE: list[dict[str, Any]] = [
    {"thinking": 0},
    {"thinking": -1},
    {"thinking": 1.5},
    {"form": False},
    {"form": {}},
    {"form": {"xml": "x"}},
    {"form": {"regex": ""}},
    {"form": {"choice": "ab"}},
]


@pytest.mark.parametrize("settings", NONSENSE)
def test_a_setting_that_makes_no_sense_is_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^Model: "):
        Model(**settings)


CAPS = Path(__file__).parents[2] / "shared" / "data" / "reasoning" / "aime24_caps.jsonl"


@pytest.mark.skipif(not CAPS.exists(), reason="needs recorded thoughts")
async def test_recorded_thoughts_are_closed_and_right_as_often_as_they_are(tmp_path: Path) -> None:
    """30 problems at each of seven caps, by DeepScaleR-1.5B: what is open has no answer, whatever was guessed.

    At 4,096 tokens four more have the right answer inside a thought that is closed, and are cut before they say it.
    """
    closed: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for row in map(json.loads, CAPS.read_text().splitlines()):
        pool = tmp_path / f"{row['id']}-{row['cap']}.jsonl"
        pool.write_text(json.dumps({"problem": row["id"], "prompt": row["prompt"], "draw": 0, "text": row["text"]}))
        solution = await solve(Problem(row["id"], row["prompt"], row["answer"]), Model(), Recorded(pool))
        (one,) = (each for span in solution.trace.walk() for each in span.completions)
        assert not (one.open and solution.answer)
        closed[row["cap"]] += not one.open
        right[row["cap"]] += solution.correct is True
    assert [closed[cap] for cap in sorted(closed)] == [0, 0, 0, 0, 1, 9, 16]
    assert [right[cap] for cap in sorted(closed)] == [0, 0, 0, 0, 1, 3, 9]


async def test_what_a_pool_plays_counts_its_thoughts(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    async with Recorded(pool, Scripted("<think>a</think>The answer is 7.")) as recorded:
        drawn = await solve(PROBLEM, Vote(2), recorded)
    played = await solve(PROBLEM, Vote(2), Recorded(pool))
    assert played.usage.thought_tokens == drawn.usage.thought_tokens == 2 * len("<think>a")
    assert played.text == drawn.text == "The answer is 7."


async def test_a_reply_of_nothing_is_drawn_as_it_was_asked_for() -> None:
    class Ending(Thinker):
        """Ends at once, by a token that says nothing, where its thought is asked for."""

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            if request.sampling.thought_only:
                return [Completion("", tokens=(2,))]
            return await super().generate(request, spend)

    backend = Ending("The answer is 7.")
    assert (await solve(PROBLEM, Model(thinking=50), backend)).text == "The answer is 7."
    assert [request.tokens for request in backend.requests] == [()]


@pytest.mark.parametrize("thought", ["", "a"])
async def test_an_empty_thought_is_one_too(thought: str) -> None:
    backend = Thinker(f"<think>\n{thought}\n</think>\n\nThe answer is 7.")
    assert (await solve(PROBLEM, Model(thinking=50), backend)).text == "The answer is 7."
    assert [request.sampling.thought_only for request in backend.requests] == [True, False]
    assert backend.requests[1].tokens
