from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from metagen import InputError, Model, Number, Vote
from metagen.adapters import caller
from metagen.adapters.caller import read_caller, until
from metagen.jobs import job
from metagen.jobs.job import ModelOrder
from metagen.request import AnyBackend
from tests.support.harness import MODELS


def test_settings_mean_what_options_mean() -> None:
    caller = read_caller(
        {
            "model": {"small": "adder", "large": "Scripted:7"},
            "load": MODELS,
            "strategy": "Vote(4)",
            "answers": "Number()",
        }
    )
    assert (caller.strategy, caller.answers, list(caller.models)) == (Vote(4), Number(), ["small", "large"])
    assert caller.backend is caller.models["small"]
    assert list(read_caller({"model": ["a=Scripted:1", "b=Scripted:2"]}).models) == ["a", "b"]


URL = "http://somewhere.example/v1"


def test_settings_of_an_object_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ModelOrder] = []

    def make_models(order: ModelOrder, names: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, AnyBackend]]:
        seen.append(order)
        return {}, {} if order.engine else job.make_models(order, names)[1]

    monkeypatch.setattr(caller, "make_models", make_models)
    server = {"insecure-key": False, "headers": {"X-Team": "a"}, "context": None, "name": "7"}
    read_caller({"model": {"a": URL}, "server": server})
    assert seen[0].server == {"insecure_key": False, "headers": {"X-Team": "a"}, "context": None, "name": "7"}
    read_caller({"model": URL, "server": ["silence=60", 'headers={"X-Team": "a"}']})
    assert seen[1].server == {"silence": 60, "headers": {"X-Team": "a"}}
    read_caller({"model": "folder", "engine": {"enforce_eager": False}})
    assert seen[2].engine == {"enforce_eager": False}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mdl": "x"}, "mdl: metagen has no such setting: did you mean model"),
        ({"model": 7.5j}, "model must be a text, a list of texts or an object, not 7.5j"),
        ({"strategy": "Number()"}, "strategy='Number()' is a kind of answers: give it as answers"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"concurrency": 0}, "concurrency must be a whole number of 1 or more, not 0"),
        ({"strategy": "Vote("}, "cannot be read"),
        ({"model": {"a": None}}, "model: a must be a text, not None"),
        ({"model": URL, "server": {"insecure_key": "False"}}, "insecure_key=...: must be true or false, not 'False'"),
        ({"model": URL, "server": "insecure_key=False"}, "server insecure_key=False: write insecure_key=false"),
        ({"model": URL, "server": {"headers": {"X-Team": 7}}}, "headers=...: must be an object of texts, such as"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        read_caller({"model": "Scripted:7", **settings})
    assert said in str(error.value)


def test_a_request_sets_how_models_draw_where_the_strategy_leaves_it_open() -> None:
    vote = read_caller({"model": "Scripted:7", "strategy": "Vote(4)"})
    wanted = {"temperature": 0, "stop": ("\n",), "max_tokens": 9, "top_p": None}
    assert vote.default(wanted) == Model(stop=("\n",), max_tokens=9)  # four greedy samples are one
    assert vote.drawing(vote.default(wanted)) == Vote(4)
    single = read_caller({"model": "Scripted:7", "strategy": "Model()"})
    assert single.drawing(single.default(wanted)) == Model(temperature=0, stop=("\n",), max_tokens=9)
    own = read_caller({"model": "Scripted:7", "strategy": "Model(temperature=1)"})
    assert own.drawing(own.default(wanted)) == Model(temperature=1)
    with pytest.raises(InputError, match="max_tokens must be a whole number"):
        vote.default({"max_tokens": 1.5})


def test_a_pool_is_played_as_it_was_drawn(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text('{"problem": "1", "text": "7", "sampling": {}}\n')
    assert read_caller({"model": str(tmp_path / "pool.jsonl")}).default({"stop": ("\n",)}) == Model()


def test_text_ends_before_the_first_stop() -> None:
    assert until("a; b. c", (".", ";")) == "a"
    assert until("a", (".",)) == until("a", ()) == "a"


def test_a_pool_is_played_as_it_was_drawn_at_any_price(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text("")
    for price in ({}, {"price": "1/2"}):
        caller = read_caller({"model": str(tmp_path / "pool.jsonl"), "strategy": "Vote(4)", **price})
        assert caller.default({"max_tokens": 9}) == Model()
