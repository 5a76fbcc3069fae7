"""Every MLP of a trunk in chunks of tokens; the highway's taps and gradients as before."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from nets import backward, bare, images_for, trained
from tiny_backbones import TINY, tiny_config

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.backbones.acceleration import chunked
from mmqadapter.backbones.acceleration.chunked import ChunkedForward

Factory = Callable[..., dict]
# Convolutions or responses over the map in their MLPs, or no module of its own for the MLP.
MIXING = (
    'convnext', 'caformer', 'MixVision', 'PyramidVision', 'pvt_v2', 'MSCAN', 'ConvNeXt',
    'PoolFormer', 'ResNet',
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny nets have fewer tokens than a piece."""
    monkeypatch.setattr(chunked, 'CHUNK', 16)


@pytest.fixture
def chunkable(layout_backbone: Factory) -> Factory:
    """``layout_backbone`` of the families whose MLPs treat each token alone."""
    if any(name in str(layout_backbone()) for name in MIXING):
        pytest.skip('its MLP mixes tokens')
    return layout_backbone


@pytest.mark.parametrize('name', [n for n in TINY if any(m in str(TINY[n]) for m in MIXING)])
def test_mlps_that_mix_tokens_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"mlp='chunked' is invalid for .*mixes tokens.*'auto'"):
        FrozenBackbone(tiny_config(name), trunk=dict(mlp='chunked'))
    net = FrozenBackbone(tiny_config(name), trunk=dict(mlp='auto'))
    assert net.trunk_options.mlp == 'stock'
    assert not any(isinstance(m, ChunkedForward) for m in net.modules())


@torch.no_grad()
def test_equals_the_stock_net(chunkable: Factory) -> None:
    net, stock = FrozenBackbone(chunkable(), trunk=dict(mlp='chunked')), bare(chunkable())
    net.load_state_dict(stock.state_dict())
    for size in ((64, 64), (48, 80)):
        x = images_for(chunkable(), *size)
        for one, other in zip(net(x), stock(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_every_mlp_is_in_pieces(chunkable: Factory) -> None:
    net = FrozenBackbone(chunkable(), trunk=dict(mlp='chunked'))
    ways = [name for name, m in net.named_modules() if isinstance(m, ChunkedForward)]
    mlps = [n for n, _ in net.named_modules() if re.search(r'\.\d+\.(ffn|mlp)$', n)]
    assert len(ways) == len(mlps)
    assert net.state_dict().keys() == FrozenBackbone(chunkable()).state_dict().keys()


@pytest.mark.parametrize('adapter', ['adaptformer', 'sequential'])
def test_gradients_in_path(chunkable: Factory, adapter: str) -> None:
    found = backward(trained(chunkable(), adapter, trunk=dict(mlp='chunked')))
    expected = backward(trained(chunkable(), adapter))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)
