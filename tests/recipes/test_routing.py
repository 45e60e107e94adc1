"""The load-balancing loss and the sorted experts."""

import pytest
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from metagen.train.experts import SORTED
from recipes.routing import balance_loss, expert_fractions


def rotating(experts: int, k: int, strength: float) -> torch.Tensor:
    """Logits that send token t to experts t, t + 1, … t + k - 1, in turn: a perfect balance."""
    tokens = torch.arange(experts)[:, None]
    return strength * ((torch.arange(experts) - tokens) % experts < k).float()


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("strength", [0.1, 5.0])
def test_the_loss_is_one_at_perfect_balance(k: int, strength: float) -> None:
    assert balance_loss(rotating(8, k, strength), k).item() == pytest.approx(1.0)


def test_the_loss_is_larger_off_balance_and_at_most_the_number_of_experts() -> None:
    collapsed = torch.zeros(64, 8)
    collapsed[:, 0] = 50.0
    assert balance_loss(collapsed, 1).item() == pytest.approx(8.0)
    assert balance_loss(torch.cat([rotating(8, 2, 3.0), collapsed[:8]]), 2).item() > 1.1


def test_lowering_the_loss_evens_the_load() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(512, 8) + torch.linspace(0, 3, 8)).requires_grad_()
    before = expert_fractions(logits.topk(2).indices, 8).max()
    optimizer = torch.optim.SGD([logits], lr=200.0)
    for _ in range(50):
        optimizer.zero_grad()
        balance_loss(logits, 2).backward()
        optimizer.step()
    assert expert_fractions(logits.topk(2).indices, 8).max() < before


def test_fractions_sum_to_one() -> None:
    fractions = expert_fractions(torch.tensor([[0, 1], [0, 2]]), 4)
    assert fractions.tolist() == [0.5, 0.25, 0.25, 0.0]


def test_sorted_experts_do_what_transformers_does() -> None:
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=50, hidden_size=32, moe_intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, num_experts=4, num_experts_per_tok=2, norm_topk_prob=True,
        pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    model = Qwen3MoeForCausalLM(config).eval()
    ids = torch.randint(0, 50, (2, 12))
    with torch.no_grad():
        model.set_experts_implementation("eager")
        theirs = model(input_ids=ids).logits
        model.set_experts_implementation(SORTED)
        ours = model(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs)
