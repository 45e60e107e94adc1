import pytest

from metagen import (
    Fuse,
    GenerationError,
    InputError,
    Model,
    Panel,
    Problem,
    Request,
    Scripted,
    Select,
    parse,
    parse_answers,
    solve,
)
from metagen.prompts import fuse, select, selected

SPECS = [
    "Select(3)",
    'Select(2, by=Model(temperature=0), wish="best")',
    "Fuse(2)",
    "Fuse((3, 2))",
]
WRAPPERS = ["Select(2, of={})", "Fuse(1, of={})"]
REPLIES = ("red car", "blue boat", "red cars")


def scripted(reply: str, *, lost: bool = False) -> Scripted:
    def script(request: Request) -> str:
        if "Response 1:" in request.prompt:
            if lost:
                raise GenerationError("too long")
            return reply
        return REPLIES[request.draw % 3]

    return Scripted(script)


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("The selected response is 2.", 1),
        ("Response 1 and response 3 agree. The selected response is 3.", 2),
        ("**Response 2**", 1),
        ("The most consistent response is Response 2", 1),
        ("2", 1),
        ("I choose #3.", 2),
        ("Answer: 1", 0),
        ("1 or 2", None),
        ("The selected response is 9.", None),
        ("Response 1 is close. The selected response is 9.", None),
        ("The selected response is 1, since response 3 is wrong.", 0),
        ("**The selected response is 2**, whose answer is 3.", 1),
        ("Selected response: 1. No, the selected response is number 3, not response 2.", 2),
        ("None of them.", None),
        ("", None),
    ],
)
def test_a_selection_is_read(reply: str, number: int | None) -> None:
    assert selected(reply, 3) == number


def test_prompts_show_all_responses_as_quotations() -> None:
    shown = select("What?", ["one", "Response 9:\ntwo"], "best")
    assert "Response 1:\n> one\n\nResponse 2:\n> Response 9:\n> two\n\nWhich response is the best?" in shown
    assert shown.endswith("End with: The selected response is N. N is a number from 1 to 2.")
    assert fuse("What?", ["one"], "End with: X.").endswith("better than each of them. End with: X.")


async def test_what_is_selected_is_returned() -> None:
    solution = await solve("?", Select(3), scripted("The selected response is 2."))
    assert (solution.text, solution.compared) == ("blue boat", 3)


async def test_equal_texts_are_shown_once_in_the_order_in_which_they_were_drawn() -> None:
    replies = ["The answer is 7.", "The answer is 8.", "The answer is 7."]
    asked: list[str] = []

    def script(request: Request) -> str:
        if "Response 1" not in request.prompt:
            return replies[request.draw]
        asked.append(request.prompt)
        return "The selected response is 2."

    solution = await solve("?", Select(3), Scripted(script))
    assert solution.answer == "8"
    assert asked[0].index("The answer is 7.") < asked[0].index("The answer is 8.")
    assert asked[0].count("The answer is 7.") == 1


async def test_equal_texts_need_no_selection() -> None:
    solution = await solve("?", Select(3), Scripted("red car"))
    assert (solution.text, solution.usage.calls) == ("red car", 1)


@pytest.mark.parametrize("lost", [False, True])
async def test_without_a_selection_the_majority_decides(lost: bool) -> None:
    def script(request: Request) -> str:
        if "Response 1:" in request.prompt:
            if lost:
                raise GenerationError("too long")
            return "Hard to say."
        return f"{request.draw}: The answer is {(8, 7, 7)[request.draw]}."

    solution = await solve("?", Select(3), Scripted(script))
    assert solution.answer == "7"
    assert solution.notes[0].startswith("the reply that selects " + ("is lost" if lost else "names none"))


async def test_a_fused_reply_is_a_new_one_in_the_form_of_the_task() -> None:
    asked = []

    def script(request: Request) -> str:
        asked.append(request.prompt)
        return "a red car on a boat" if "Response 1:" in request.prompt else REPLIES[request.draw % 3]

    problem = Problem("1", "What is it?", answers=parse_answers("Text()"))
    assert (await solve(problem, Fuse(3), Scripted(script))).text == "a red car on a boat"
    assert asked[-1].endswith("End with: The answer is X.")
    assert "Response 3:\n> red cars" in asked[-1]


async def test_several_agents_and_layers() -> None:
    asked = []

    def model(name: str) -> Scripted:
        def script(request: Request) -> str:
            asked.append((name, request.prompt.count("Response ")))
            return f"{name} {request.draw}"

        return Scripted(script, name=name)

    models = {"a": model("a"), "b": model("b")}
    strategy = Fuse((4, 2), of=Panel((Model("a"), Model("b"))), by=Model("b"))
    await solve("?", strategy, models)
    assert sorted(asked[:4]) == [("a", 0), ("a", 0), ("b", 0), ("b", 0)]
    assert sorted(asked[4:6]) == [("a", 4), ("b", 4)]
    assert asked[6:] == [("b", 2)]


async def test_a_lost_round_leaves_the_round_before() -> None:
    def script(request: Request) -> str:
        if "Response 1:" in request.prompt and request.draw < 3:
            raise GenerationError("too long")
        return "fused" if "Response 1:" in request.prompt else REPLIES[request.draw]

    solution = await solve("?", Fuse((2, 3)), Scripted(script))
    assert solution.text == "fused"
    assert "a round of 3 samples is lost" in solution.notes[0]


async def test_a_lost_fusion_leaves_the_majority() -> None:
    solution = await solve("?", Fuse(3), scripted("", lost=True))
    assert solution.text == "red car"
    assert solution.notes[0].startswith("the reply that fuses is lost (too long)")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Select(0)", "n must be"),
        ('Select(2, wish="longest")', "wish must be consistent or best"),
        ("Select(2, by=3)", "by=3 is not a strategy"),
        ("Fuse(())", "n must be"),
        ("Fuse((2, 0))", "n must be"),
        ("Fuse(2, of=3)", "of=3 is not a strategy"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)
