"""Measure the small model that thinks: without thought, with thoughts that are free, cut short or made longer.

Run it as `python -m recipes.forcing metagen/models/small-reasoner --problems 500`. Everything continues from token ids
(budget forcing; Muennighoff et al. 2025, section 3.1).
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from metagen.data import EVALUATION
from recipes.ablation import mean
from recipes.problems.arithmetic import answer_of
from recipes.thoughts import CLOSE, OPEN

CAPS = (0, 16, 32, 64, 128, 256, 512)
WAITS = (1, 2, 4)
CONTEXT = 2048
FORCED = f"{CLOSE}\n\nThe answer is"
console = Console(highlight=False, soft_wrap=True)

Ids = list[int]
Continue = Callable[[Sequence[Ids], int], list[Ids]]
"""From prompts and the most tokens of a reply to one reply each."""


@dataclass(frozen=True, slots=True)
class Markers:
    """Token ids of what is put into replies."""

    close: int
    wait: Ids
    forced: Ids
    opened: Ids
    """What a thought begins with."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A problem's prompt and reply, as token ids."""

    prompt: Ids
    ids: Ids

    def thought(self, markers: Markers) -> Ids:
        """The reply up to the end of its thought, without the marker; all of it where the thought is open."""
        return self.ids[: self.ids.index(markers.close)] if self.closed(markers) else self.ids

    def closed(self, markers: Markers) -> bool:
        """Whether the thought was ended."""
        return markers.close in self.ids


def capped(replies: Sequence[Reply], cap: int, markers: Markers, go_on: Continue) -> list[Reply]:
    """Thoughts of more than `cap` tokens end there, and the answer is forced; the others stay as they are."""
    long = [reply for reply in replies if len(reply.thought(markers)) > cap]
    begun = [[*(reply.thought(markers)[:cap] or markers.opened), *markers.forced] for reply in long]
    ends = iter(go_on([[*reply.prompt, *ids] for reply, ids in zip(long, begun, strict=True)], 8))
    made = iter([Reply(reply.prompt, [*ids, *next(ends)]) for reply, ids in zip(long, begun, strict=True)])
    return [next(made) if len(reply.thought(markers)) > cap else reply for reply in replies]


def waited(replies: Sequence[Reply], markers: Markers, go_on: Continue) -> list[Reply]:
    """The end of each thought is replaced by "Wait", and the reply continues there."""
    begun = [
        [*reply.thought(markers), *markers.wait] if reply.closed(markers) else reply.thought(markers)
        for reply in replies
    ]
    prompts = [[*reply.prompt, *ids] for reply, ids in zip(replies, begun, strict=True)]
    ends = go_on(prompts, CONTEXT)
    return [Reply(reply.prompt, [*ids, *end]) for reply, ids, end in zip(replies, begun, ends, strict=True)]


def engine(model: Path, seed: int) -> Any:
    """VLLM's offline engine."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import LLM  # noqa: PLC0415  # the variables above are read when vllm is imported

    return LLM(str(model), dtype="float32", enforce_eager=True, block_size=32, max_num_seqs=256, seed=seed)


def continuing(llm: Any, temperature: float) -> Continue:
    """Replies of the engine at a temperature; a prompt that fills the context gets none."""
    from vllm import SamplingParams  # noqa: PLC0415  # after `engine`

    def go_on(prompts: Sequence[Ids], most: int) -> list[Ids]:
        rooms = [min(most, CONTEXT - len(prompt)) for prompt in prompts]
        asked = [{"prompt_token_ids": prompt} for prompt, room in zip(prompts, rooms, strict=True) if room > 0]
        settings = [SamplingParams(temperature=temperature, max_tokens=room) for room in rooms if room > 0]
        made = iter(llm.generate(asked, settings, use_tqdm=False) if asked else [])
        return [list(next(made).outputs[0].token_ids) if room > 0 else [] for room in rooms]

    return go_on


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one way to think."""

    way: str
    accuracy: str
    """In percent, with its 95 % interval over problems."""
    answered: float
    """The share of problems with an answer after the thought."""
    thought: float
    """Mean tokens of a thought."""
    median_thought: float
    tokens: float
    """Mean tokens of a reply."""


def measure(llm: Any, records: Sequence[dict[str, Any]], temperature: float) -> Iterator[Figures]:
    """The figures of all ways to think, one reply a problem."""
    tokenizer, go_on = llm.get_tokenizer(), continuing(llm, temperature)
    markers = Markers(
        tokenizer.convert_tokens_to_ids(CLOSE),
        *(tokenizer.encode(text) for text in ("Wait", FORCED, f"{OPEN}\n")),
    )

    def asked(thinking: bool) -> list[Ids]:
        turns = [[{"role": "user", "content": record["prompt"]}] for record in records]
        kwargs = {"add_generation_prompt": True, "enable_thinking": thinking, "return_dict": False}
        return [list(tokenizer.apply_chat_template(turn, **kwargs)) for turn in turns]

    def figures(way: str, replies: Sequence[Reply], closed: bool = False) -> Figures:
        texts = [tokenizer.decode(reply.ids) for reply in replies]
        spoken = [text if closed else text.partition(CLOSE)[2] for text in texts]
        answers = [answer_of(text) for text in spoken]
        right = [answer == int(record["answer"]) for answer, record in zip(answers, records, strict=True)]
        thoughts = [0 if closed else len(reply.thought(markers)) for reply in replies]
        return Figures(
            way,
            str(mean(np.array(right, float))),
            round(fmean(answer is not None for answer in answers), 3),
            round(fmean(thoughts), 1),
            median(thoughts),
            round(fmean(len(reply.ids) for reply in replies), 1),
        )

    def replies(prompts: Sequence[Ids]) -> list[Reply]:
        return [Reply(prompt, ids) for prompt, ids in zip(prompts, go_on(prompts, CONTEXT), strict=True)]

    yield figures("none", replies(asked(thinking=False)), closed=True)
    free = replies(asked(thinking=True))
    for cap in CAPS:
        yield figures(f"at most {cap}", capped(free, cap, markers, go_on))
    yield figures("free", free)
    longer = free
    for wait in range(1, max(WAITS) + 1):
        longer = waited(longer, markers, go_on)
        if wait in WAITS:
            yield figures(f"wait {wait}", longer)


def main(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    problems: Annotated[int, typer.Option(help="The first so many of the evaluation set.")] = 500,
    file: Annotated[Path, typer.Option(help="JSON Lines with prompt and answer.")] = EVALUATION,
    temperature: Annotated[float, typer.Option(help="Of sampling; 0 is greedy.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the engine.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Measure how much thinking buys."""
    records = [json.loads(line) for line in file.read_text().splitlines()][:problems]
    found = []
    for each in measure(engine(model, seed), records, temperature):
        found.append(asdict(each))
        console.print(found[-1])
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
