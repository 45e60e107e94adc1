"""Which backend a model on the command line becomes; opening none."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    InputError,
    ModelCard,
    OpenAIServer,
    ProblemFile,
    Retrying,
    RetryingReward,
    Scripted,
    TorchReward,
    VLLMEngine,
    VLLMReward,
    VLLMRewardServer,
    VLLMServer,
)
from metagen.disk.templates import Template
from metagen.jobs.job import Order, prepare
from metagen.jobs.opening import identity_of, make_backend
from metagen.models import SMALL
from metagen.request import AnyBackend
from tests.support.tiny_rewards import make


def backend(model: str) -> AnyBackend:
    return make_backend(model, {}, {}, None, {})


def test_a_reward_model_is_known_by_its_architecture(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch")
    marked = make(tmp_path / "marked", "Qwen2ForProcessRewardModel", SMALL)
    skywork = make(tmp_path / "Skywork-o1-Open-PRM-tiny", "Skywork", SMALL)
    assert isinstance(backend(str(marked)), VLLMReward)
    assert isinstance(backend(str(skywork)), TorchReward), "vLLM does not serve it"
    assert isinstance(backend(str(SMALL)), VLLMEngine)


def test_a_prefix_says_how_it_is_asked() -> None:
    assert isinstance(backend(f"rlhflow+{SMALL}"), VLLMReward)
    served = backend("qwen-prm+http://localhost:8000/v1#mine")
    assert isinstance(served, RetryingReward)
    assert isinstance(served.of, VLLMRewardServer)
    assert (served.name, served.process) == ("mine", True)
    assert isinstance(backend("qwen-prm+HTTP://LOCALHOST:8000/v1#mine"), RetryingReward)
    served = backend("HTTPS://models.example/v1#mine")
    assert isinstance(served, Retrying)
    assert isinstance(served.of, OpenAIServer)


def test_what_looks_like_a_prefix_is_part_of_a_name() -> None:
    with pytest.raises(InputError, match="there is no model at"):
        backend("./a+b")


def test_a_name_and_a_text_open_one_of_our_own_backends() -> None:
    assert isinstance(backend("Scripted:The answer is 7."), Scripted)
    assert isinstance(backend("VLLMServer:http://localhost:8000/v1"), VLLMServer)
    assert identity_of("Scripted:The answer is 7.", {}) == "Scripted:The answer is 7."
    assert identity_of("http://localhost:8000/v1#m", {}) == "http://localhost:8000/v1#m"
    assert identity_of("qwen-prm+http://localhost:8000", {}) == "qwen-prm+http://localhost:8000"
    assert isinstance(backend("Scripted:" + "7" * 10_000), Scripted), "no path is so long"


def test_a_path_that_exists_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Scripted:x").mkdir()
    with pytest.raises(InputError, match="holds no model"):
        backend("Scripted:x")


def test_a_function_of_a_loaded_file_gets_the_text_and_the_card() -> None:
    def model(text: str = "none", card: ModelCard | None = None) -> Scripted:
        return Scripted(text, name=text, card=card)

    names, card = {"model": model}, ModelCard.read(SMALL)
    assert make_backend("model:some", {}, names, None, {}).name == "some"
    assert make_backend("model:", {}, names, None, {}).name == "none"
    assert make_backend("model", {}, names, None, {}).name == "none"
    assert getattr(make_backend("model:some", {}, names, card, {}), "card", None) is card


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("Scriptd:7", "there is no backend 'Scriptd' that a text can open: did you mean Scripted"),
        ("Balanced:7", "there is no backend 'Balanced' that a text can open"),
        ("Retrying:http://localhost", "there is no backend 'Retrying' that a text can open"),
        ("Recorded:nowhere", "--model Recorded:nowhere: nowhere: there is no such pool"),
        ("localhost:8000/v1", "--model localhost:8000/v1: write http://localhost:8000/v1$"),
        ("127.0.0.1:8000", "write http://127.0.0.1:8000$"),
        ("Scripted", "--model Scripted: write Scripted:TEXT$"),
        ("qwen-prn+http://localhost", "there is no family 'qwen-prn' of reward models: did you mean qwen-prm"),
        ("fails:7", "--model fails:7: ValueError: on purpose"),
        ("nothing:7", "--model nothing:7: it returns int, not a backend"),
        ("no_argument:7", "--model no_argument:7: TypeError: .*positional argument"),
    ],
)
def test_what_no_backend_is_made_of_is_refused(model: str, said: str) -> None:
    def fails(text: str) -> Scripted:
        raise ValueError("on purpose")

    def nothing(text: str) -> int:
        return 7

    def no_argument() -> Scripted:
        return Scripted("7")

    with pytest.raises(InputError, match=said):
        make_backend(model, {}, {"fails": fails, "nothing": nothing, "no_argument": no_argument}, None, {})


def test_a_card_is_refused_where_it_cannot_be_given() -> None:
    with pytest.raises(InputError, match="--card is for servers and pools; model takes none"):
        make_backend("model", {}, {"model": lambda: Scripted("7")}, ModelCard.read(SMALL), {})


def order(folder: Path, *rows: dict[str, Any], **more: Any) -> Order:
    (folder / "p.jsonl").write_text("".join(json.dumps({"prompt": "3 + 4?"} | row) + "\n" for row in rows))
    problems = replace(ProblemFile(folder / "p.jsonl"), **more.pop("reading", {}))
    usual: dict[str, Any] = {"problems": problems, "strategy": "Vote(2)", "models": {"model": "Scripted:7"}}
    return Order(**usual | more)


SERVER = "http://localhost:8000/v1#m"


def slug(folder: Path, *rows: dict[str, Any], **more: Any) -> str:
    return prepare(order(folder, *rows, **more)).slug()


def test_a_setting_of_a_server_that_changes_replies_makes_another_run(tmp_path: Path) -> None:
    row, models = {"answer": 7}, {"model": SERVER}
    plain = slug(tmp_path, row, models=models)
    for name in ("extra", "model.extra"):
        thinking = {name: {"chat_template_kwargs": {"enable_thinking": False}}}
        assert slug(tmp_path, row, models=models, server=thinking) != plain
    on_the_way = {"headers": {"X": "secret"}, "model.key_env": "KEY", "silence": 9.0, "insecure_key": True}
    job = prepare(order(tmp_path, row, models=models, server=on_the_way))
    assert job.slug() == plain
    assert "secret" not in str(job.configuration())
    keyed = prepare(order(tmp_path, row, models=models, server={"model.extra": {"api_key": "secret", "seed": 7}}))
    assert keyed.configuration()["server"] == {"model.extra": {"seed": 7}}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"insecure_key": "no"}, "--server insecure_key=...: must be true or false, not 'no'"),
        ({"insecure_key": None}, "--server insecure_key=...: must be true or false, not None"),
        ({"headers": "X-Team: a"}, "--server headers=...: must be an object of texts"),
        ({"extra": "seed"}, "--server extra=...: must be an object"),
        ({"context": "8k"}, "--server context=...: must be a whole number, not '8k'"),
        ({"key_env": 7}, "--server key_env=...: must be a text, not 7"),
        ({"context": 0}, "OpenAIServer: context must be a whole number of 1 or more, not 0"),
        ({"context": -5}, "OpenAIServer: context must be a whole number of 1 or more, not -5"),
        ({"extra": {"n": 5}}, "OpenAIServer: extra may not hold 'n', which metagen sets itself"),
        ({"extra": {"stream": True}}, "OpenAIServer: extra may not hold 'stream'"),
        ({"extra": {"messages": [], "seed": 1}}, "OpenAIServer: extra may not hold 'messages'"),
    ],
)
def test_a_setting_of_a_server_of_the_wrong_kind_is_refused(tmp_path: Path, setting: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        prepare(order(tmp_path, {"answer": 7}, models={"model": SERVER}, server=setting))
    assert said in str(error.value)
    if setting.keys() & {"headers", "extra"}:  # which may hold keys
        assert ", not " not in str(error.value)
    fitting = {"insecure_key": False, "headers": {"X": "a"}, "extra": {"seed": 7}, "context": None, "key_env": "KEY"}
    prepare(order(tmp_path, {"answer": 7}, models={"model": SERVER}, server=fitting))


def test_a_setting_that_the_server_of_a_reward_model_lacks_is_given_to_the_other_by_its_name(tmp_path: Path) -> None:
    models = {"model": SERVER, "prm": "qwen-prm+http://localhost:8001#p"}
    with pytest.raises(InputError, match=r"has no such setting: for another model write NAME\.session="):
        prepare(order(tmp_path, {"answer": 7}, models=models, server={"session": "X-Session"}))
    with pytest.raises(InputError, match="reward model has no such setting: did you mean silence"):
        prepare(order(tmp_path, {"answer": 7}, models=models, server={"prm.silense": 7}))
    prepare(order(tmp_path, {"answer": 7}, models=models, server={"model.session": "X-Session"}))
    both = {"headers": {"X-Team": "a"}, "insecure_key": True, "probe_every": 5}
    prepare(order(tmp_path, {"answer": 7}, models=models, server=both))


def test_another_price_or_card_is_another_configuration_of_the_same_folder(tmp_path: Path) -> None:
    """Rows that were counted with and without a price have no total."""
    models = {"model": SERVER}
    plain, priced, sized = (
        prepare(order(tmp_path, {"answer": 7}, models=models, **more))
        for more in ({}, {"prices": {"model": "1/2"}}, {"cards": {"model": SMALL}})
    )
    assert plain.slug() == priced.slug() == sized.slug()
    assert len({str(each.configuration()) for each in (plain, priced, sized)}) == 3
    assert "price" not in plain.configuration(), "a run from before prices were kept continues"
    for price, typed in (("1.0/2.00", "1/2"), ("1/2/1", "1/2"), ("1/2/0.50", "1/2/0.5"), ("0/100.25", "0/100.25")):
        job = prepare(order(tmp_path, {"answer": 7}, models=models, prices={"model": price}))
        assert job.configuration()["price"] == {"model": typed}
    assert plain.slug(costs=True) != priced.slug(costs=True)


def test_a_card_is_the_same_wherever_it_is_read_from(tmp_path: Path) -> None:
    config = json.loads((SMALL / "config.json").read_text())
    made = []
    for name, more in (("one", {}), ("other", {}), ("larger", {"num_hidden_layers": 1 + config["num_hidden_layers"]})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config | more))
        job = prepare(order(tmp_path, {"answer": 7}, models={"model": SERVER}, cards={"model": tmp_path / name}))
        made.append(job.configuration())
    assert made[0] == made[1]
    assert made[0]["card"] != made[2]["card"]


def test_models_in_folders_of_one_name_have_two_origins(tmp_path: Path) -> None:
    folders = [tmp_path / each / "hf" for each in ("ck1", "ck2")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text((SMALL / "config.json").read_text())
    models = {"one": str(folders[0]), "other": str(folders[1]), "ours": str(SMALL), "served": SERVER}
    job = prepare(order(tmp_path, {"answer": 7}, models=models))
    assert [job.origin(name) for name in models] == [*map(str, folders), f"{SMALL.name} (shipped)", ""]


def test_a_field_that_the_template_shows_makes_another_run(tmp_path: Path) -> None:
    reading = {"template": Template("{context} {prompt}", Path("t.txt"))}
    one, other = ({"context": text, "answer": 7} for text in ("One.", "Other."))
    assert slug(tmp_path, one, reading=reading) != slug(tmp_path, other, reading=reading)
    assert slug(tmp_path, one) == slug(tmp_path, other)


def test_another_kind_of_answers_to_a_row_makes_another_run(tmp_path: Path) -> None:
    one, other = ({"answers": kind, "answer": "7"} for kind in ("Number()", "Text()"))
    assert slug(tmp_path, one) != slug(tmp_path, other)
    digests = {ProblemFile(order(tmp_path, row).problems.path).check().digest for row in (one, other)}
    assert len(digests) == 2, "a report compares these"


def test_the_name_of_a_run_is_one_that_a_folder_may_have(tmp_path: Path) -> None:
    row = {"prompt": "?", "answer": 1}
    found = []
    for name in ("問" * 70, "問" * 70 + "x", "y" * 200):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        found.append(
            prepare(
                replace(
                    order(tmp_path, row),
                    problems=ProblemFile(path),
                    strategy="Vote(4, of=Model(temperature=0.7, max_tokens=100))",
                )
            ).slug()
        )
    assert max(len(os.fsencode(each)) for each in found) <= 255
    assert len(set(found)) == 3
    assert found[2].startswith("y" * 200 + "-")
