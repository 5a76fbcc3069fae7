"""piecewise_mlp: every MLP of a trunk in pieces; the highway's taps and gradients as before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nets import backward, bare, images, trained

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.backbones.acceleration import ChunkedForward, piecewise

Factory = Callable[..., dict]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny nets have fewer tokens than a piece."""
    monkeypatch.setattr(piecewise, 'PIECE', 16)


@torch.no_grad()
def test_equals_the_stock_net(tiny_backbone: Factory) -> None:
    net, stock = FrozenBackbone(tiny_backbone(), piecewise_mlp=True), bare(tiny_backbone())
    net.load_state_dict(stock.state_dict())
    for size in ((64, 64), (48, 80)):
        for one, other in zip(net(images(*size)), stock(images(*size)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_every_mlp_is_in_pieces(tiny_backbone: Factory) -> None:
    net = FrozenBackbone(tiny_backbone(), piecewise_mlp=True)
    ways = [name for name, m in net.named_modules() if isinstance(m, ChunkedForward)]
    assert len(ways) == len([n for n, m in net.named_modules() if n.endswith(('ffn', 'mlp'))])
    assert net.state_dict().keys() == FrozenBackbone(tiny_backbone()).state_dict().keys()


@pytest.mark.parametrize('adapter', ['adaptformer', 'sequential'])
def test_gradients_in_path(tiny_backbone: Factory, adapter: str) -> None:
    found = backward(trained(tiny_backbone(), adapter, piecewise_mlp=True))
    expected = backward(trained(tiny_backbone(), adapter))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)
