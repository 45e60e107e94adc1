from hypothesis import given
from hypothesis import strategies as st

from metagen import OpenAIServer, Request
from metagen.backends.http.openai import (
    ENDED,
    Choice,
    Function,
    Logprobs,
    Message,
    ToolCall,
    completion,
    reply_of,
)

texts = st.text("ab</think> \n") | st.sampled_from(["<think>a</think>b", "a</think>b", " <think>a"])
calls = st.lists(st.builds(ToolCall, function=st.builds(Function, name=texts, arguments=st.just("{}"))), max_size=2)
messages = st.builds(
    Message,
    content=st.none() | texts,
    tool_calls=st.none() | calls,
    reasoning=st.none() | texts,
    reasoning_content=st.none() | texts,
)
choices = st.builds(
    Choice,
    text=st.none() | texts,
    message=st.none() | messages,
    delta=st.none() | messages,
    logprobs=st.none() | st.just(Logprobs(token_logprobs=[-1.0])),
    finish_reason=st.sampled_from([*ENDED, "LENGTH", None]),
    stop_reason=st.none() | st.just(7) | texts,
    matched_stop=st.none() | texts,
    token_ids=st.none() | st.just(()) | st.just((1, 2)),
    reasoned=st.just("") | texts,
    called=st.just(()) | calls.map(tuple),
)


@given(choices)
def test_a_plain_sample_is_understood_as_any_other(choice: Choice) -> None:
    words = OpenAIServer("http://localhost:8000/v1", "mock")._words
    understood = words.understood(choice, Request("1", "?"), opened=False)
    assert understood == completion(choice, reply_of(choice, None), None)
