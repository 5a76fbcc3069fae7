"""The highway that starts from the image, on every family of trunks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from highways import CONV, own, saved_bytes, trained, wrap
from nets import ONE_BIT, backward, bare, equal, images, images_for, randomize
from tiny_backbones import tiny_config

from mmqadapter import load_task, save_task
from mmqadapter.backbones import HighwayBackbone

Factory = Callable[..., dict]
STEM = dict(cell='JoinedCell', taps='stream', stem=dict(type='ConvStem', width=4))


@pytest.fixture
def layout_backbone(layout_backbone: Factory) -> Factory:
    """``layout_backbone`` of the families whose first convolution is the whole patch embedding."""
    if any(net in str(layout_backbone()) for net in ('MSCAN', 'ResNet')):
        pytest.skip('refused: see test_a_first_convolution_that_is_not_the_whole_embedding')
    return layout_backbone


@pytest.fixture
def rotating_backbone(rotating_backbone: Factory) -> Factory:
    """As ``layout_backbone``."""
    if any(net in str(rotating_backbone()) for net in ('MSCAN', 'ResNet')):
        pytest.skip('refused: see test_a_first_convolution_that_is_not_the_whole_embedding')
    return rotating_backbone


@pytest.mark.parametrize(('name', 'kind'), [('mmseg_mscan', 'MSCAN'), ('mmdet_resnet', 'ResNet')])
def test_a_first_convolution_that_is_not_the_whole_embedding(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=rf"ConvStem is invalid for {kind}.*use 'NoStem'"):
        wrap(tiny_config(name), CONV, **STEM)


def test_starts_as_the_bare_net_bit_for_bit(layout_backbone: Factory) -> None:
    cfg = layout_backbone()
    wrapped = wrap(cfg, CONV, **STEM)
    for size in [(64, 64), (70, 93)]:
        x = images_for(cfg, *size)
        assert equal(wrapped.train()(x), bare(cfg)(x))
    randomize(wrapped.adapters['highway'].stem)
    assert not equal(wrapped(images()), bare(cfg)(images()))


@pytest.mark.parametrize('quantizer', [None, ONE_BIT], ids=['float', '1-bit'])
def test_all_of_it_gets_gradients(rotating_backbone: Factory, quantizer: dict | None) -> None:
    gradients = own(
        backward(trained(rotating_backbone(), CONV, quantizer=quantizer, **STEM).train())
    )
    assert any('.stem.' in name for name in gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())


def test_no_more_than_the_image_is_kept_for_it(layout_backbone: Factory) -> None:
    without = saved_bytes(wrap(layout_backbone(), CONV, cell='JoinedCell', taps='stream'))
    kept = saved_bytes(wrap(layout_backbone(), CONV, **STEM)) - without
    height, width = (-(-side // 14) * 14 for side in (64, 64))  # padded for patches of 14
    assert 0 <= kept <= images(height, width).nbytes


@torch.no_grad()
def test_task_file_there_and_back(layout_backbone: Factory, tmp_path: Path) -> None:
    first = trained(layout_backbone(), CONV, quantizer=ONE_BIT, **STEM).eval()
    save_task(first, path := tmp_path / 'a.task.safetensors')
    second = wrap(layout_backbone(), CONV, quantizer=ONE_BIT, **STEM).eval()
    load_task(second, path)
    assert equal(second(images()), first(images()))
    copy = deepcopy(second)
    randomize(second.adapters)
    assert equal(copy(images()), first(images()))
    other = wrap(layout_backbone(), CONV, quantizer=ONE_BIT, **{**STEM, 'stem': 'NoStem'})
    with pytest.raises(ValueError, match="'stem': {'type': 'ConvStem', 'width': 4}"):
        load_task(other, path)


def test_an_unknown_stem_is_refused(tiny_timm_vit: Factory) -> None:
    with pytest.raises(ValueError, match=r"stem='JoinedCell' is unknown; use one of \['ConvStem',"):
        HighwayBackbone(tiny_timm_vit(), CONV, stem='JoinedCell')


def test_a_stem_of_another_grid_is_refused() -> None:
    """Patches of 16 x 16 pixels at a stride of 8 and without padding, beside a stem of stride 8."""
    with pytest.raises(
        ValueError, match=r'a grid of 8 x 8.*stride of the net, 8; .* grid of 7 x 7'
    ):
        HighwayBackbone(tiny_config('timm_pit'), CONV, stem='ConvStem')
