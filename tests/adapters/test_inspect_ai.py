"""Inspect over strategies: its own forms of tasks on local data, as right as `metagen solve`."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    BestOf,
    Completion,
    GenerationError,
    InputError,
    MeanLogprob,
    Model,
    Problem,
    Request,
    Sampling,
    Scripted,
    Text,
    Vote,
    solve,
    sync,
)
from metagen.disk.runs import RunDirectory
from metagen.messages import Message
from metagen.view.reading import RunRows
from tests.support.harness import LETTERS, MODELS, SUMS, right_by_solve, saved
from tests.support.viewed import make_run

pytest.importorskip("inspect_ai")
pytestmark = [pytest.mark.adapters, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import metagen.adapters.inspect_ai  # noqa: F401 (an installed package needs no import: it is an entry point)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")


def sums(count: int = 40) -> list[Any]:
    from inspect_ai.dataset import Sample

    return [Sample(id=row["id"], input=row["question"], target=row["answer"]) for row in SUMS[:count]]


def evaluated(task: Any, model: str, **settings: Any) -> Any:
    from inspect_ai import eval as evaluate

    arguments = {"load": MODELS, **settings.pop("model_args", {})}
    (log,) = evaluate(task, model=f"metagen/{model}", model_args=arguments, **settings)
    return log


def right(log: Any) -> float:
    assert log.status == "success", log.error.traceback
    return float(log.results.scores[0].metrics["accuracy"].value)


@pytest.mark.parametrize("strategy", ["Model()", "Vote(5)"])
def test_exact_answers_are_as_right_as_by_solve(tmp_path: Path, strategy: str) -> None:
    from inspect_ai import Task
    from inspect_ai.scorer import match

    log = evaluated(
        Task(sums(), scorer=match(numeric=True)), "thinker", model_args={"strategy": strategy, "answers": "Number()"}
    )
    assert right(log) == pytest.approx(
        right_by_solve(saved(tmp_path / "sums.jsonl", SUMS), "thinker", strategy, "Number()")
    )
    assert 0.1 < right(log) < 1
    output = log.samples[0].output
    assert [part.type for part in output.message.content] == ["reasoning", "text"]
    assert output.metadata["metagen"][0]["answers"] == (["1"] if strategy == "Model()" else ["1", "1", "0", "0", "0"])
    assert output.usage.reasoning_tokens > 0
    assert output.usage.total_tokens == output.usage.input_tokens + output.usage.output_tokens


def test_a_multiple_choice_is_as_right_as_by_solve(tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import choice
    from inspect_ai.solver import multiple_choice

    rows = [Sample(id=row["id"], input=row["question"], choices=list("wxyz"), target=row["answer"]) for row in LETTERS]
    template = "{question}\n{choices}\n{letters}"
    log = evaluated(
        Task(rows, solver=multiple_choice(template=template), scorer=choice()),
        "inspected",
        model_args={"strategy": "Vote(3)", "answers": 'Choice("ABCD")'},
    )
    data = saved(tmp_path / "letters.jsonl", LETTERS)
    assert right(log) == pytest.approx(right_by_solve(data, "chooser", "Vote(3)", 'Choice("ABCD")'))
    assert 0.1 < right(log) < 1


def test_a_model_grades_and_epochs_are_samples_of_their_own(tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.model import get_model
    from inspect_ai.scorer import model_graded_qa

    grader = get_model("metagen/grader", load=MODELS, strategy="Vote(3)")
    log = evaluated(
        Task(sums(8), scorer=model_graded_qa(model=grader), epochs=3),
        "seeded",
        model_args={"strategy": "Model()", "seed": 1},
    )
    assert right(log) == 1  # the grader says so
    texts = {(sample.id, sample.epoch): sample.output.completion for sample in log.samples}
    assert len(texts) == 24
    assert len({texts["s1", epoch] for epoch in (1, 2, 3)}) == 3
    again = evaluated(Task(sums(8), epochs=3), "seeded", model_args={"strategy": "Model()", "seed": 1})
    assert {(sample.id, sample.epoch): sample.output.completion for sample in again.samples} == texts


def test_the_solver_draws_from_the_model_of_the_task(tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.scorer import match

    from metagen.adapters.inspect_ai import metagen

    task = Task(sums(), solver=metagen("Vote(5)", answers="Number()"), scorer=match(numeric=True))
    log = evaluated(task, "counter", model_args={"strategy": "Model()"})
    assert right(log) == pytest.approx(
        right_by_solve(saved(tmp_path / "s.jsonl", SUMS), "adder", "Vote(5)", "Number()")
    )
    events = [event for event in log.samples[0].events if event.event == "model"]
    assert len(events) == 5  # Inspect sees each sample
    assert log.stats.model_usage["metagen/counter"].output_tokens > 0


def test_a_call_that_fails_costs_the_solver_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai import Task
    from inspect_ai.scorer import match

    from metagen.adapters.inspect_ai import metagen
    from metagen.adapters.inspect_ai.provider import StrategyAPI

    answered, asked = StrategyAPI.generate, Counter[str]()

    async def flaky(self: Any, **given: Any) -> Any:
        question = given["input"][-1].text
        asked[question] += 1
        if asked[question] == 2:
            raise ConnectionError("gone")
        return await answered(self, **given)

    monkeypatch.setattr(StrategyAPI, "generate", flaky)
    task = Task(sums(4), solver=metagen("Vote(5)", answers="Number()"), scorer=match(numeric=True))
    log = evaluated(task, "counter", model_args={"strategy": "Model()"})
    assert right(log) > 0
    assert set(asked.values()) == {5}


SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer", "minimum": 0}}, "required": ["answer"]}


async def test_forms_and_log_probabilities_are_asked_for_in_inspects_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.model._model_output import Logprob, Logprobs, TopLogprob

    from metagen.adapters.inspect_ai.active import ActiveModel

    def told(given: Any, tools: Any, choice: Any, config: Any) -> Any:
        del given, tools, choice
        asked.append(config)
        output = ModelOutput.from_content("mockllm", '{"answer": 7}')
        likely = [TopLogprob(token=token, logprob=value) for token, value in (("7", -0.5), ("8", -1.5))]
        output.choices[0].logprobs = Logprobs(content=[Logprob(token="7", logprob=-0.5, top_logprobs=likely)])
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    async def one(messages: Any) -> int:
        return len(messages)

    asked: list[Any] = []
    mocked = get_model("mockllm/model", custom_outputs=told)
    monkeypatch.setattr(mocked.api, "count_tokens", one)  # its own needs the network
    async with ActiveModel(mocked) as model:
        drawing = Model(form={"json": SCHEMA}, top_logprobs=2)
        solution = await solve("?", BestOf(2, of=drawing, by=MeanLogprob()), model)
        assert solution.text == '{"answer": 7}', solution.error
        assert solution.candidate is not None
        assert solution.candidate.logprobs == (-0.5,)
        assert (asked[0].logprobs, asked[0].top_logprobs) == (True, 2)
        assert asked[0].response_schema.json_schema.model_dump(exclude_none=True) == SCHEMA
        sampling = Sampling(top_logprobs=2)
        (drawn,) = await model.generate(Request("p", "?", sampling=sampling), lambda _: None)
        assert isinstance(drawn, Completion)
        assert (drawn.confidences, drawn.first) == ((1.0,), (("7", -0.5), ("8", -1.5)))
        for settings, said in (
            ({"form": {"regex": "[0-9]+"}}, "which has no form such as"),
            ({"form": {"json": {"type": "object", "patternProperties": {}}}}, "which has no form such as"),
            ({"ignore_eos": True}, "which has no ignore_eos"),
        ):
            with pytest.raises(InputError, match=said):
                await solve("?", Model(**settings), model)


@pytest.mark.parametrize("strategy", ["Vote(5)", "Until(Judge(), limit=50)", "BestOf(5, by=Judge())"])
def test_a_limit_of_inspect_ends_the_sample_as_a_limit(strategy: str) -> None:
    from inspect_ai import Task
    from inspect_ai.scorer import match

    from metagen.adapters.inspect_ai import metagen

    task = Task(sums(2), solver=metagen(strategy, answers="Number()"), scorer=match(numeric=True), token_limit=100)
    log = evaluated(task, "counter", model_args={"strategy": "Model()"})
    assert log.status == "success"
    assert [(sample.limit.type, sample.error) for sample in log.samples] == [("token", None)] * 2


def test_tools_are_called(tmp_path: Path) -> None:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate, use_tools
    from inspect_ai.tool import Tool, tool

    @tool  # type: ignore[untyped-decorator]
    def weather() -> Tool:
        async def execute(city: str) -> str:
            """Say how the weather is.

            Args:
                city: The name of a city.
            """
            return f"It rains in {city}."

        return execute

    rows = [Sample("The weather in Bern?", target="It rains in Bern.")]
    task = Task(rows, solver=[use_tools(weather()), generate()], scorer=includes())
    log = evaluated(task, "caller", model_args={"strategy": "Vote(3)"})
    assert right(log) == 1
    assert [message.role for message in log.samples[0].messages] == ["user", "assistant", "tool", "assistant"]


async def test_what_each_model_used_is_told_apart_and_what_cannot_be_is_refused() -> None:
    from inspect_ai.model import ChatMessageUser, ContentImage, GenerateConfig, get_model

    models = {"small": "adder", "large": "Scripted:The answer is 7."}
    spec = "BestOf(2, of=Model('small'), by=Judge(of=Model('large')))"
    model = get_model("metagen/both", models=models, strategy=spec, load=MODELS)
    output = await model.generate("What is 3 + 4 ?")
    used = {each.model: each.usage for each in model.api.served_model_usage(output) or []}
    assert set(used) == {"adder", "scripted"}
    assert used["adder"].output_tokens > 0
    several = await model.generate("What is 3 + 4 ?", config=GenerateConfig(num_choices=2))
    assert len(several.choices) == 2
    with pytest.raises(InputError, match="logprobs: strategies do not pass it on"):
        await model.generate("?", config=GenerateConfig(logprobs=True))
    with pytest.raises(InputError, match="content of the type 'image'"):
        await model.generate([ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AA==")])])
    broken = get_model("metagen/broken", load=MODELS, strategy="Model()")
    with pytest.raises(GenerationError, match="no luck"):
        await broken.generate("What is 3 + 3 ?")


async def test_a_choice_that_is_lost_costs_no_other() -> None:
    from inspect_ai.model import GenerateConfig, get_model

    model = get_model("metagen/unlucky", load=MODELS, strategy="Model()")
    output = await model.generate("What is 3 + 4 ?", config=GenerateConfig(num_choices=3))
    assert len(output.choices) == 2
    assert output.metadata["lost"] == 1
    with pytest.raises(GenerationError, match="no luck"):
        await model.generate("What is 3 + 3 ?", config=GenerateConfig(num_choices=3))


def test_a_tree_search_is_a_log_with_branches(tmp_path: Path) -> None:
    from inspect_ai.event import timeline_build
    from inspect_ai.log import read_eval_log

    from metagen.cli.commands import export_command

    run = asyncio.run(make_run(tmp_path, "beam"))
    export_command(run, "inspect")
    log = read_eval_log(str(run / "run.eval"))
    assert log.eval.model == "metagen/scripted"
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(1 / 3)
    sample = log.samples[1]
    assert (sample.id, sample.input, sample.target) == ("b", "What is 4 + 4?", "8")
    assert sample.scores["right"].value == "C"
    assert sample.model_usage["scripted"].total_tokens > 0
    calls = [event for event in sample.events if event.event == "model"]
    assert calls[1].input[-1].text == "We add.\n"
    assert calls[1].output.completion == "The sum is clear.\n"
    branches = [event for event in sample.events if event.event == "branch"]
    anchors = {event.anchor_id for event in sample.events if event.event == "anchor"}
    assert [event.from_anchor in anchors for event in branches] == [True, True]
    assert "branch" in timeline_build(sample.events).model_dump_json()
    spans = [event for event in sample.events if event.event == "span_begin"]
    assert [span.name for span in spans if span.type == "branch"] == ["node 0", "node 0.0"]


def test_votes_and_refinements_are_logs_too(tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    from metagen.cli.commands import export_command

    for name in ("vote", "refine"):
        run = asyncio.run(make_run(tmp_path, name))
        export_command(run, "inspect", tmp_path / f"{name}.eval")
        log = read_eval_log(str(tmp_path / f"{name}.eval"))
        assert [sample.metadata["level"] for sample in log.samples] == ["1", "2", "2"]
    with pytest.raises(InputError, match=r"name a file that ends in \.eval"):
        export_command(run, "inspect", tmp_path / "log.json")


@pytest.mark.parametrize("reply", ["{}. The answer is {}.", ""])
def test_halves_of_surrogate_pairs_are_escapes_in_logs(tmp_path: Path, reply: str) -> None:
    from inspect_ai.log import read_eval_log

    from metagen.adapters.inspect_ai.logs import write_log

    odd = "half \ud83d of a pair"

    def script(request: Request) -> str:
        if not reply:
            raise GenerationError(odd)
        return reply.format(odd, odd)

    turns = [Message("system", odd), Message("user", odd)]
    problem = Problem("a", messages=turns, answer=odd, tags={odd: odd}, answers=Text())
    solution = sync.solve(problem, Vote(2), Scripted(script))
    with RunDirectory(tmp_path / "run", {"strategy": "Vote(2)"}) as run:
        run.add(solution)
    write_log(RunRows.read(tmp_path / "run"), tmp_path / "run.eval")
    log = read_eval_log(str(tmp_path / "run.eval"))
    assert "half \\ud83d of a pair" in log.samples[0].target


def test_a_log_holds_the_whole_conversation(tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    from metagen.adapters.inspect_ai.logs import write_log

    turns = [
        Message("system", "Be brief."),
        Message("user", "3 + 4?"),
        Message("assistant", "7"),
        Message("user", "4 + 4?"),
    ]
    with RunDirectory(tmp_path / "run", {"strategy": "Vote(2)"}) as run:
        for problem in (Problem("a", messages=turns, answer="8"), Problem("b", "4 + 4?", answer="8")):
            run.add(sync.solve(problem, Vote(2), Scripted(lambda _: "The answer is 8.")))
    write_log(RunRows.read(tmp_path / "run"), tmp_path / "run.eval")
    talk, alone = read_eval_log(str(tmp_path / "run.eval")).samples
    assert [(each.role, each.text) for each in talk.input] == [(turn.role, turn.content) for turn in turns]
    assert [each.role for each in talk.messages] == [*(turn.role for turn in turns), "assistant"]
    assert alone.input == "4 + 4?"
    assert len(alone.messages) == 2
