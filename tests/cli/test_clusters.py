"""Workers on the command line: what is refused before any is started. `tests/cluster/test_rays.py` starts them."""

import pytest
from rich.console import Console

from metagen import InputError, Usage
from metagen.cli.clusters import Cluster, check_used, cluster_of, models_of, table_of_workers
from metagen.cluster.slots import Slot
from metagen.jobs.job import ModelOrder


def test_the_other_options_need_workers() -> None:
    assert cluster_of(None, None, None) is None
    assert cluster_of(4, 2.0, "auto", hedge=True) == Cluster(workers=4, gpus=2.0, ray="auto", hedge=True)
    for given, name in (
        ({"gpus": 1.0, "ray": None}, "--gpus-per-worker"),
        ({"gpus": 0.0, "ray": None}, "--gpus-per-worker"),
        ({"gpus": None, "ray": "auto"}, "--ray"),
        ({"gpus": None, "ray": None, "hedge": True}, "--hedge"),
    ):
        with pytest.raises(InputError, match=f"{name} is for workers: give --workers too"):
            cluster_of(None, **given)


def test_workers_that_would_open_nothing_are_refused() -> None:
    cluster = Cluster(workers=2)
    served, scripted = (ModelOrder(models={"model": each}) for each in ("http://127.0.0.1:1/v1", "Scripted:7"))
    check_used(None, [served])
    check_used(cluster, [served, scripted])
    assert list(models_of(cluster, scripted)) == ["model"]
    with pytest.raises(InputError, match="--workers opens nothing here: servers and pools are asked by this process"):
        models_of(cluster, served)


@pytest.mark.parametrize(("problems", "questions", "column"), [(3, 0, "problems"), (0, 8, "requests")])
def test_the_table_says_what_each_worker_did(problems: int, questions: int, column: str) -> None:
    slot = Slot(0, None, host="node", problems=problems, questions=questions, busy=5.0)  # type: ignore[arg-type]
    slot.usage = Usage(prompt_tokens=100, cached_tokens=25, completion_tokens=50)
    console = Console(width=100, record=True)
    console.print(table_of_workers([slot], 10.0))
    shown = console.export_text().split()
    assert column in shown
    assert shown[-7:] == ["0", "node", str(problems or questions), "5", "25%", "50%", "0"]
