"""Peak of the bytes of living tensors, against counts by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_device import fake_device, move
from old_torch import needs_torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmqadapter.utils import live_bytes
from mmqadapter.utils.live_bytes import BLOCK, LiveBytes

pytestmark = needs_torch(2, 6, 'counting living tensors')
KIB = 1024


def kib(count: int) -> Tensor:
    return torch.zeros(count * KIB // 4)


def test_what_is_freed_counts_no_more() -> None:
    held = kib(4)
    with LiveBytes([held]) as live:
        first = kib(8)
        second = first + 1  # 4 + 8 + 8
        del first
        assert live.now == 12 * KIB
        third = second.view(-1, 2)[1:]
        del second
        assert live.now == 12 * KIB  # a view holds its storage
        del third
        assert live.now == 4 * KIB
    assert live.peak == 20 * KIB


def test_sizes_are_rounded_up() -> None:
    with LiveBytes() as live:
        _ = [torch.zeros(1), torch.zeros(BLOCK // 4), torch.zeros(BLOCK // 4 + 1), torch.zeros(0)]
        assert live.now == 4 * BLOCK


def test_temporaries_of_an_expression_count() -> None:
    x = kib(64)
    with LiveBytes([x]) as live:
        _ = (x + 1) * 2  # the sum lives until the product is there
    assert live.peak == 3 * 64 * KIB


def net(depth: int = 4) -> nn.Sequential:
    layers = [nn.Linear(256, 256, bias=False) for _ in range(depth)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.Sigmoid())])


def held(model: nn.Module, optimizer: Any) -> list[Tensor]:
    states = [t for state in optimizer.state.values() for t in state.values()]
    return [*model.parameters(), *states]


MATRIX = 256 * 256 * 4  # bytes of a weight, and of an activation of 256 rows


def second_step(model: nn.Module, forward: Any = None, rows: int = 256) -> LiveBytes:
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, foreach=False)
    x = torch.zeros(rows, 256, device=next(model.parameters()).device)
    for _ in range(2):
        with LiveBytes([x, *held(model, optimizer)]) as live:
            (forward or model)(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    return live


def test_a_step_of_full_fine_tuning() -> None:
    live = second_step(net())
    # Input, weights, two moments of each; sigmoids saved for backward, one more matrix in flight.
    least = (1 + 4 + 8 + 4 + 1) * MATRIX
    assert least <= live.peak <= least + 3 * MATRIX
    assert live.now == (1 + 4 + 8) * MATRIX + 4 * BLOCK  # and the step counters of AdamW


def test_a_frozen_net_needs_weights_and_two_activations() -> None:
    model = net()
    for parameter in model[:-2].parameters():
        parameter.requires_grad_(False)
    live = second_step(model)
    assert live.peak <= (1 + 4 + 2 + 5) * MATRIX


def test_recomputed_activations_are_not_held() -> None:
    model = net(16)

    def forward(x: Tensor) -> Tensor:
        for start in range(0, 32, 8):
            x = checkpoint(model[start : start + 8], x, use_reentrant=False)
        return x

    stored, recomputed = second_step(net(16), rows=2048), second_step(model, forward, rows=2048)
    # Of 16 activations of 8 matrices each, 4 inputs and at most the 4 of a segment stay.
    assert stored.peak - recomputed.peak >= 6 * 8 * MATRIX


@pytest.mark.parametrize('frozen', [0, 3])
def test_tensors_without_content_count_the_same(frozen: int) -> None:
    models = [net(), net()]
    for model in models:
        for parameter in [*model.parameters()][:frozen]:
            parameter.requires_grad_(False)
    real = second_step(models[0])
    with fake_device() as mode:
        move(models[1], mode, 'cpu')
        fake = second_step(models[1])
    assert fake.peak == real.peak
    assert fake.now == real.now


def test_an_old_pytorch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_bytes, 'TORCH', (2, 5))
    with pytest.raises(ValueError, match='cannot count living tensors: expected 2.6 or newer'):
        LiveBytes()
