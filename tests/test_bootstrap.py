import pytest

from metagen import DSP, InputError, Problem, Request, Scripted, SelfAsk, bootstrap, parse, solve
from tests.support.scripts import Counting

PROBLEMS = [
    Problem("a", "Where was Ada born?", "London"),
    Problem("b", "Where was Bob born?", "Paris"),
    Problem("c", "Where was Cid born?", "Rome"),
]


async def search(text: str) -> str:
    return f"[Births] {text} was London or Rome."


def reader(request: Request) -> str:
    """Writes queries that name the question, and always answers London, but Rome for Cid."""
    asked = request.prompt.rpartition("Question: ")[2]
    if request.prompt.endswith("Search:"):
        return f"birthplace {asked.split()[2]}\n"
    return f"It says so. The answer is {'Rome' if 'Cid' in asked else 'London'}."


async def test_the_traces_that_are_right_become_demonstrations() -> None:
    program = await bootstrap(DSP(search, hops=1), PROBLEMS, Scripted(reader))
    assert program.shots == (
        (
            "Where was Ada born?",
            (("birthplace Ada", "[Births] birthplace Ada was London or Rome."),),
            "It says so. The answer is London.",
        ),
        (
            "Where was Cid born?",
            (("birthplace Cid", "[Births] birthplace Cid was London or Rome."),),
            "It says so. The answer is Rome.",
        ),
    )
    assert parse(repr(program), {"search": search}) == program, "what was bootstrapped is a spec"


async def test_demonstrations_are_shown_before_each_question() -> None:
    program = await bootstrap(DSP(search, hops=1), PROBLEMS, Scripted(reader), limit=1)
    backend = Counting(reader)
    await solve("Where was Dan born?", program, backend)
    seen = [request.prompt for request in backend.requests]
    assert [prompt.count("Ada born?") for prompt in seen] == [1, 1]
    assert "Search: birthplace Ada\n\nQuestion: Where was Dan" in seen[0]
    assert "Answer: It says so. The answer is London.\n\nQuestion: Where was Dan" in seen[1]


async def test_what_was_wrong_is_tried_again_with_another_seed() -> None:
    def fickle(request: Request) -> str:
        if request.prompt.endswith("Search:"):
            return "q\n"
        seeds.add(request.seed)
        return f"The answer is {'London' if len(seeds) == 1 else 'Paris'}."

    seeds: set[int | None] = set()
    program = await bootstrap(DSP(search, hops=1), PROBLEMS[1:2], Scripted(fickle), seed=3, tries=4)
    assert len(program.shots) == 1
    assert len(seeds) == 2, "and not after it was right"


async def test_where_nothing_is_right_there_are_no_demonstrations() -> None:
    assert (await bootstrap(DSP(search), PROBLEMS, Scripted("The answer is no."), tries=2)).shots == ()


async def test_training_problems_need_answers() -> None:
    with pytest.raises(InputError, match="problem 'x' has no reference answer"):
        await bootstrap(DSP(search), [Problem("x", "?")], Scripted(""))
    with pytest.raises(InputError, match="problem '1' has no reference answer"):
        await bootstrap(DSP(search), ["Where was Ada born?"], Scripted(""))
    with pytest.raises(
        InputError, match=r"^bootstrap: makes the demonstrations of a DSP\(...\), not of SelfAsk\(search\)"
    ):
        await bootstrap(SelfAsk(search), PROBLEMS, Scripted(""))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="DSP: limit must be a whole number"):
        await bootstrap(DSP(search), PROBLEMS, Scripted(""), limit=0)
