"""Thoughts that are ended, gone on with, and given up, over a model that thinks letter by letter."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from metagen import (
    Candidate,
    Completion,
    CoT,
    DeepConf,
    EarlyExit,
    Fallback,
    InputError,
    LowestGroupConfidence,
    MeanLogprob,
    Model,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    SelfCertainty,
    Shortest,
    Solution,
    Think,
    UnfitRequest,
    Vote,
    Within,
    parse,
    solve,
)
from metagen.run import Generator
from metagen.settings import literal
from tests.support.scripts import Patient, forgets

SPECS = ["Think(40, waits=2)", "EarlyExit(16, tokens=64)", "Shortest(2, n=3, every=16)"]

PROBLEM = Problem("p", "What is 3 + 4?", "7")


class Thinker(Scripted):
    """Thinks so many letters: `a`, and after each Wait the next letter. It answers with the last letter it thought.

    The probability of what it says is the share of its thought that it has written.
    """

    def __init__(self, *lengths: int) -> None:
        super().__init__(self._go_on, thinking="qwen3")
        self.lengths = lengths or (30,)
        self.requests: list[Request] = []
        self.drawn = 0

    def _go_on(self, request: Request) -> str:
        self.requests.append(request)
        written = "".join(map(chr, request.tokens))
        if not written:
            self.drawn += 1
            return self._thought("a", self.lengths[(self.drawn - 1) % len(self.lengths)])
        if request.open:
            *_, last = re.split(r"Wait|<think>\n", written)
            letter = chr(ord("a") + written.count("Wait"))
            return self._thought(letter, self.lengths[0] - len(last), begun=True)
        thought = re.findall(r"[a-z](?=[^a-z]*</think>)", written)[-1]
        said = written.rpartition("</think>")[2].strip()
        return f"The answer is {thought}."[len(said) :]

    def _thought(self, letter: str, length: int, *, begun: bool = False) -> str:
        return f"{'' if begun else '<think>' + chr(10)}{letter * max(length, 0)}\n</think>\n\nThe answer is {letter}."


async def solved(strategy: Generator, backend: Scripted) -> Solution:
    return await solve(Problem("p", "?"), strategy, backend, seed=1)


async def test_a_thought_that_fits_is_left_alone() -> None:
    backend = Thinker(20)
    solution = await solved(Think(100), backend)
    assert (solution.text, solution.notes) == ("The answer is a.", ())


async def test_a_thought_that_is_too_long_is_ended_and_answered() -> None:
    backend = Thinker(500)
    solution = await solved(Think(50), backend)
    assert solution.text == "The answer is a."
    assert solution.notes == ("the thought was ended after 50 tokens",)
    first, second = backend.requests
    assert first.sampling.max_tokens == 50
    assert "".join(map(chr, second.tokens)).endswith("aaa\n</think>\n\nThe answer is")


@pytest.mark.parametrize(("waits", "answer"), [(0, "a"), (1, "b"), (2, "c"), (4, "e")])
async def test_the_end_of_a_thought_is_replaced_by_a_word(waits: int, answer: str) -> None:
    backend = Thinker(10)
    solution = await solved(Think(1000, waits=waits), backend)
    assert solution.text == f"The answer is {answer}."
    assert "".join(map(chr, backend.requests[-1].tokens)).count("Wait") == waits


async def test_waiting_ends_with_the_tokens() -> None:
    solution = await solved(Think(40, waits=9), Thinker(10))
    assert solution.notes[0].startswith("the thought was ended after ")
    assert solution.usage.thought_tokens <= 60


async def test_a_model_that_does_not_think_is_taken_as_it_comes() -> None:
    for strategy in (Think(10), EarlyExit(10), Shortest(1, n=2, every=10)):
        solution = await solve(PROBLEM, strategy, Scripted(lambda each: "The answer is 7."[len(each.partial) :]))
        assert solution.text == "The answer is 7."


async def test_a_thought_ends_when_probes_agree() -> None:
    backend = Thinker(500)
    solution = await solved(EarlyExit(20, agree=3), backend)
    assert solution.text == "The answer is a."
    assert solution.notes == ("sure after 60 tokens of thought",)
    probes = [request for request in backend.requests if not request.open and request.tokens]
    assert len(probes) == 3


async def test_a_thought_that_ends_before_it_is_sure_is_answered() -> None:
    solution = await solved(EarlyExit(20, agree=9), Thinker(50))
    assert (solution.text, solution.notes) == ("The answer is a.", ())


async def test_a_probe_without_a_verdict_ends_no_thought() -> None:
    async def fails(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        raise KeyError("x")

    solution = await solved(EarlyExit(20, by=fails), Thinker(50))
    assert solution.text == "The answer is a."
    assert solution.notes
    assert all(note.startswith("no verdict on a probe: fails raised KeyError: 'x'") for note in solution.notes)


async def test_the_context_ends_a_thought_that_says_nothing() -> None:
    solution = await solved(
        EarlyExit(8, agree=99), Patient(lambda request: "<think>" + "\n" * 9, context=100, thinking="qwen3")
    )
    assert (solution.answer, solution.error) == (None, "")


async def test_a_thought_ends_at_its_limit() -> None:
    solution = await solved(EarlyExit(20, agree=99, tokens=60), Thinker(500))
    assert (solution.text, solution.usage.thought_tokens) == ("The answer is a.", 60)


async def test_a_thought_has_no_more_tokens_than_its_limit() -> None:
    backend = Thinker(500)
    solution = await solved(EarlyExit(64, tokens=16), backend)
    assert backend.requests[0].sampling.max_tokens == 16
    assert (solution.text, solution.usage.thought_tokens) == ("The answer is a.", 16)
    solution = await solved(EarlyExit(20, agree=99, tokens=50), Thinker(500))
    assert (solution.text, solution.usage.thought_tokens) == ("The answer is a.", 50)


@pytest.mark.parametrize(("sure", "tokens"), [(-0.1, 20), (0.0, 20), (0.1, 500)])
async def test_a_thought_ends_when_the_answer_is_sure(sure: float, tokens: int) -> None:
    strategy = EarlyExit(20, by=MeanLogprob(), sure=sure, tokens=500, of=Model(logprobs=True))
    solution = await solved(strategy, Thinker(1000))
    assert solution.usage.thought_tokens == tokens


async def test_of_a_probe_only_the_tokens_that_the_model_drew_say_whether_it_is_sure() -> None:
    def script(request: Request) -> Completion:
        text = " 7." if not request.open and request.tokens else "<think>\n" * (not request.tokens) + "a" * 500
        return Completion(text, logprobs=(-0.5,) * len(text), length=len(text))

    seen: list[float] = []

    async def watched(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        scores = await run.score(MeanLogprob(), problem, candidates)
        seen.extend(score.value for score in scores if score)
        return scores

    strategy = EarlyExit(20, by=watched, tokens=40, of=Model(logprobs=True))
    await solved(strategy, Scripted(script, thinking="qwen3"))
    assert seen == [-0.5]


async def test_a_mark_that_is_forced_makes_no_passage_less_sure() -> None:
    seen: list[Score | None] = []

    async def judged(problem: Problem, run: Run) -> Candidate:
        candidate = await run.ask(Model(thinking=12, top_logprobs=2), problem)
        assert len(candidate.tokens) == len(candidate.confidences) == len(candidate.logprobs)
        for by in (LowestGroupConfidence(8), SelfCertainty(), MeanLogprob()):
            seen.extend(await run.score(by, problem, [candidate]))
        return candidate

    await solved(judged, Thinker(200))
    assert [score and score.value for score in seen] == [1.0, 1.0, 0.0]


async def test_the_first_by_tokens_vote_and_the_others_are_given_up() -> None:
    backend = Thinker(25, 400, 15, 300)
    solution = await solved(Shortest(2, n=4, every=50), backend)
    assert solution.notes == ("given up: 2 of 4 samples",)
    assert solution.compared == 2
    assert solution.usage.thought_tokens <= 25 + 15 + 2 * 100 + 4 * len("<think>\n\n")


async def test_a_tie_goes_to_the_shorter() -> None:
    replies = iter(["<think>\nlonger\n</think>\n\nThe answer is 5.", "<think>\nlong\n</think>\n\nThe answer is 6."])
    whole: dict[int, str] = {}

    def script(request: Request) -> str:
        if not request.tokens:
            whole[request.draw] = next(replies)
            return whole[request.draw]
        written = "".join(map(chr, request.tokens))
        return next(each.removeprefix(written) for each in whole.values() if each.startswith(written))

    assert (await solved(Shortest(2, n=2), Scripted(script, thinking="qwen3"))).answer == "6"


async def test_a_sample_that_was_cut_is_not_done_before_one_that_is_finished() -> None:
    async def cut_or_not(problem: Problem, run: Run) -> Candidate:
        if problem.partial:
            return Candidate((*problem.partial.steps, " is 7."), tokens=(1, 2))
        drawn = await run.ask(None, problem)
        if drawn.text == "Cut":
            return Candidate(("Cut",), finished=False, cut=True, tokens=(1,))
        return Candidate(("The answer",), finished=False, tokens=(1,))

    replies = ("Cut", "The answer")
    solution = await solved(Shortest(1, n=2, of=cut_or_not), Scripted(lambda request: replies[request.draw]))
    assert (solution.text, solution.notes) == ("The answer is 7.", ())
    solution = await solved(Shortest(2, n=2, of=cut_or_not), Scripted(lambda request: replies[request.draw]))
    assert (solution.answer, solution.compared) == ("7", 2)


@pytest.mark.parametrize("reply", ["{} is what I say first", "What I say first"])
async def test_a_sample_that_is_not_continued_is_cut(reply: str) -> None:
    backend = Patient(lambda request: reply.format(request.seed))
    solution = await solved(Shortest(1, n=2, every=4, of=forgets), backend)
    assert solution.candidate is not None
    assert (solution.candidate.cut, backend.asked) == (True, 4)


async def test_a_sample_that_is_begun_anew_and_finished_is_whole() -> None:
    backend = Patient(lambda request: "It may be 8." * 2 if backend.asked <= 2 else "The answer is 7.")
    solution = await solved(Shortest(1, n=2, every=17, of=forgets), backend)
    assert solution.candidate is not None
    assert (solution.text, solution.candidate.cut, backend.asked) == ("The answer is 7.", False, 4)


@pytest.mark.parametrize("context", range(30, 50))
async def test_the_context_cuts_a_sample_wherever_a_part_ends(context: int) -> None:
    reply = "The answer is 7. " + "And so on. " * 20
    backend = Scripted(lambda request: reply[len(request.partial) :], context=context)
    solution = await solved(Shortest(1, n=2, every=4), backend)
    assert (solution.answer, solution.error) == ("7", "")


@pytest.mark.parametrize("tokens", range(42, 80))
async def test_a_budget_cuts_samples_wherever_a_part_ends(tokens: int) -> None:
    reply = "The answer is 7. " + "And so on. " * 20
    strategy = Within(tokens=tokens, of=Shortest(1, n=2, every=8))
    solution = await solved(strategy, Scripted(lambda request: reply[len(request.partial) :]))
    assert solution.candidate is not None
    assert solution.candidate.cut
    assert solution.usage.tokens <= tokens


async def test_samples_for_which_there_was_no_room_at_all_are_lost() -> None:
    solution = await solved(Shortest(1, n=2, every=8), Scripted("The answer is 7.", context=1))
    assert "all 2 samples were lost" in solution.error


async def test_a_sample_that_a_stop_string_ended_is_as_long_as_it_is() -> None:
    replies = ("So, once more and again and again: the answer is 5. END", "The answer is 6.")
    for every in (8, 256):

        def script(request: Request) -> str:
            written = "".join(map(chr, request.tokens))
            return replies[request.draw] if not written else _rest(replies, written)

        strategy = Shortest(1, n=2, every=every, of=Model(stop=("END",)))
        assert (await solved(strategy, Scripted(script))).answer == "6"


def _rest(replies: Sequence[str], written: str) -> str:
    return next(each.removeprefix(written) for each in replies if each.startswith(written))


async def test_samples_are_given_up_inside_their_thoughts() -> None:
    backend = Thinker(200)
    strategy = DeepConf(4, by=LowestGroupConfidence(8), of=Model(top_logprobs=2), warmup=2, chunk=16)
    solution = await solved(strategy, backend)
    assert solution.text == "The answer is a."
    assert any(request.open and request.sampling.max_tokens == 16 for request in backend.requests)


@pytest.mark.parametrize(
    "spec",
    [
        'Think(512, waits=2, word="Hmm", hurry="So", of=Model(temperature=0.6))',
        "EarlyExit(64, by=MeanLogprob(), sure=-0.1, tokens=1024, short=8, of=Model(logprobs=True))",
        "Shortest(3, n=8, every=128)",
    ],
)
def test_the_repr_is_the_spec(spec: str) -> None:
    assert repr(parse(spec)) == spec


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Think(0), "Think: tokens must be a whole number"),
        (lambda: Think(9, waits=-1), "Think: waits must be a whole number of 0"),
        (lambda: Think(9, of=Vote(2)), "cannot step"),
        (lambda: Think(9, hurry=5), "Think: hurry must be a text, not 5"),  # type: ignore[arg-type]
        (lambda: Think(9, word=None), "Think: word must be a text, not None"),  # type: ignore[arg-type]
        (lambda: EarlyExit(9, hurry=b"So"), "EarlyExit: hurry must be a text"),  # type: ignore[arg-type]
        (lambda: EarlyExit(0), "EarlyExit: every must be a whole number"),
        (lambda: EarlyExit(9, sure=float("nan")), "EarlyExit: sure must be a number"),
        (lambda: Shortest(3, n=2), "Shortest: k must be at most n, the number of samples, not 3 of 2"),
    ],
)
def test_nonsense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


async def test_a_thought_that_the_model_broke_off_is_not_said_to_be_ended() -> None:
    solution = await solved(Think(100), Scripted("<think>\nno end", thinking="think"))
    assert (solution.text, solution.notes) == ("", ())


async def test_a_function_that_joins_the_pieces_of_the_reply_continues_it() -> None:
    async def joining(problem: Problem, run: Run) -> Candidate:
        drawn = await run.ask(None, problem)
        return Candidate((drawn.text,), finished=drawn.finished, cut=drawn.cut)

    text = "I add the two numbers. Then I check. The answer is 4."
    model = Scripted(lambda request: text.removeprefix(request.partial))
    solution = await solve("2+2?", Shortest(1, n=2, every=20, of=joining), model)
    assert solution.answer == "4"


async def test_a_sample_that_the_model_refuses_to_continue_says_so() -> None:
    def script(request: Request) -> str:
        if request.partial:
            raise UnfitRequest("it cannot continue a partial reply")
        return "The answer is 7. No wait, let me check that again. The answer is 4."

    solution = await solve("2+2?", Shortest(1, n=2, every=24), Scripted(script))
    assert any("cut: it cannot continue" in note for note in solution.notes)


async def test_the_last_probe_is_the_answer_where_a_budget_ends_a_thought() -> None:
    answers = [
        (await solved(Within(tokens=tokens, of=EarlyExit(20, agree=9)), Thinker(500))).answer
        for tokens in range(110, 400)
    ]
    assert answers == ["a"] * len(answers)
    early = await solved(Within(tokens=55, of=EarlyExit(20, agree=9)), Thinker(500))
    assert early.candidate is not None
    assert (early.answer, early.error, early.candidate.cut) == (None, "", True)


class Chatty(Thinker):
    """Says more after its answer."""

    def _go_on(self, request: Request) -> str:
        return super()._go_on(request) + " I am sure of it."


@pytest.mark.parametrize(("backend", "cut"), [(Thinker(500), False), (Chatty(500), True)])
async def test_a_probe_that_is_returned_is_cut_unless_it_came_to_its_end(backend: Thinker, cut: bool) -> None:
    early = await solved(Within(tokens=200, of=EarlyExit(20, agree=9, short=20)), backend)
    assert early.candidate is not None
    assert (early.answer, early.candidate.cut, early.candidate.finished) == ("a", cut, not cut)


@pytest.mark.parametrize("context", range(80, 120))
async def test_the_last_probe_is_the_answer_where_the_context_ends_a_thought(context: int) -> None:
    backend = Thinker(500)
    backend.context = context
    assert (await solved(EarlyExit(20, agree=99), backend)).answer == "a"


@pytest.mark.parametrize(
    "first",
    [
        "Within(tokens=70, of=Model(thinking=50))",
        "Within(tokens=70, of=Think(50))",
        "Within(tokens=70, of=Vote(2, of=Think(50)))",
        "Within(tokens=70, of=Model())",
        "Model(max_tokens=50)",
    ],
)
async def test_a_fallback_goes_on_where_a_thought_is_cut_before_its_answer(first: str) -> None:
    part: Generator = parse(first)
    solution = await solved(Fallback(part, Model(max_tokens=2000)), Thinker(500))
    assert solution.text == "The answer is a."
    assert f"{literal(part)} gave a reply that was cut before its text: trying the next" in solution.notes
    alone = await solved(Fallback(part, Within(tokens=5, of=CoT())), Thinker(500))
    assert (alone.text, alone.error) == ("", "")
    assert "a" * 10 in (alone.candidate or Candidate(())).thought
    assert any(note.endswith("the reply that was cut is returned") for note in alone.notes)
