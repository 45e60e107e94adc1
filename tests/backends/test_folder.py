"""The folder of a model: every fault of it is one line that names it."""

from pathlib import Path
from typing import Any

import pytest

from metagen import InputError, ModelCard, TorchReward, VLLMEngine, VLLMReward
from metagen.backends.folder import check_model, config_of, find_model, name_of, where_models_are
from metagen.jobs.opening import open_model
from metagen.models import SHIPPED, SMALL
from metagen.solve import EXAMPLE
from tests.support.needs import needs_vllm

LONG = "x" * 300
"""Longer than a file's name may be."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "must hold a JSON object"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    for read in (config_of, ModelCard.read):
        with pytest.raises(InputError, match=rf"config\.json: {said}"):
            read(str(tmp_path))


def test_a_configuration_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match=r"config\.json: cannot be read: Is a directory"):
        config_of(str(tmp_path))


@pytest.mark.parametrize("model", ["./m", "/m", "~/m", "runs/models/m", "models/m/"])
def test_a_path_to_nothing_is_refused(model: str) -> None:
    with pytest.raises(InputError, match=f"^there is no model at {model}: give the folder of a model"):
        check_model(model)


@pytest.mark.parametrize("model", ["m", "owner/m", "owner/m-GGUF:Q4_K_M", "s3://bucket/models/m"])
def test_a_name_on_the_hub_or_an_address_is_left_to_the_engine(model: str) -> None:
    check_model(model)


def test_a_name_of_any_length_is_a_name() -> None:
    check_model(LONG)
    assert (name_of(LONG), config_of(LONG)) == (LONG, {})
    with pytest.raises(InputError, match="there is no model at"):
        check_model(f"./{LONG}")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model: it has no config\.json"):
        check_model(str(tmp_path))
    assert name_of(str(tmp_path)) == tmp_path.name


def test_the_models_that_ship_are_known_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (find_model("small-moe"), find_model(SMALL), find_model("org/small-moe")) == (
        str(SMALL),
        str(SMALL),
        "org/small-moe",
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small-moe").mkdir()
    with pytest.raises(InputError, match="small-moe holds no model"):  # a folder of this name is the one that is meant
        find_model("small-moe")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(VLLMEngine, "small-moe", marks=needs_vllm),
        pytest.param(VLLMReward, "small-prm", marks=needs_vllm),
        (TorchReward, "small-prm"),
    ],
)
def test_every_backend_of_this_process_takes_the_name_of_a_model_that_ships(make: Any, name: str) -> None:
    assert make(name)._model == str(SHIPPED[name])
    assert make(name).name == name


@needs_vllm
def test_the_backend_that_messages_name_is_one_that_opens() -> None:
    name = EXAMPLE.removeprefix("VLLMEngine('").removesuffix("')")
    assert VLLMEngine(name)._model == str(SMALL)


@pytest.mark.parametrize(
    "make", [TorchReward, *(pytest.param(each, marks=needs_vllm) for each in (VLLMEngine, VLLMReward, open_model))]
)
@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("smal-moe", "small-moe"),
        ("Small_MoE", "small-moe"),
        ("smallprm", "small-prm"),
        ("small-reasoners", "small-reasoner"),
    ],
)
def test_a_misspelt_name_of_a_model_that_ships_is_refused_before_anything_is_loaded(
    make: Any, given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=f"there is no model '{given}' that ships with metagen: did you mean {meant}"):
        make(given)
    monkeypatch.chdir(tmp_path)
    (tmp_path / given).touch()
    find_model(given)


@pytest.mark.parametrize("name", ["gpt2", "distilgpt2", "org/smal-moe", "t5-small", "small"])
def test_a_name_on_the_hub_is_left_to_the_hub(name: str) -> None:
    assert find_model(name) == name


def test_a_model_that_is_not_there_may_be_one_that_ships(tmp_path: Path) -> None:
    assert where_models_are(str(tmp_path)) == ""
    assert where_models_are("small-mo").endswith("or one that ships with metagen: did you mean small-moe?")
    assert where_models_are("small").endswith("there is small-corrector, small-moe, small-prm, small-reasoner")
    assert where_models_are("org/other").endswith("there is small-corrector, small-moe, small-prm, small-reasoner")
