"""A highway copied, loaded, saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from highways import DUAL, IN_PATH, trained, wrap
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint
from nets import ONE_BIT, backward, bare, detector, equal, images, randomize, segmentor
from torch import nn

from mmqadapter import load_task, save_task
from mmqadapter.backbones import HighwayBackbone
from mmqadapter.quant import quantized_weights

Factory = Callable[..., dict]


@IN_PATH
@torch.no_grad()
def test_ema_copy_is_independent(rotating_backbone: Factory, inpath_blocks: int) -> None:
    wrapped = trained(rotating_backbone(), inpath_blocks=inpath_blocks).eval()
    average = ExponentialMovingAverage(wrapped)
    before = wrapped(images())
    randomize(wrapped.adapters)
    after = wrapped(images())
    assert not equal(after, before)
    # Attention may compute in another order when no weight asks for a gradient.
    torch.testing.assert_close(average(images()), before, rtol=1e-5, atol=1e-5)
    randomize(average.module, 0.5)  # its trunk as well, whose mergings the highway inherits
    assert not equal(average(images()), before)
    assert equal(wrapped(images()), after)


@pytest.mark.parametrize('parent', [segmentor, detector])
@torch.no_grad()
def test_checkpoint_of_the_plain_model_loads(
    tiny_backbone: Factory, parent: Callable[[dict], nn.Module], tmp_path: Path
) -> None:
    """Norms and mergings on the highway are those of the loaded net too."""
    cfg = dict(type='mmqadapter.HighwayBackbone', backbone=tiny_backbone(), adapter=DUAL)
    plain, model = parent(tiny_backbone()), parent(cfg)
    plain.backbone.load_state_dict(bare(tiny_backbone()).state_dict())
    plain.requires_grad_(False).eval()
    torch.save({'meta': {}, 'state_dict': plain.state_dict()}, tmp_path / 'plain.pth')
    load_checkpoint(model, str(tmp_path / 'plain.pth'))
    model.eval()
    assert equal(model.backbone(images()), plain.backbone(images()))
    # Its maps lie otherwise in memory, for which a CPU may have another convolution.
    torch.testing.assert_close(model.extract_feat(images()), plain.extract_feat(images()))
    assert model.backbone.pretrained


@torch.no_grad()
def test_own_checkpoints_load_with_and_without_the_trunk(layout_backbone: Factory) -> None:
    first = trained(layout_backbone()).eval()
    second, third = (HighwayBackbone(layout_backbone(), DUAL).eval() for _ in range(2))
    second.load_state_dict(first.state_dict(), strict=True)
    third.trunk.load_state_dict(first.trunk.state_dict())
    state = {k: v for k, v in first.state_dict().items() if not k.startswith('trunk.')}
    third.load_state_dict(state, strict=True)
    for other in (second, third):
        assert equal(other(images()), first(images()))


@torch.no_grad()
def test_weights_of_a_head_alone_leave_the_norms_as_they_are(tiny_timm_swin: Factory) -> None:
    model = segmentor(
        dict(type='mmqadapter.HighwayBackbone', backbone=tiny_timm_swin(), adapter=DUAL)
    )
    randomize(model.backbone.adapters)
    before = model.backbone(images())
    head = {k: v for k, v in model.state_dict().items() if k.startswith('decode_head.')}
    model.load_state_dict(head, strict=False)
    assert equal(model.backbone(images()), before)


def test_keys_of_the_trunk_are_those_of_the_bare_net(tiny_backbone: Factory) -> None:
    keys = wrap(tiny_backbone(), inpath_blocks=1).state_dict().keys()
    trunk = {key.removeprefix('trunk.') for key in keys if not key.startswith('adapters.')}
    assert trunk == set(bare(tiny_backbone()).state_dict())


@pytest.mark.parametrize('bits', [1, 4, 32])
@pytest.mark.parametrize('downsample', ['inherited', 'low-rank'])
@torch.no_grad()
def test_task_file_there_and_back(
    rotating_backbone: Factory, tmp_path: Path, bits: int, downsample: str
) -> None:
    kwargs = dict(
        quantizer=dict(type='GaussianQuantizer', bits=bits), downsample=downsample, inpath_blocks=1
    )
    first = trained(rotating_backbone(), **kwargs).eval()
    save_task(first, tmp_path / 'a.task.safetensors')
    for trainable in (False, True):
        second = wrap(rotating_backbone(), saved_taps='int8', **kwargs).eval()
        load_task(second, tmp_path / 'a.task.safetensors', trainable=trainable)
        if not trainable or bits == 32:
            assert equal(second(images()), first(images()))
        else:
            maps = zip(second(images()), first(images()), strict=True)
            assert all((a - b).norm() < 0.2 * b.norm() for a, b in maps)
    other = wrap(rotating_backbone(), taps='stream', **kwargs)
    with pytest.raises(ValueError, match="'taps': 'branch'"):
        load_task(other, tmp_path / 'a.task.safetensors')


def test_a_folded_task_keeps_nothing_of_its_matrices(
    tiny_timm_swin: Factory, tmp_path: Path
) -> None:
    """After loading for prediction, biases and norms are all that still may train."""
    first = trained(tiny_timm_swin(), quantizer=ONE_BIT)
    save_task(first, tmp_path / 'a.task.safetensors')
    second = wrap(tiny_timm_swin(), quantizer=ONE_BIT)
    load_task(second, tmp_path / 'a.task.safetensors')
    latents = {id(latent) for _, _, latent in quantized_weights(second)}
    gradients = backward(second)
    for name, parameter in second.named_parameters():
        trains = name.startswith('adapters.') and id(parameter) not in latents
        assert (gradients[name] is not None) == trains, name
