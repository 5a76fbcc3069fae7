"""One adapter for all blocks of equal width, stored once."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from nets import ADAPTERS, ONE_BIT, backward, bare, equal, images, randomize

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.backbones import AdaptedBackbone

Factory = Callable[..., dict]
SHAREABLE = [*ADAPTERS, 'ssf']
CONFIGS = {**ADAPTERS, 'ssf': dict(type='SSF')}


def shared(cfg: dict, adapter: str, **kwargs: Any) -> AdaptedBackbone:
    torch.manual_seed(0)
    wrapped = AdaptedBackbone(cfg, CONFIGS[adapter], shared=True, **kwargs)
    wrapped.load_state_dict(bare(cfg).state_dict(), strict=False)
    randomize(wrapped.adapters)
    return wrapped


@pytest.mark.parametrize('adapter', SHAREABLE)
@torch.no_grad()
def test_it_is_one_adapter_in_all_blocks(tiny_timm_vit: Factory, adapter: str) -> None:
    one = shared(tiny_timm_vit(), adapter)
    many = AdaptedBackbone(tiny_timm_vit(), CONFIGS[adapter])
    many.load_state_dict(one.state_dict())  # the same weights in each block
    assert equal(one(images()), many(images()))
    counts = [sum(p.numel() for p in net.adapters.parameters()) for net in (one, many)]
    assert counts[1] == 3 * counts[0]


def test_stages_of_other_widths_have_their_own(tiny_mmdet_swin: Factory) -> None:
    wrapped = shared(tiny_mmdet_swin(), 'adaptformer')
    assert len(set(wrapped.adapters.children())) == 2
    assert len(wrapped.adapters) == 4


def test_its_gradient_is_the_sum_over_blocks(tiny_timm_vit: Factory) -> None:
    one = shared(tiny_timm_vit(), 'adaptformer')
    many = AdaptedBackbone(tiny_timm_vit(), CONFIGS['adaptformer'])
    many.load_state_dict(one.state_dict())
    gradients = {name: g for name, g in backward(many).items() if name.endswith('up.weight')}
    total = torch.stack([g for g in gradients.values() if g is not None]).sum(0)
    (found,) = (g for name, g in backward(one).items() if name.endswith('up.weight'))
    torch.testing.assert_close(found, total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('bits', [1, 32])
@torch.no_grad()
def test_a_task_file_holds_it_once(tiny_timm_vit: Factory, bits: int, tmp_path: Any) -> None:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    wrapped = shared(tiny_timm_vit(), 'adaptformer', quantizer=quantizer).eval()
    path, before = tmp_path / 'a.task.safetensors', wrapped(images())
    save_task(wrapped, path)
    statistics = 0 if bits == 32 else 2 * 8
    assert inspect_task(path)['bytes']['adapters'] == 2 * 16 * 4 * bits // 8 + statistics
    other = AdaptedBackbone(tiny_timm_vit(), CONFIGS['adaptformer'], quantizer, shared=True).eval()
    other.load_state_dict(bare(tiny_timm_vit()).state_dict(), strict=False)
    load_task(other, path)
    assert equal(other(images()), before)


@torch.no_grad()
def test_a_task_file_of_other_adapters_is_refused(tiny_timm_vit: Factory, tmp_path: Any) -> None:
    path = tmp_path / 'a.task.safetensors'
    save_task(shared(tiny_timm_vit(), 'adaptformer'), path)
    other = AdaptedBackbone(tiny_timm_vit(), CONFIGS['adaptformer'])
    assert 'shared' not in other.tuning_config  # files from before this option load
    with pytest.raises(ValueError, match=r"'shared': True.*build the model with the former"):
        load_task(other, path)


@torch.no_grad()
def test_a_copy_is_independent(tiny_timm_vit: Factory) -> None:
    wrapped = shared(tiny_timm_vit(), 'lora', quantizer=ONE_BIT)
    copy, before = deepcopy(wrapped), wrapped(images())
    randomize(wrapped.adapters, 0.5)
    assert equal(copy(images()), before)
    assert len(set(copy.adapters.children())) == 1


def test_text_is_no_flag(tiny_timm_vit: Factory) -> None:
    with pytest.raises(ValueError, match="shared='no' is invalid: expected True or False"):
        AdaptedBackbone(tiny_timm_vit(), CONFIGS['lora'], shared='no')
