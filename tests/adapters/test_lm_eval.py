"""lm-evaluation-harness over strategies: its own tasks on local data, as right as `metagen solve`."""

from pathlib import Path
from typing import Any

import pytest

from metagen import GenerationError, InputError
from tests.support.harness import LETTERS, MODELS, SUMS, right_by_solve, saved

pytest.importorskip("lm_eval")
pytestmark = [pytest.mark.adapters, pytest.mark.filterwarnings("ignore")]

TASK = r"""
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{train: {data}, test: {data}}}}}
output_type: {kind}
test_split: test
fewshot_split: train
fewshot_config: {{sampler: first_n}}
doc_to_text: "Question: {{{{question}}}}\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["Question:"], do_sample: false, temperature: 0.0, max_gen_toks: 200}}
filter_list:
  - name: extract
    filter:
      - {{function: regex, regex_pattern: "answer is (\\w+)"}}
      - {{function: take_first}}
metric_list:
  - {{metric: {metric}, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)


def make_task(folder: Path, name: str, rows: list[dict[str, Any]], kind: str = "generate_until") -> Path:
    data = saved(folder / f"{name}.jsonl", rows)
    metric = "exact_match" if kind == "generate_until" else "acc"
    text = TASK.format(name=name, data=data, kind=kind, metric=metric).replace(
        'doc_to_choice: ["A", "B", "C", "D"]\n' if kind == "generate_until" else "\0", ""
    )
    (folder / f"{name}.yaml").write_text(text)
    return data


def evaluated(folder: Path, task: str, settings: dict[str, Any], **more: Any) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from metagen.adapters.lm_eval import MetagenLM

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return simple_evaluate(
        MetagenLM(load=MODELS, **settings), tasks=[task], task_manager=manager, bootstrap_iters=0, **more
    )


@pytest.mark.parametrize(
    ("rows", "model", "strategy", "answers"),
    [
        (SUMS, "adder", "Model()", "Number()"),
        (SUMS, "adder", "Vote(5)", "Number()"),
        (SUMS, "thinker", "Vote(5)", "Number()"),
        (LETTERS, "chooser", "Vote(3)", 'Choice("ABCD")'),
    ],
)
def test_a_task_is_as_right_as_by_solve(
    tmp_path: Path, rows: list[dict[str, Any]], model: str, strategy: str, answers: str
) -> None:
    data = make_task(tmp_path, "task", rows)
    found = evaluated(tmp_path, "task", {"model": model, "strategy": strategy, "answers": answers})
    right = found["results"]["task"]["exact_match,extract"]
    assert right == pytest.approx(right_by_solve(data, model, strategy, answers))
    assert 0.1 < right < 1
    assert found["config"]["strategy"] == strategy


@pytest.mark.parametrize(("model", "end"), [("talker", "\n\n"), ("thinker", "")])
def test_until_ends_the_text_and_never_a_thought(tmp_path: Path, model: str, end: str) -> None:
    make_task(tmp_path, "task", SUMS[:3])
    for strategy in ("Model()", "Vote(2)"):
        found = evaluated(tmp_path, "task", {"model": model, "strategy": strategy}, log_samples=True)
        replies = [sample["resps"][0][0] for sample in found["samples"]["task"]]
        assert replies == [f"We add.\nThe answer is {answer}.{end}" for answer in (1, 3, 4)]


def test_a_thought_that_until_ended_is_no_answer(tmp_path: Path) -> None:
    make_task(tmp_path, "task", SUMS[:3])
    with pytest.raises(GenerationError, match="no answer to 3 of 3 requests: 'until' ended a thought"):
        evaluated(tmp_path, "task", {"model": "unknown_thinker", "strategy": "Model()"})


def test_few_shots_are_turns_where_the_template_is_applied(tmp_path: Path) -> None:
    make_task(tmp_path, "task", SUMS)
    settings = {"model": "adder", "strategy": "Vote(5)", "answers": "Number()"}
    chat = evaluated(
        tmp_path, "task", settings, num_fewshot=2, apply_chat_template=True, system_instruction="Be brief.", limit=20,
        log_samples=True,
    )  # fmt: skip
    assert chat["samples"]["task"][0]["arguments"][0][0].startswith('[{"role": "system", "content": "Be brief."}')
    text = evaluated(tmp_path, "task", settings, num_fewshot=2, limit=20)
    assert chat["results"]["task"]["exact_match,extract"] == text["results"]["task"]["exact_match,extract"]


def test_a_request_without_an_answer_is_no_answer_and_the_others_are_kept(tmp_path: Path) -> None:
    make_task(tmp_path, "task", SUMS[:6])
    cache = str(tmp_path / "answers")
    with pytest.raises(GenerationError, match=r"no answer to 1 of 6 requests: GenerationError: no luck\. With --use"):
        evaluated(tmp_path, "task", {"model": "broken", "strategy": "Model()"}, use_cache=cache)
    found = evaluated(tmp_path, "task", {"model": "adder", "strategy": "Model()"}, use_cache=cache)
    assert found["results"]["task"]["exact_match,extract"] > 0


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance

    from metagen.adapters.lm_eval import MetagenLM

    make_task(tmp_path, "task", LETTERS, "multiple_choice")
    with pytest.raises(InputError, match="task: asks for log-likelihoods, and a strategy only generates"):
        evaluated(tmp_path, "task", {"model": "chooser"})
    with pytest.raises(InputError, match="strtegy: metagen has no such setting: did you mean strategy"):
        MetagenLM(strtegy="Vote(4)")
    model = MetagenLM(model="Scripted:7")
    asked = Instance("generate_until", {}, ("?", {"until": [], "num_return_sequences": 2}), 0, ("task", 0, 1))
    with pytest.raises(InputError, match="gen_kwargs 'num_return_sequences': metagen does not know it"):
        model.generate_until([asked], disable_tqdm=True)


ASKED = """
from pathlib import Path
from metagen import Scripted

class Plain(Scripted):
    def refuses(self, sampling):
        return "has no min_p" if sampling.min_p else ""

def script(request):
    Path("asked.txt").write_text(request.prompt)
    return "7"

def plain():
    return Plain(script)
"""


@pytest.mark.parametrize("wrong", [{"min_p": 0.5}, {"max_gen_toks": 0}, {"num_return_sequences": 2}])
def test_no_group_of_requests_is_paid_for_where_another_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    from lm_eval.api.instance import Instance

    from metagen.adapters.lm_eval import MetagenLM

    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(ASKED)
    model = MetagenLM(model="plain", load="plain.py", strategy="Model()")
    settings = [{"do_sample": True, "until": []}, wrong]  # sorted by their texts
    asked = [Instance("generate_until", {}, ("?", each), at, ("task", at, 1)) for at, each in enumerate(settings)]
    with pytest.raises(InputError):
        model.generate_until(asked, disable_tqdm=True)
    assert not (tmp_path / "asked.txt").exists()
    assert model.generate_until(asked[:1], disable_tqdm=True) == ["7"]


def test_the_launcher_knows_the_model_and_says_errors_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lm_eval.api.registry import get_model

    from metagen.adapters.lm_eval import MetagenLM
    from metagen.adapters.lm_eval.__main__ import main

    def evaluate() -> None:
        get_model("metagen")(strategy="Vite(3)")

    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", evaluate)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("metagen: 'Vite' is not known")
    assert get_model("metagen") is MetagenLM
