"""Every MLP of a trunk in chunks of tokens; the highway's taps and gradients as before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from nets import backward, bare, images_for, trained

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.backbones.acceleration import chunked
from mmqadapter.backbones.acceleration.chunked import ChunkedForward

Factory = Callable[..., dict]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny nets have fewer tokens than a piece."""
    monkeypatch.setattr(chunked, 'CHUNK', 16)


@torch.no_grad()
def test_equals_the_stock_net(tiny_backbone: Factory) -> None:
    net, stock = FrozenBackbone(tiny_backbone(), trunk=dict(mlp='chunked')), bare(tiny_backbone())
    net.load_state_dict(stock.state_dict())
    for size in ((64, 64), (48, 80)):
        x = images_for(tiny_backbone(), *size)
        for one, other in zip(net(x), stock(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_every_mlp_is_in_pieces(tiny_backbone: Factory) -> None:
    net = FrozenBackbone(tiny_backbone(), trunk=dict(mlp='chunked'))
    ways = [name for name, m in net.named_modules() if isinstance(m, ChunkedForward)]
    assert len(ways) == len([n for n, m in net.named_modules() if n.endswith(('ffn', 'mlp'))])
    assert net.state_dict().keys() == FrozenBackbone(tiny_backbone()).state_dict().keys()


@pytest.mark.parametrize('adapter', ['adaptformer', 'sequential'])
def test_gradients_in_path(tiny_backbone: Factory, adapter: str) -> None:
    found = backward(trained(tiny_backbone(), adapter, trunk=dict(mlp='chunked')))
    expected = backward(trained(tiny_backbone(), adapter))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)
