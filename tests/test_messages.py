from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import InputError, Problem
from metagen.messages import Message, asking, merged, plain, read_messages, with_system

SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"}]
QUESTION = {"role": "user", "content": "3 + 4?"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
}
SAID = {"role": "tool", "tool_call_id": "1", "content": "7"}


def test_the_question_is_the_last_turn_of_the_user() -> None:
    problem = Problem("p", messages=[SYSTEM, *EARLIER, QUESTION])
    assert problem.prompt == problem.text == "3 + 4?"
    assert [turn.fields() for turn in problem.before] == [SYSTEM, *EARLIER]
    assert problem.after == ()


def test_calls_of_tools_come_after_the_question() -> None:
    problem = Problem("p", messages=[QUESTION, CALL, SAID])
    assert problem.before == ()
    assert [turn.fields() for turn in problem.after] == [CALL | {"content": ""}, SAID]


def test_what_is_asked_instead_keeps_the_conversation() -> None:
    problem = Problem("p", messages=[SYSTEM, QUESTION])
    asked = problem.asking("Think: 3 + 4?")
    assert (asked.prompt, asked.text, asked.before) == ("3 + 4?", "Think: 3 + 4?", problem.before)
    judged = problem.apart("Is it right?")
    assert (judged.prompt, judged.before, judged.answer) == ("Is it right?", problem.before, None)
    assert Problem("p", "3 + 4?").apart("x") == Problem("p", messages=[{"role": "user", "content": "x"}])


def test_parts_of_text_are_joined_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
    turns = read_messages([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}], "x")
    assert turns == (Message("system", "Be brief."), Message("user", "a\nb"))


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ("text", "must be a list of turns"),
        ([], "there is no turn of the user's"),
        ([SYSTEM], "there is no turn of the user's"),
        ([*EARLIER], "the last turn is the assistant's, and nothing is asked after it"),
        (["x"], "turn 1 must be an object with role and content, not 'x'"),
        ([{"content": "x"}], "turn 1: role must be system, user, assistant, tool, not None"),
        ([QUESTION, {"role": "function", "content": "x"}], "turn 2: role must be"),
        ([{"role": "user"}], "turn 1: content must be a text, not None"),
        ([{"role": "user", "content": 7}], "turn 1: content must be a text, not 7"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "a part of the type 'image_url'"),
        ([{"role": "user", "content": ["x"]}], "a part of the type 'str'"),
        ([{"role": "user", "content": "x", "name": object()}], "is not JSON serializable"),
        ([{"role": ["user"], "content": "x"}], "role must be"),
    ],
)
def test_what_is_no_conversation_is_one_line(messages: Any, said: str) -> None:
    with pytest.raises(InputError, match=r"^x") as raised:
        read_messages(messages, "x")
    assert said in str(raised.value)


def test_a_prompt_beside_messages_must_be_the_question() -> None:
    assert Problem("p", "3 + 4?", messages=[QUESTION]).prompt == "3 + 4?"
    with pytest.raises(InputError, match=r"^problem 'p': messages: the last turn of the user's is the prompt"):
        Problem("p", "other", messages=[QUESTION])


def test_a_second_system_turn_is_refused() -> None:
    turns = read_messages([QUESTION], "x")
    assert with_system(turns, "Be brief.", "x") == (Message("system", "Be brief."), *turns)
    with pytest.raises(InputError, match=r"^line 3: has a system turn already"):
        with_system(read_messages([SYSTEM, QUESTION], "x"), "y", "line 3")


def test_a_system_turn_is_merged_into_the_first_question() -> None:
    turns = merged(read_messages([SYSTEM, *EARLIER, QUESTION], "x"))
    assert [turn.content for turn in turns] == ["Be brief.\n\nHello.", "Yes?", "3 + 4?"]
    assert plain(turns) == "Be brief.\n\nHello.\n\nYes?\n\n3 + 4?"


texts = st.text(max_size=20)
turn = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)


@given(st.lists(turn, max_size=5), texts, texts)
def test_another_question_changes_nothing_else(before: list[Message], question: str, other: str) -> None:
    turns = (*before, Message("user", question))
    assert asking(turns, other) == (*before, Message("user", other))
    assert not any(turn.role == "system" for turn in merged(turns))
    assert all(turn.content in plain(merged(turns)) for turn in turns)
