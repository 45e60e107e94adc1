"""What `metagen export` writes is read by datasets and by TRL, which train a step on it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from metagen.cli.commands import export_command
from metagen.models import SMALL
from tests.support.viewed import make_run

pytest.importorskip("trl")
pytestmark = [pytest.mark.adapters, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a run is as a dataset, in one of its forms."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)

    def load(form: str, suffix: str = "jsonl", **more: Any) -> Any:
        run = asyncio.run(make_run(tmp_path / f"{form}-{suffix}-{len(more)}", "best"))
        folder = run / "data"
        folder.mkdir()
        export_command(run, form, folder / f"train.{suffix}", **more)
        return datasets.load_dataset(str(folder), split="train")

    return load


def settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trained"),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_both_files_hold_the_same_dataset(exported: Any, suffix: str) -> None:
    from trl.data_utils import is_conversational

    for form, columns in {"dpo": {"prompt", "chosen", "rejected"}, "sft": {"prompt", "completion"}}.items():
        data = exported(form, suffix)
        assert columns < set(data.column_names)
        assert is_conversational(data[0])
    candidates = exported("jsonl", suffix)
    assert candidates[0]["text"] == "It is odd.\nThe answer is 7."
    assert not is_conversational(exported("dpo", suffix, plain=True)[0])


@pytest.mark.parametrize("plain", [False, True])
def test_a_step_of_dpo_is_trained(tmp_path: Path, exported: Any, plain: bool) -> None:
    from trl import DPOConfig, DPOTrainer

    data = exported("dpo", each=2, plain=plain)
    trainer = DPOTrainer(str(SMALL), args=DPOConfig(**settings(tmp_path), max_length=256), train_dataset=data)
    assert trainer.train().training_loss == pytest.approx(0.693, abs=0.01)  # the reference model is the same


@pytest.mark.parametrize("plain", [False, True])
def test_a_step_of_sft_is_trained(tmp_path: Path, exported: Any, plain: bool) -> None:
    from trl import SFTConfig, SFTTrainer

    data = exported("sft", each=2, plain=plain)
    trainer = SFTTrainer(str(SMALL), args=SFTConfig(**settings(tmp_path), max_length=256), train_dataset=data)
    assert 0 < trainer.train().training_loss < 20
