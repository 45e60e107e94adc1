"""Forms held against the strings of the models' cards."""

import pytest

from metagen import InputError
from metagen.backends.rewards.families import BOXED, FAMILIES, family, known_family

QUESTION = "Janet's ducks lay 16 eggs per day. How many are left after she eats three?"
STEPS = ["She eats three.\n", "16 - 3 = 13 are left. The answer is: 13"]


def test_qwens_steps_end_in_a_mark_under_its_system_prompt() -> None:
    """Qwen2.5-Math-PRM-7B's card: `"<extra_0>".join(data['response']) + "<extra_0>"` as the assistant's turn."""
    assert FAMILIES["qwen-prm"].form(QUESTION, STEPS) == [
        {"role": "system", "content": "Please reason step by step, and put your final answer within \\boxed{}."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "<extra_0>".join(step.strip() for step in STEPS) + "<extra_0>"},
    ]


def test_a_mark_that_a_candidate_writes_is_none() -> None:
    assert str(FAMILIES["marked"].form("?", ["a <extra_0><extra_0>", "b"])).count("<extra_0>") == 2


def test_math_shepherds_steps_are_numbered_lines_that_end_in_its_tag() -> None:
    """Math-Shepherd-Mistral-7B-PRM's card: `f"{question} {output}"`, with `ки` after each step."""
    said = FAMILIES["math-shepherd"].form(QUESTION, STEPS)
    assert said == (f"{QUESTION} Step 1: She eats three. ки\nStep 2: 16 - 3 = 13 are left. The answer is: 13 ки")


def test_math_shepherds_numbers_are_not_doubled() -> None:
    assert FAMILIES["math-shepherd"].form("?", ["Step 1: a", "Step 2: b"]) == "? Step 1: a ки\nStep 2: b ки"


def test_rlhflows_steps_are_turns_answered_with_a_plus() -> None:
    """Llama3.1-8B-PRM-Mistral-Data: the question goes before the first step; the last reply is what is asked."""
    assert FAMILIES["rlhflow"].form(QUESTION, STEPS) == [
        {"role": "user", "content": f"{QUESTION} She eats three."},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": "16 - 3 = 13 are left. The answer is: 13"},
    ]


def test_skyworks_steps_are_lines_after_the_question() -> None:
    """Skywork-o1-Open-PRM's `prepare_input`: `problem + "\\n"`, then each step by itself and the id of `"\\n"`."""
    said = FAMILIES["skywork-prm"].form(QUESTION, [*STEPS, "in two\nlines"])
    steps = ("She eats three.", "\n", "16 - 3 = 13 are left. The answer is: 13", "\n", "in two lines", "\n")
    assert said == (f"{QUESTION}\n", *steps)


def test_trls_steps_end_in_its_separator() -> None:
    """TRL's `PRMTrainer`: prompt, then each completion and `step_separator="\\n"`, where its label stands."""
    steps = ("She eats three.", "\n", "16 - 3 = 13 are left. The answer is: 13", "\n")
    assert FAMILIES["trl-prm"].form(QUESTION, STEPS) == (QUESTION, *steps)


def test_outcome_models_read_a_chat() -> None:
    """Skywork-Reward's card; Qwen2.5-Math-RM's has a system prompt besides."""
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "".join(STEPS)}]
    assert FAMILIES["outcome"].form(QUESTION, STEPS) == turns
    assert FAMILIES["qwen-rm"].form(QUESTION, STEPS) == [{"role": "system", "content": BOXED}, *turns]


@pytest.mark.parametrize(
    ("model", "architecture", "named"),
    [
        ("Qwen/Qwen2.5-Math-PRM-7B", "", "qwen-prm"),
        ("Qwen/Qwen2.5-Math-RM-72B", "", "qwen-rm"),
        ("peiyi9979/math-shepherd-mistral-7b-prm", "MistralForCausalLM", "math-shepherd"),
        ("RLHFlow/Llama3.1-8B-PRM-Mistral-Data", "LlamaForCausalLM", "rlhflow"),
        ("Skywork/Skywork-Reward-V2-Llama-3.1-8B", "", "outcome"),
        ("mine", "Qwen2ForProcessRewardModel", "marked"),
        ("mine", "LlamaForSequenceClassification", "outcome"),
        ("mine", "Qwen2ForTokenClassification", "trl-prm"),
        ("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B", "Qwen2ForPrmModel", "skywork-prm"),
        ("rewards/llama3.1-8b-prm/", "", "rlhflow"),
        ("qwen2.5-math-prm-7b/tuned-generator", "Qwen2ForCausalLM", None),
        ("allenai/OLMoE-1B-7B-0924-Instruct", "OlmoeForCausalLM", None),
        ("unheard-of", "", None),
    ],
)
def test_a_model_is_known_by_its_name_or_its_architecture(model: str, architecture: str, named: str | None) -> None:
    assert known_family(model, {"architectures": [architecture]} if architecture else {}) == named


def test_what_is_not_known_is_to_be_named() -> None:
    assert family("mine", {}, "rlhflow").name == "rlhflow"
    with pytest.raises(InputError, match="say which it is like"):
        family("mine", {})
    with pytest.raises(InputError, match="no family of reward models 'mine'"):
        family("mine", {}, "mine")
