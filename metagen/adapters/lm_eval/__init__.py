"""A strategy as a model of EleutherAI's lm-evaluation-harness: `lm-eval run --model metagen`."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NoReturn

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from metagen.adapters.caller import Caller, read_caller, until
from metagen.budget import Account
from metagen.candidate import Candidate
from metagen.disk.fields import ID_FIELDS
from metagen.errors import GenerationError, InputError
from metagen.model import Model
from metagen.problem import Problem
from metagen.settings import literal
from metagen.solution import Solution
from metagen.sync import Session

log = logging.getLogger(__name__)

SETTINGS = {
    "until": "stop",
    "max_gen_toks": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_tokens": "max_tokens",
    "stop": "stop",
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")},
}
"""What tasks call the settings of `Model`."""
UNUSED = {"do_sample", "num_beams", "use_cache"}
"""What tasks set that says nothing here."""


class Talk(str):
    """The turns of a conversation, written as JSON: what the harness takes for a prompt."""

    __slots__ = ()


class MetagenLM(LM):  # type: ignore[misc]  # lm_eval has no types
    """Answers requests to generate by a strategy over models; `read_caller` says which settings there are.

    The settings of the size of batches and of the device are ignored: all requests are sent at once, and the engine
    batches them.
    """

    def __init__(
        self,
        batch_size: object = None,  # noqa: ARG002 (the harness passes it to every model)
        max_batch_size: object = None,  # noqa: ARG002
        device: object = None,  # noqa: ARG002
        **settings: Any,
    ) -> None:
        super().__init__()
        self._caller = read_caller(settings)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The text of each answer up to the first of its task's `until`, in the order of the requests.

        A request without an answer raises `GenerationError` once all others are answered, and in the harness's cache.
        Raises `InputError`, before anything is drawn, for settings of a task that no model can follow.
        """
        problems = list(_problems(requests, self._caller))
        texts: dict[int, str] = {}
        failed: list[str] = []
        account = Account()
        order = sorted(range(len(requests)), key=lambda at: json.dumps(requests[at].args[1], sort_keys=True))
        groups = [(wanted, list(places)) for wanted, places in groupby(order, key=lambda at: requests[at].args[1])]
        drawn = [_settings(wanted) for wanted, _ in groups]
        with Session(self._caller.models) as session, tqdm(total=len(order), disable=disable_tqdm) as bar:
            # An open model knows what it cannot follow. All groups are looked at before the first is paid for.
            defaults = list(map(self._caller.default, drawn))
            for (wanted, places), default in zip(groups, defaults, strict=True):
                where = {problems[at].id: at for at in places}
                for solution in self._solve(session, [problems[at] for at in where.values()], default, account):
                    bar.update()
                    at = where[solution.problem]
                    if error := solution.error or _stopped(solution):
                        failed.append(error)
                        continue
                    texts[at] = until(_after_prefix(solution.text, problems[at]), _stops(wanted))
                    self.cache_hook.add_partial("generate_until", requests[at].args, texts[at])
        _say(account, failed, len(requests))
        return [texts[at] for at in range(len(requests))]

    def _solve(self, session: Session, problems: list[Problem], default: Model, account: Account) -> Iterator[Solution]:
        caller = self._caller
        return session.solve_all(
            problems,
            caller.drawing(default),
            seed=caller.seed,
            account=account,
            concurrency=caller.concurrency,
            default=default,
        )

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """Raises `InputError`: a strategy writes answers, and has no probability of a given text."""
        _refuse(requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> NoReturn:
        """Raises `InputError`, as `loglikelihood` does."""
        _refuse(requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The turns themselves: the model's own template is applied where it is asked."""
        del add_generation_prompt  # a last turn of the assistant's says the same
        return Talk(json.dumps(chat_history))

    @property
    def tokenizer_name(self) -> str:
        """The key of the chat template in the harness's cache of requests."""
        return "metagen"

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes about the model into its results."""
        models = [each.name for each in self._caller.models.values()]
        return {"strategy": literal(self._caller.strategy), "models": models}


def _problems(requests: Sequence[Instance], caller: Caller) -> Iterator[Problem]:
    """A problem for each request, called by the id of its document, so that a pool of samples can be played."""
    names = [_name(request) for request in requests]
    twice = {name for name, count in Counter(names).items() if count > 1}
    seen = Counter[str]()
    for request, name in zip(requests, names, strict=True):
        known = f"{request.task_name}/{name}" if name in twice else name
        seen[known] += 1
        yield _problem(known if seen[known] == 1 else f"{known}#{seen[known]}", request.args[0], caller)


def _name(request: Instance) -> str:
    said = next((request.doc[name] for name in ID_FIELDS if request.doc.get(name) not in (None, "")), None)
    return str(said) if said is not None else str((request.doc_id or 0) + 1)


def _problem(name: str, context: str, caller: Caller) -> Problem:
    if not isinstance(context, Talk):
        return Problem(name, context, answers=caller.answers)
    turns = json.loads(context)
    begun = turns.pop()["content"] if turns[-1]["role"] == "assistant" else ""
    problem = Problem(name, messages=turns, answers=caller.answers)
    return problem.continuing(Candidate((begun,), finished=False)) if begun else problem


def _stopped(solution: Solution) -> str:
    """Why there is no answer where a stop string was met in a thought."""
    if not (solution.candidate and solution.candidate.open) or solution.candidate.cut:
        return ""
    return (
        "'until' ended a thought, since the model is not known to think: name its family, as in server=thinking=think"
    )


def _after_prefix(text: str, problem: Problem) -> str:
    """What was written after the beginning of the reply that the task gave."""
    return text.removeprefix(problem.partial.text) if problem.partial else text


def _stops(wanted: Mapping[str, Any]) -> tuple[str, ...]:
    given = wanted.get("until") or wanted.get("stop") or ()
    return tuple(stop for stop in ([given] if isinstance(given, str) else given) if stop)


def _settings(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a task asks for, as `Model` calls it. Raises `InputError` for what it does not know."""
    if strange := sorted(wanted.keys() - SETTINGS.keys() - UNUSED):
        raise InputError(f"gen_kwargs {strange[0]!r}: metagen does not know it: leave it out, or set it in strategy")
    settings = {SETTINGS[name]: value for name, value in wanted.items() if name in SETTINGS}
    greedy = {"temperature": 0.0} if wanted.get("do_sample") is False else {}
    return settings | {"stop": _stops(wanted)} | greedy


def _refuse(requests: Sequence[Instance]) -> NoReturn:
    task = requests[0].task_name if requests else "the task"
    raise InputError(f"{task}: asks for log-likelihoods, and a strategy only generates: use a task with generate_until")


def _say(account: Account, failed: Sequence[str], wanted: int) -> None:
    spent = account.spent
    log.info("metagen: %s requests, %s tokens in %s calls", f"{wanted:,}", f"{spent.tokens:,}", f"{spent.calls:,}")
    if failed:
        raise GenerationError(
            f"no answer to {len(failed):,} of {wanted:,} requests: {failed[0]}. "
            "With --use_cache FILE, the same command asks for these alone"
        )
