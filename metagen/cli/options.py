"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path,
    typer.Argument(
        help="Problems: JSON Lines, a JSON list, CSV, TSV, Parquet or Arrow, packed (.gz, .bz2, .xz, .zst) or not, "
        "several by a pattern such as 'data/*.jsonl', or the folder of a Hugging Face dataset; ours, GSM8K's, MATH's, "
        "SVAMP's, HumanEval's, MBPP's, or with named fields."
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="[NAME=]MODEL",
        help="A folder or hub name that vLLM serves, the address of a server (http://HOST:PORT/v1, with #MODEL if it "
        "serves several, and several servers with commas), a pool of samples (.jsonl) to play, a backend of a "
        "loaded file or a function of it that returns one, or NAME:ARGUMENT, such as Scripted:7, for a backend that "
        "metagen, a loaded file or an installed package defines. Repeat it with names to use several in one strategy. "
        "A reward model is known by its config.json or its name; FAMILY+MODEL says how it is asked, as for a server: "
        "prm=qwen-prm+http://HOST:PORT/v1. Default: the small mixture of experts that ships with "
        "metagen, small-moe; so do its reward model, small-prm, its corrector, small-corrector, and a model that "
        "thinks first, small-reasoner.",
    ),
]
StrategyOption = Annotated[str, typer.Option("--strategy", "-s", metavar="SPEC", help="Such as 'Vote(16, of=CoT())'.")]
LoadOption = Annotated[
    list[Path] | None,
    typer.Option("--load", metavar="FILE.py", help="Make the functions, classes and objects of this file known."),
]
SystemOption = Annotated[
    str | None,
    typer.Option("--system", metavar="TEXT|@FILE", help="A system turn before every problem; @FILE reads it."),
]
TemplateOption = Annotated[
    Path | None,
    typer.Option(
        "--template",
        metavar="FILE",
        help="A file with the text to put around every question: the question replaces {prompt}, and the field NAME "
        "of the row replaces {NAME}.",
    ),
]
AnswersOption = Annotated[
    str | None,
    typer.Option(
        "--answers",
        metavar="SPEC",
        help="What counts as an answer: a kind, such as 'Number()' or 'Choice(\"ABCD\")', or a function of a loaded "
        "file. Default: what the field `answers` or `choices` of a row says, else mathematics.",
    ),
]
GradeOption = Annotated[
    str | None,
    typer.Option(
        "--grade",
        metavar="SPEC",
        help="The verifier that decides whether an answer is right (it is if the verdict is 1), such as "
        "'PassesTests()'. Default: the tests of a row, Coq for a theorem, else the reference answer.",
    ),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="KEY=VALUE", help="Any vLLM engine argument, such as tensor_parallel_size=2."),
]
ServerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        metavar="[NAME.]KEY=VALUE",
        help="A setting of the servers, or with NAME of one model's: api=completions, context=32768, "
        """dialect=sglang, key_env=MY_KEY (the environment variable of its key), headers='{"X-Team": "a"}', """
        """extra='{"chat_template_kwargs": {}}', silence=60, insecure_key=true.""",
    ),
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first so many problems.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed every request, so that a run can be repeated.")]
TokensOption = Annotated[int | None, typer.Option(min=1, help="Tokens that this call may spend in all.")]
FlopsOption = Annotated[
    float | None, typer.Option(help="Floating-point operations that this call may spend in all, such as 1e15.")
]
MoneyOption = Annotated[
    float | None,
    typer.Option(help="Money that this call may spend in all, in what the prices are in, such as 2.50."),
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="[NAME=]READ/WRITE[/CACHED]",
        help="What a model costs for a million tokens that it reads and writes, and that its prefix cache holds, such "
        "as 0.15/0.60, or large=2.50/10/1.25: then money is counted, and can be limited.",
    ),
]
CardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        metavar="[NAME=]CONFIG",
        help="The config.json, or its folder, of the model behind a server or a pool, so that its FLOPs are counted.",
    ),
]
SecondsOption = Annotated[float | None, typer.Option(help="Start nothing more after so many seconds.")]
ConcurrencyOption = Annotated[int, typer.Option(min=1, help="Problems at once; with --workers, for each worker.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Workers on a Ray cluster, such as 8, each with the models opened in a process of its own (default: "
        "this process opens them). Needs the extra `ray`.",
    ),
]
GpusOption = Annotated[
    float | None, typer.Option("--gpus-per-worker", min=0, help="GPUs that each worker needs (default: none).")
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="The Ray cluster: `auto` for the one of this machine, or HOST:PORT (default: one is started here).",
    ),
]
HedgeOption = Annotated[
    bool,
    typer.Option("--hedge", help="At the end, let workers with nothing to do try the slowest problems once more."),
]
PromptFieldOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="Field that holds the prompt (default: `prompt`, `question`, `problem`, `Question`, `text` or "
        "`messages`).",
    ),
]
AnswerFieldOption = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD", help="Field that holds the reference answer (default: `answer`, `Answer` or `solution`)."
    ),
]
IdFieldOption = Annotated[
    str | None,
    typer.Option(metavar="FIELD", help="Field that holds the id (default: `id`, `unique_id`, `ID` or `task_id`)."),
]
SplitOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which split of a folder of a dataset, such as test. Default: the only one."),
]
OtlpOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The collector that traces are sent to by OTLP over HTTP, such as http://localhost:4318. Prompts and "
        "replies are sent only with OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true.",
    ),
]
Sources = Annotated[
    list[Path],
    typer.Argument(metavar="POOL_OR_RUN", help="Pools of samples (.jsonl), and folders of runs.", show_default=False),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run, such as runs/demo.", show_default=False)
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders of runs, such as runs/demo; several are compared.", show_default=False),
]
PageOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="PAGE.html", help="The page to write. Default: page.html in the first run's folder."),
]
SourceCardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        metavar="CONFIG",
        help="The config.json, or its folder, of the model that drew the samples, so that costs are in FLOPs: one "
        "for all sources, or one for each in their order.",
    ),
]
SourcePriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="READ/WRITE",
        help="What the model that drew the samples costs for a million tokens that it reads and writes, such as "
        "0.15/0.60, so that costs are in money: one for all sources, or one for each in their order.",
    ),
]
ReachOption = Annotated[
    list[float] | None,
    typer.Option(metavar="PERCENT", min=0, max=100, help="Say what so much accuracy costs; may be repeated."),
]
ChosenCardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--card",
        metavar="[NAME=]CONFIG",
        help="The config.json, or its folder, of the model behind a server or a pool, so that costs are in FLOPs. Of "
        "several pools: one for all, or one for each in their order, without names.",
    ),
]
ChosenPriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="[NAME=]READ/WRITE",
        help="What a model costs for a million tokens that it reads and writes, such as 0.15/0.60. Of several pools: "
        "one for all, or one for each in their order, without names.",
    ),
]
AlsoOption = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="SPEC",
        help="Another strategy to run beside Refine(), tree searches (with a process reward) and limits of thoughts; "
        "may be repeated.",
    ),
]
ChosenFrom = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="A file of problems; or with --problems pools of samples (.jsonl) and folders of runs. Several need "
        "names, NAME=POOL, by which a strategy calls the models that drew them.",
        show_default=False,
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="AMOUNT",
        help="What may be spent per problem on average, such as '1000 tokens', '2e9 FLOPs', '$0.01', '5 s' or "
        "'8 samples'. Default: no limit.",
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="VERIFIER",
        help="A verifier that strategies may use, such as 'ProcessReward(\"prm\")'; may be repeated. Its models are "
        "given with --model. Verdicts that a pool holds are used without it.",
    ),
]
PaceOption = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="TOKENS",
        help="Tokens of one sample per second, for a budget in seconds. Default: measured, where a pool is drawn.",
    ),
]
