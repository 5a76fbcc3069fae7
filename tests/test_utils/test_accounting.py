"""Counts of parameters by part, and of activation memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone
from mmqadapter.utils.accounting import part_counts, saved_for_backward
from mmqadapter.utils.tuned_backbone import tuned_backbone

Factory = Callable[..., dict]


class Segmentor(nn.Module):
    """Backbone, head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(16, 5, 1)


def test_the_tuned_backbone_is_found_at_any_depth(tiny_timm_vit: Factory) -> None:
    backbone = FrozenBackbone(tiny_timm_vit())
    assert tuned_backbone(backbone) is backbone
    assert tuned_backbone(nn.ModuleDict({'module': Segmentor(backbone)})) is backbone
    assert tuned_backbone(Segmentor(nn.Conv2d(3, 16, 1))) is None


def test_parameters_by_part(tiny_timm_vit: Factory) -> None:
    model = Segmentor(AdaptedBackbone(tiny_timm_vit(), dict(type='AdaptFormer', width=4)))
    trunk = sum(p.numel() for p in model.backbone.trunk.parameters())
    assert part_counts(model) == {
        'backbone.trunk': {'trainable': 0, 'frozen': trunk},
        'backbone.adapters': {'trainable': 3 * 2 * 16 * 4, 'frozen': 0},
        'head': {'trainable': 16 * 5 + 5, 'frozen': 0},
    }


def test_a_frozen_backbone_lists_what_it_trains(tiny_timm_vit: Factory) -> None:
    model = Segmentor(FrozenBackbone(tiny_timm_vit(), train='norm'))
    counts = part_counts(model)
    # Two norms in each of three blocks and one at the end, each a weight and a bias.
    assert counts['backbone.trunk']['trainable'] == 7 * 2 * 16
    assert set(counts) == {'backbone.trunk', 'head'}


def test_a_plain_model_is_counted_by_its_children() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2, bias=False))
    assert part_counts(model) == {
        '0': {'trainable': 40, 'frozen': 0},
        '2': {'trainable': 16, 'frozen': 0},
    }


def test_saved_bytes_of_a_linear_and_a_relu() -> None:
    net, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), torch.randn(4, 8)
    with saved_for_backward(net) as saved:
        net(x)
    # The linear layer keeps its input, the ReLU its output; float32 is 4 bytes.
    assert saved.total == 4 * (4 * 8) + 4 * (4 * 16)


def test_one_storage_counts_once() -> None:
    net, x = nn.Linear(8, 8), torch.randn(4, 8)
    with saved_for_backward(net) as saved:
        net(x) + net(x) + net(x.view(2, 2, 8)).view(4, 8)
    assert saved.total == 4 * (4 * 8)


def test_parameters_do_not_count() -> None:
    net, x = nn.Linear(8, 1000), torch.randn(1, 8, requires_grad=True)
    with saved_for_backward(net) as saved:
        net(x)
    assert saved.total == 4 * 8


def test_nothing_is_saved_without_gradients() -> None:
    net = nn.Linear(8, 8)
    with saved_for_backward(net) as saved, torch.no_grad():
        net(torch.randn(4, 8))
    assert saved.total == 0


def test_counting_changes_no_gradient_and_ends_with_its_block() -> None:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.randn(2, 4)
    net(x).sum().backward()
    expected = net[0].weight.grad.clone()
    net.zero_grad()
    with saved_for_backward(net) as saved:
        out = net(x)
    total = saved.total
    out.sum().backward()
    net(x)
    assert torch.equal(net[0].weight.grad, expected)
    assert saved.total == total > 0


@pytest.mark.parametrize('reentrant', [True, False])
def test_what_backward_computes_again_does_not_count(reentrant: bool) -> None:
    net = nn.Sequential(nn.Linear(8, 100), nn.ReLU(), nn.Linear(100, 8))
    x = torch.randn(4, 8, requires_grad=True)
    with saved_for_backward(net) as forward:
        out = checkpoint(net, x, use_reentrant=reentrant)
    with saved_for_backward(net) as step:
        checkpoint(net, x, use_reentrant=reentrant).sum().backward()
    out.sum().backward()
    assert step.total == forward.total < 4 * 4 * 100


def test_counting_ends_when_the_forward_fails() -> None:
    net = nn.Linear(4, 4)
    with pytest.raises(RuntimeError, match='shapes'), saved_for_backward(net) as saved:
        net(torch.randn(2, 5))
    total = saved.total
    net(torch.randn(2, 4))
    assert saved.total == total


def test_a_quantized_adapter_keeps_as_much_at_any_width(tiny_timm_vit: Factory) -> None:
    def saved(bits: int) -> int:
        net = AdaptedBackbone(
            tiny_timm_vit(),
            dict(type='AdaptFormer', width=4, dropout=0),
            dict(type='GaussianQuantizer', bits=bits),
        )
        with saved_for_backward(net) as counter:
            net(torch.randn(1, 3, 64, 64))
        return counter.total

    # But for the levels (float32), which all matrices share.
    assert saved(8) - saved(1) == 4 * (2**8 - 2**1)


def test_counting_holds_no_graph_that_never_runs_backward() -> None:
    weight = torch.ones(3, requires_grad=True)
    with saved_for_backward(nn.Module()) as saved:
        output = weight.exp()  # saved by its own operation
    assert saved.total == output.nbytes
    alive = weakref.ref(output)
    del output
    assert alive() is None
