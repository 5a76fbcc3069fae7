"""The fingerprint covers names, types, shapes and every bit of the frozen weights, nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone
from mmqadapter.taskfile import fingerprint

ADAPTER = dict(type='AdaptFormer', width=4)
Factory = Callable[..., dict]


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(2, 6, generator=generator) for name in ('b', 'a.weight', 'a.bias')}


def test_it_is_a_sha_256_that_can_be_computed_elsewhere() -> None:
    values = np.arange(6, dtype='<f4')
    expected = hashlib.sha256(b'w torch.float32 (2, 3)\n' + values.tobytes()).hexdigest()
    assert fingerprint({'w': torch.tensor(values).view(2, 3)}) == expected


def test_order_and_memory_layout_do_not_matter() -> None:
    before = weights()
    after = {name: before[name].T.contiguous().T for name in reversed(before)}
    assert fingerprint(after) == fingerprint(before)


@pytest.mark.parametrize(
    'change',
    [
        lambda w: w['b'].view(torch.int32)[1, 5].bitwise_xor_(1),
        lambda w: w.update(b=w['b'].half()),
        lambda w: w.update(b=w['b'].view(3, 4)),
        lambda w: w.update(c=w.pop('b')),
        lambda w: w.pop('b'),
    ],
    ids=['one bit', 'dtype', 'shape', 'name', 'missing'],
)
def test_any_other_change_shows(change: Callable[[dict], object]) -> None:
    changed = {name: w.clone() for name, w in weights().items()}
    change(changed)
    assert fingerprint(changed) != fingerprint(weights())


def test_adapters_are_not_covered(layout_backbone: Factory) -> None:
    torch.manual_seed(0)
    frozen = FrozenBackbone(layout_backbone())
    torch.manual_seed(0)
    adapted = AdaptedBackbone(layout_backbone(), ADAPTER)
    assert adapted.fingerprint == frozen.fingerprint


def test_another_trunk_has_another_fingerprint(layout_backbone: Factory) -> None:
    first, second = (FrozenBackbone(layout_backbone()) for _ in range(2))
    assert first.fingerprint != second.fingerprint
    second.load_state_dict(first.trunk.state_dict())
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize('name', ['tiny_mmseg_vit', 'tiny_timm_vit', 'tiny_dinov2'])
def test_the_size_of_position_embeddings_does_not_matter(
    name: str, request: pytest.FixtureRequest
) -> None:
    factory: Factory = request.getfixturevalue(name)
    size = 112 if name == 'tiny_dinov2' else 128
    small = FrozenBackbone(factory())
    large = FrozenBackbone(factory(img_size=(size, size)))
    state = {k: v for k, v in small.trunk.state_dict().items() if 'pos_embed' not in k}
    assert large.fingerprint != small.fingerprint
    large.trunk.load_state_dict(state, strict=False)
    large._fingerprint = None
    assert large.fingerprint == small.fingerprint


def test_a_cast_after_loading_does_not_matter(tiny_timm_vit: Factory) -> None:
    first, second = (FrozenBackbone(tiny_timm_vit()) for _ in range(2))
    second.load_state_dict(first.state_dict())
    assert second.half().fingerprint == first.fingerprint


def test_trained_weights_of_the_trunk_are_not_covered(tiny_timm_vit: Factory) -> None:
    backbone = FrozenBackbone(tiny_timm_vit(), train='norm')
    before = backbone.fingerprint
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    backbone._fingerprint = None
    assert backbone.fingerprint == before
