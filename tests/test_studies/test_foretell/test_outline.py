"""What has content in an outline, and what has none."""

from __future__ import annotations

import pytest
import torch
from old_torch import needs_torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from mmqadapter.studies.foretell.op_costs import OpCosts
from mmqadapter.studies.foretell.outline import LARGE, Outline, UnknownValueError
from mmqadapter.utils import live_bytes

pytestmark = needs_torch(2, 6, 'foretelling memory')


def test_small_tensors_and_what_is_computed_from_them_have_content() -> None:
    with Outline():
        boxes = torch.ones(3, 4) * 2
        numbers = torch.randperm(LARGE)
    assert boxes.tolist() == [[2.0] * 4] * 3
    assert not isinstance(numbers, FakeTensor) and numbers.sort().values[-1] == LARGE - 1


def test_large_tensors_and_what_is_computed_from_them_have_none() -> None:
    with Outline():
        large = torch.zeros(LARGE)
        total = (large * torch.ones(1)).sum()
    assert isinstance(large, FakeTensor) and isinstance(total, FakeTensor)
    assert total.shape == ()


def test_known_masks_select_from_unknown_values() -> None:
    outline = Outline()
    with outline:
        scores = torch.zeros(2, LARGE)
        mask = torch.arange(LARGE) < 5
        assert scores[:, mask].shape == (2, 5)
        scores[:, mask] = 1.0


def test_weights_lose_their_content_and_keep_the_rest() -> None:
    net, outline = nn.BatchNorm1d(4), Outline()
    net.bias.requires_grad_(False)
    outline.outline_weights(net)
    assert isinstance(net.weight, nn.Parameter) and isinstance(net.running_mean, FakeTensor)
    assert net.weight.requires_grad and not net.bias.requires_grad


@pytest.mark.parametrize(
    'ask',
    [
        lambda unknown: (unknown > 0).nonzero(),
        lambda unknown: unknown[unknown > 0],
        lambda unknown: unknown.unique(),
        lambda unknown: bool((unknown > 0).any()),
        lambda unknown: int(unknown.argmax()),
    ],
)
def test_what_depends_on_unknown_values_is_refused(ask) -> None:
    with Outline(), pytest.raises(UnknownValueError, match='mmqadapter benchmark CONFIG'):
        ask(torch.zeros(LARGE))


def test_a_float_is_given_a_value() -> None:
    with Outline():
        assert float(torch.zeros(LARGE).norm()) == 1.0


def test_costs_of_operations() -> None:
    with OpCosts() as costs:
        a, b = torch.empty(8, 16), torch.empty(16, 4)
        product = a @ b
        product.view(-1)
        product.half() + 1
    assert costs.flops == 2 * 8 * 16 * 4
    elements = 8 * 4
    moved = 4 * (8 * 16 + 16 * 4 + elements) + (4 + 2) * elements + (2 + 2) * elements
    assert costs.bytes == moved
    # The product is bound by operations, the rest by bytes; 16 bits are for the sum alone.
    seconds = costs.seconds(flops=1.0, half_flops=1.0, bandwidth=1e9)
    assert seconds == pytest.approx(costs.flops, rel=1e-5)


def test_an_old_pytorch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_bytes, 'TORCH', (2, 5))
    with pytest.raises(ValueError, match='cannot foretell memory: expected 2.6 or newer; measure'):
        Outline()
