from __future__ import annotations

import pytest
import torch
from torch import nn

from mmqadapter.studies.analysis.perturbation import Perturbation


@pytest.fixture
def layer() -> nn.Linear:
    return nn.Linear(5, 3)


def test_weights_are_changed_and_restored_bit_for_bit(layer: nn.Linear) -> None:
    before = layer.weight.detach().clone()
    perturbation = Perturbation({'weight': layer.weight})
    step = torch.randn(3, 5) * 1e-3
    with perturbation.along((2.0, {'weight': step}), (-1.0, {'weight': torch.ones(3, 5)})):
        torch.testing.assert_close(layer.weight.detach(), before + 2 * step - 1)
    assert torch.equal(layer.weight, before)
    assert perturbation.count == 15


def test_zero_step_changes_no_bit(layer: nn.Linear) -> None:
    before = layer.weight.detach().clone()
    perturbation = Perturbation({'weight': layer.weight})
    with perturbation.along((0.0, {'weight': torch.randn(3, 5)})):
        assert torch.equal(layer.weight, before)


def test_error_restores_the_weights(layer: nn.Linear) -> None:
    before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    perturbation = Perturbation({'weight': layer.weight, 'bias': layer.bias})
    with pytest.raises(RuntimeError, match='evaluation'):
        with perturbation.at({'weight': torch.full((3, 5), torch.nan)}):
            assert layer.weight.isnan().all() and torch.equal(layer.bias, bias)
            raise RuntimeError('evaluation failed')
    assert torch.equal(layer.weight, before)


def test_autograd_does_not_record_the_change(layer: nn.Linear) -> None:
    with Perturbation({'weight': layer.weight}).at({'weight': torch.zeros(3, 5)}):
        pass
    layer(torch.ones(1, 5)).sum().backward()
    assert layer.weight.is_leaf and layer.weight.grad is not None
