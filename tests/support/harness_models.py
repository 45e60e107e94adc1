"""Models for the harnesses of others, in the form of a file for `--load`."""

from collections import Counter
from dataclasses import replace

from metagen import GenerationError, Request, Scripted


def odd(request: Request) -> str:
    """Adds two numbers up, often wrongly."""
    first, second = [int(word) for word in request.prompt.split() if word.isdecimal()][-2:]
    wrong = (first + request.draw) % 5 < (3 if first % 2 else 2)
    return f"We add.\nThe answer is {first + second + wrong}."


def muse(request: Request) -> str:
    """The same after a thought in which a question is asked."""
    return odd(request) if request.thought else f"<think>Question: is it odd?</think>{odd(request)}"


def talk(request: Request) -> str:
    """The same without a thought, and then goes on with another question."""
    return f"{odd(request)}\n\nQuestion: What is 1 + 1 ?\nThe answer is 0."


def pick(request: Request) -> str:
    """Chooses a letter by the last number of the question, sometimes the next one."""
    number = [int(word) for word in request.prompt.split() if word.isdecimal()][-1]
    return f"The answer is {'ABCD'[(number + ((number + request.draw) % 3 == 0 or number % 5 == 0)) % 4]}."


def fail(request: Request) -> str:
    """Has no answer to one question."""
    if "3 + 3" in request.prompt:
        raise GenerationError("no luck")
    return odd(request)


def unlucky() -> Scripted:
    """Fails at the second problem that it is asked, and at the question of `broken`."""
    asked = Counter[str]()

    def reply(request: Request) -> str:
        asked[request.problem] += 1
        if len(asked) == 2:
            raise GenerationError("no luck")
        return fail(request)

    return Scripted(reply)


def adder() -> Scripted:
    return Scripted(odd, name="adder")


def thinker() -> Scripted:
    return Scripted(muse, thinking="think")


def unknown_thinker() -> Scripted:
    return Scripted(muse)


def talker() -> Scripted:
    return Scripted(talk)


def chooser() -> Scripted:
    return Scripted(pick)


def broken() -> Scripted:
    return Scripted(fail)


def inspected() -> Scripted:
    """The chooser, which writes as Inspect reads it."""
    return Scripted(lambda request: pick(request).replace("The answer is ", "ANSWER: ").rstrip("."))


def grader() -> Scripted:
    return Scripted("It is as it should be.\n\nGRADE: C")


def seeded() -> Scripted:
    return Scripted(lambda request: f"The seed is {request.seed}.")


def counter() -> Scripted:
    """The adder, for one who asks for a single sample each time: it counts how often it was asked the same."""
    asked = Counter[str]()

    def reply(request: Request) -> str:
        asked[request.prompt] += 1
        return odd(replace(request, draw=asked[request.prompt] - 1))

    return Scripted(reply)


def caller() -> Scripted:
    """Calls a tool, and then says what it said."""

    def reply(request: Request) -> str:
        if request.after:
            return request.after[-1].content
        return '<tool_call>{"name": "weather", "arguments": {"city": "Bern"}}</tool_call>'

    return Scripted(reply)


def fields() -> Scripted:
    """The adder, which fills in the fields of a DSPy program."""

    def reply(request: Request) -> str:
        before, after = request.prompt.split(" + ")
        first, second = int(before.split()[-1]), int(after.split()[0])
        wrong = (first + request.draw) % 5 < (3 if first % 2 else 2)
        thought = "[[ ## reasoning ## ]]\nIt is odd.\n\n" if "reasoning" in request.prompt else ""
        return f"{thought}[[ ## answer ## ]]\n{first + second + wrong}\n\n[[ ## completed ## ]]"

    return Scripted(reply)
