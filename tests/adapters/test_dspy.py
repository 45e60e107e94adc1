"""DSPy's programs over strategies."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_server import reserved_port
from tests.support.harness import MODELS, SUMS

pytest.importorskip("dspy")
pytestmark = [pytest.mark.adapters, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def cache() -> None:
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)


def program(kind: str = "Predict") -> Any:
    import dspy

    return getattr(dspy, kind)("question -> answer: int")


def right(strategy: str, **settings: Any) -> float:
    import dspy

    from metagen.adapters.dspy import LM

    with dspy.context(lm=LM(model="fields", load=MODELS, strategy=strategy, **settings)):
        answers = [program()(question=row["question"]).answer for row in SUMS]
    return sum(str(answer) == row["answer"] for answer, row in zip(answers, SUMS, strict=True)) / len(SUMS)


def test_samples_vote_over_the_fields_of_a_program() -> None:
    single, vote = right("Model()"), right("Vote(5)")
    assert single == sum(at % 5 >= (3 if at % 2 else 2) for at in range(40)) / 40
    assert vote == sum(at % 2 == 0 for at in range(40)) / 40  # three of five samples are right


def test_programs_that_await_and_reason() -> None:
    import dspy

    from metagen.adapters.dspy import LM

    lm = LM(model="fields", load=MODELS, strategy="Vote(5)")

    async def ask() -> Any:
        return await program("ChainOfThought").acall(question="What is 2 + 2 ?")

    with dspy.context(lm=lm, track_usage=True):
        found = asyncio.run(ask())
    assert (found.answer, found.reasoning) == (4, "It is odd.")
    assert found.get_lm_usage()[lm.model]["completion_tokens"] > 0


def test_a_request_without_an_answer_and_what_cannot_be_are_errors() -> None:
    import dspy
    from dspy import lm15

    from metagen.adapters.dspy import LM, Engine

    lm = LM(model="broken", load=MODELS, strategy="Model()")
    with dspy.context(lm=lm), pytest.raises(Exception, match="no luck"):
        dspy.Predict("question -> answer")(question="3 + 3")
    engine = Engine(model="Scripted:7", strategy="Model()")
    with pytest.raises(lm15.UnsupportedFeatureError, match="logprobs: strategies do not pass it on"):
        engine.complete(lm15.Request("x", (lm15.Message.user("?"),), config=lm15.Config(logprobs=2)))
    engine.close()


def test_models_that_do_not_open_are_the_same_error_each_time() -> None:
    import dspy

    from metagen.adapters.dspy import LM

    with reserved_port() as port, dspy.context(lm=LM(model=f"http://127.0.0.1:{port}/v1")):
        for _ in range(2):
            with pytest.raises(Exception, match="cannot connect to"):
                program()(question="1 + 1?")


def test_a_seed_draws_the_same_samples_in_any_order_and_a_request_may_have_its_own() -> None:
    from dspy import lm15

    from metagen.adapters.dspy import Engine

    def said(*questions: str, seed: int | None = None) -> list[str]:
        engine = Engine(model="seeded", load=MODELS, strategy="Model()", seed=1)
        config = lm15.Config(seed=seed)
        requests = [lm15.Request("x", (lm15.Message.user(each),), config=config) for each in questions]
        replies = [engine.complete(request).message.parts[0].text for request in requests]
        engine.close()
        return replies

    first, second, again = said("one", "two", "one")
    assert said("two", "one") == [second, first]
    assert again != first
    assert said("one", seed=5) == said("one", seed=5) != [first]


def test_a_program_is_saved_with_its_strategy(tmp_path: Path) -> None:
    from metagen.adapters.dspy import LM

    made = program()
    made.lm = LM(model="fields", load=MODELS, strategy="Vote(5)")
    made.save(tmp_path / "program.json")
    again = program()
    again.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert again(question="What is 2 + 2 ?").answer == 4


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("[[ ## reasoning ## ]]\nHm.\n\n[[ ## answer ## ]]\n 7\n\n[[ ## completed ## ]]\n", '{"answer": "7"}'),
        ('{"reasoning": "Hm.", "answer": 7}', '{"answer": 7}'),
        ('```json\n{"reasoning": "Hm.", "answer": 7}\n```', '{"answer": 7}'),
        ('Here it is: {"reasoning": "Hm.", "answer": {"n": 7}} I hope.', '{"answer": {"n": 7}}'),
        ("Seven ", '{"text": "Seven"}'),
        ("[[ ## reasoning ## ]]\nHm.", None),
        ("", None),
    ],
)
def test_fields_are_answers_and_reasoning_is_none(text: str, answer: str | None) -> None:
    from metagen.adapters.dspy.sections import Sections

    assert Sections().extract(text) == answer
    assert Sections().key('{"answer":  "A b"}') == Sections().key('{"answer": "a  B"}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[[ ## answer ## ]]\nLa  Paz", "[[ ## answer ## ]]\nla\npaz"),
        ("[[ ## answer ## ]]\nÉCOLE", "[[ ## answer ## ]]\nécole"),
        ('{"answer": "A  b", "names": [" C"]}', '{"names": ["c"], "answer": "a\\nB"}'),
        ("École  libre", "école\nLibre"),
    ],
)
def test_neither_blanks_nor_cases_split_votes(one: str, other: str) -> None:
    from metagen.adapters.dspy.sections import Sections

    answers = [Sections().extract(text) for text in (one, other)]
    assert Sections().key(answers[0] or "") == Sections().key(answers[1] or "")


BUSY = """
import asyncio
from metagen import Scripted

inside, most = 0, 0

async def count(request):
    global inside, most
    inside += 1
    most = max(most, inside)
    for _ in range(100):
        await asyncio.sleep(0)
    inside -= 1
    return f"The answer is {most}."

def busy():
    return Scripted(count)
"""


def test_no_more_requests_are_answered_at_once_than_concurrency_says(tmp_path: Path) -> None:
    from dspy import lm15

    from metagen.adapters.dspy import Engine

    (tmp_path / "busy.py").write_text(BUSY)
    engine = Engine(model="busy", load=str(tmp_path / "busy.py"), strategy="Model()", concurrency=1)

    def ask(number: int) -> Any:
        return engine.complete(lm15.Request("x", (lm15.Message.user(f"{number}?"),), config=lm15.Config()))

    with ThreadPoolExecutor(4) as threads:
        said = {reply.message.parts[0].text for reply in threads.map(ask, range(8))}
    assert said == {"The answer is 1."}
    engine.close()
