"""Retrieval and the chains that search, over real questions: HotpotQA's, with all their passages."""

from statistics import fmean

import pytest

from metagen import DSP, Request, Scripted, Search, SelfAsk, bootstrap, solve
from tests.support import hotpot
from tests.support.hotpot import Question

if not hotpot.FILE.exists():
    pytest.skip("the questions are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return [question for question in hotpot.read()[0] if question.kind == "bridge"]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Search:
    folder = tmp_path_factory.mktemp("hotpot")
    hotpot.write_corpus(hotpot.read()[1], folder / "passages.jsonl")
    return Search(str(folder / "passages.jsonl"), cache=str(folder), k=5)


def test_a_second_hop_finds_more(questions: list[Question], search: Search) -> None:
    assert len(search.index().passages) == 1000
    recalls = [hotpot.recall(question, search.index()) for question in questions]
    one, second = fmean(each.one_hop for each in recalls), fmean(each.second_hop for each in recalls)
    assert len(recalls) == 85
    assert (round(one, 3), round(second, 3)) == (0.753, 0.818)
    assert fmean(each.other_by_second for each in recalls) > fmean(each.other_by_one for each in recalls) + 0.05


def reader(question: Question) -> Scripted:
    """A model that follows each format: it asks the question, then for the passages that are still missing."""

    def script(request: Request) -> str:
        missing = [title for title in question.gold if f"> [{title}]" not in request.prompt]
        query = (missing or [question.problem.prompt])[0]
        if request.prompt.endswith("Search:"):
            return f"{query}\n"
        if request.prompt.endswith("Answer:"):
            return f"The answer is {'unknown' if missing else question.problem.answer}."
        return f"Follow up: {query}" if missing else f"So the final answer is: {question.problem.answer}"

    return Scripted(script, context=100_000)


@pytest.mark.parametrize("name", ["SelfAsk", "DSP"])
async def test_a_model_that_follows_the_format_finds_the_passages_and_answers(
    name: str, questions: list[Question], search: Search
) -> None:
    chosen = [question for question in questions if len(question.problem.answer or "") < 30][:10]
    strategy = SelfAsk(search) if name == "SelfAsk" else DSP(search)
    solutions = [await solve(question.problem, strategy, reader(question)) for question in chosen]
    right = sum(bool(solution.correct) for solution in solutions)
    assert right >= 9, [solution.text for solution in solutions]
    calls = [span for solution in solutions for span in solution.trace.walk() if span.name == "Search"]
    assert len(calls) >= (20 if name == "DSP" else 10)


async def test_demonstrations_come_out_of_the_corpus(questions: list[Question], search: Search) -> None:
    question = questions[1]
    program = await bootstrap(DSP(search), [question.problem], reader(question))
    ((asked, hops, reply),) = program.shots
    assert (asked, len(hops)) == (question.problem.prompt, 2)
    assert all(f"[{title}]" in "".join(found for _, found in hops) for title in question.gold)
    assert str(question.problem.answer) in reply
