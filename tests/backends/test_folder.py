"""The folder of a model: every fault of it is one line that names it."""

from pathlib import Path

import pytest

from metagen import InputError, ModelCard
from metagen.backends.folder import check_model, config_of, name_of

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


def test_a_name_of_any_length_is_a_name() -> None:
    check_model(LONG)
    assert (name_of(LONG), config_of(LONG)) == (LONG, {})
    with pytest.raises(InputError, match="there is no model at"):
        check_model(f"./{LONG}")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model: it has no config\.json"):
        check_model(str(tmp_path))
    assert name_of(str(tmp_path)) == tmp_path.name
