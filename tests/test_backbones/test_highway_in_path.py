"""Last blocks that take adapters in their path as well."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from highways import ADAPTERS, DUAL, TAPS, own, saved_bytes, trained, wrap
from nets import backward, bare, equal, images, is_block, randomize

from mmqadapter.backbones import AdaptedBackbone, HighwayBackbone

Factory = Callable[..., dict]


@pytest.mark.parametrize('count', [1, 3])
@ADAPTERS
@torch.no_grad()
def test_in_path_adapters_are_those_of_an_adapted_backbone(
    rotating_backbone: Factory, count: int, adapter: dict
) -> None:
    count = min(count, len(wrap(rotating_backbone()).adapters['highway'].stages[0]) // 2)
    adapted = AdaptedBackbone(rotating_backbone(), adapter, blocks=f'last-{count}')
    adapted.trunk.load_state_dict(bare(rotating_backbone()).state_dict())
    randomize(adapted.adapters)
    wrapped = wrap(rotating_backbone(), adapter, inpath_blocks=count)
    wrapped.adapters.load_state_dict(adapted.adapters.state_dict(), strict=False)
    assert len(wrapped.adapters) == count + 1
    torch.testing.assert_close(list(wrapped(images())), list(adapted(images())))
    assert not equal(wrapped(images()), bare(rotating_backbone())(images()))


@TAPS
def test_gradients_cross_the_in_path_blocks_alone(rotating_backbone: Factory, taps: str) -> None:
    wrapped, ran = trained(rotating_backbone(), inpath_blocks=2, taps=taps).train(), []
    names = [n for n, m in wrapped.trunk.named_modules() if is_block(m)]
    for name in names:
        wrapped.trunk.get_submodule(name).register_forward_hook(
            lambda module, args, output: ran.append(output.requires_grad)
        )
    gradients = own(backward(wrapped))
    assert ran == [False] * (len(names) - 2) + [True] * 2
    assert all(gradient.any() for gradient in gradients.values())


def test_bytes_grow_with_in_path_blocks(tiny_backbone: Factory) -> None:
    kept = [saved_bytes(wrap(tiny_backbone(), inpath_blocks=count)) for count in (0, 1, 2)]
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize('count', [-1, 4])
def test_more_in_path_blocks_than_there_are(tiny_timm_vit: Factory, count: int) -> None:
    with pytest.raises(ValueError, match=f'inpath_blocks={count} is invalid: expected 0 .*to 3,'):
        HighwayBackbone(tiny_timm_vit(), DUAL, inpath_blocks=count)
