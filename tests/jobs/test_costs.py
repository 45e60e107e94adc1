"""A budget that cannot be kept is refused before a model is loaded."""

from pathlib import Path
from typing import Any

import pytest

from metagen import Budget, InputError
from metagen.jobs.job import prepare
from tests.jobs.test_job import SERVER, order


def refused(folder: Path, *rows: dict[str, Any], **more: Any) -> str:
    with pytest.raises(InputError) as found:
        prepare(order(folder, *rows, **more))
    return str(found.value)


@pytest.mark.parametrize(
    "more",
    [
        {"budget": Budget(money=3.0)},
        {"strategy": "Within(money=0.1, of=Vote(2))"},
        {"strategy": "Vote(2, of=Within(flops=1e9))"},
        {"budget": Budget(flops=1e9)},
        {"budget": Budget(money=3.0), "strategy": 'Vote(2, of=Model("other"))'},
        {
            "budget": Budget(money=3.0),
            "prices": {"model": "1/2"},
            "strategy": 'Escalate((Model(), Model("other")), until=BetaStop(0.95), n=4)',
        },
    ],
)
def test_a_limit_of_what_is_not_known_of_a_model_is_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    models = {"model": SERVER, "other": f"{SERVER}2"}
    said = refused(tmp_path, {"answer": 7}, **{"models": models} | more)
    needed = "the sizes of" if "flops=1" in str(more) else "the price of"
    assert f"needs {needed} m" in said


CODE = """
from metagen import Balanced, ModelCard, OpenAIServer, Recorded, Retrying, Scripted
from metagen.models import SMALL

model, sized = Scripted("7"), Scripted("7", card=ModelCard.read(SMALL))


class Own:
    name, context, missing, waits = "own", 100, (), ""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        pass

    async def generate(self, request, spend):
        raise NotImplementedError


own = Own()
server = Retrying(OpenAIServer("http://localhost:1/v1"))
servers = Balanced(OpenAIServer("http://localhost:1/v1"), OpenAIServer("http://localhost:2/v1", card=sized.card))
pool = Recorded("drawn.jsonl", server)
"""


@pytest.mark.parametrize("model", ["model", "own", "server", "servers", "pool", "Scripted:7"])
def test_the_sizes_of_what_is_loaded_are_asked_for_before_it_is_opened(tmp_path: Path, model: str) -> None:
    (tmp_path / "code.py").write_text(CODE)
    loaded: dict[str, Any] = {"load": [tmp_path / "code.py"], "budget": Budget(flops=1e9)}
    assert "needs the sizes of" in refused(tmp_path, {"answer": 7}, models={"model": model}, **loaded)
    prepare(order(tmp_path, {"answer": 7}, models={"model": "sized"}, **loaded))


def test_a_limit_of_what_is_known_is_none_of_its_concern(tmp_path: Path) -> None:
    for more in (
        {"budget": Budget(money=3.0), "prices": {"model": "1/2"}},
        {"budget": Budget(flops=1e9), "models": {}},
        {"strategy": "Within(money=1.0, of=Vote(2))", "prices": {"model": "0/0"}},
        {
            "strategy": 'Panel((Within(money=1.0), Model("other")))',
            "models": {"model": SERVER, "other": SERVER},
            "prices": {"model": "1/2"},
        },
    ):
        assert prepare(order(tmp_path, {"answer": 7}, **more)).judged == 1
