"""Weights that a parent model writes into a backbone's config reach the net inside a wrapper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from nets import bare, segmentor
from torch import nn

from mmqadapter.backbones import FrozenBackbone, TimmBackbone
from mmqadapter.backbones.weight_source import with_weights
from mmqadapter.registry import MODELS

Factory = Callable[..., dict]
WRAPPERS: dict[str, dict[str, Any]] = {
    'FrozenBackbone': {},
    'AdaptedBackbone': dict(adapter=dict(type='AdaptFormer', width=2)),
    'HighwayBackbone': dict(adapter=dict(type='ConvAdapter', width=2)),
}
EVERY_WRAPPER = pytest.mark.parametrize('wrapper', WRAPPERS)


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[dict], tuple[str, dict]]:
    """``weights(cfg)``: file of a tiny net's random weights, and the weights."""

    def save(cfg: dict) -> tuple[str, dict]:
        if 'convnext' in str(cfg):  # a file has all stages
            cfg = {**cfg, 'out_indices': (0, 1, 2, 3)}
        net = bare(cfg)
        state = net.model.state_dict() if isinstance(net, TimmBackbone) else net.state_dict()
        if cfg['type'] == 'mmdet.SwinTransformer':  # which expects the weights of a classifier
            state = {f'backbone.{key}': value for key, value in state.items()}
        torch.save(state, tmp_path / 'weights.pth')
        return str(tmp_path / 'weights.pth'), net.state_dict()

    return save


def wrap(wrapper: str, net: dict, **kwargs: Any) -> Any:
    config = dict(type=f'mmqadapter.{wrapper}', backbone=net, **WRAPPERS[wrapper], **kwargs)
    return MODELS.build(ConfigDict(config))


def has(net: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def pretrained(file: str) -> dict[str, str]:
    return dict(type='Pretrained', checkpoint=file)


@EVERY_WRAPPER
def test_a_file_of_the_parent_is_loaded(rotating_backbone: Factory, wrapper: str, weights) -> None:
    net = rotating_backbone()
    file, state = weights(net)
    for given in (dict(pretrained=file), dict(init_cfg=pretrained(file))):
        built = wrap(wrapper, net, **given)
        assert has(built.trunk, state) and built.pretrained
        built.init_weights()  # as the runner does
        assert has(built.trunk, state)


def test_every_net_loads_it(tiny_backbone: Factory, weights) -> None:
    file, state = weights(tiny_backbone())
    assert has(FrozenBackbone(tiny_backbone(), pretrained=file).trunk, state)
    assert has(FrozenBackbone(tiny_backbone(pretrained=file)).trunk, state)


def test_segmentor_with_pretrained_loads_what_the_bare_one_loads(
    tiny_mmseg_vit: Factory, weights, tmp_path: Path
) -> None:
    """`EncoderDecoder` writes `pretrained` into the backbone's config."""
    file, state = weights(tiny_mmseg_vit())
    for backbone in (
        tiny_mmseg_vit(),
        dict(type='mmqadapter.FrozenBackbone', backbone=tiny_mmseg_vit()),
    ):
        model = segmentor(backbone, pretrained=file)
        model.init_weights()
        assert has(getattr(model.backbone, 'trunk', model.backbone), state)


def test_part_of_a_checkpoint_as_san_writes_it(
    tiny_mmseg_vit: Factory, weights, tmp_path: Path
) -> None:
    _, state = weights(tiny_mmseg_vit())
    file = tmp_path / 'clip.pth'
    torch.save({f'image_encoder.{key}': value for key, value in state.items()}, file)
    init_cfg = dict(type='Pretrained_Part', checkpoint=str(file))
    built = FrozenBackbone(tiny_mmseg_vit(), init_cfg=init_cfg)
    assert has(built.trunk, state) and built.pretrained


@EVERY_WRAPPER
@pytest.mark.parametrize('given', ['pretrained', 'init_cfg'])
def test_nothing_is_no_source(rotating_backbone: Factory, wrapper: str, given: str) -> None:
    """mmdet's and mmseg's inference functions set `init_cfg=None`."""
    assert not wrap(wrapper, rotating_backbone(), **{given: None}).pretrained


def test_equal_sources_are_one(tiny_timm_vit: Factory, tiny_mmseg_vit: Factory, weights) -> None:
    file, state = weights(tiny_mmseg_vit())
    for own in (dict(pretrained=file), dict(init_cfg=pretrained(file))):
        built = FrozenBackbone(tiny_mmseg_vit(**own), pretrained=file, init_cfg=pretrained(file))
        assert has(built.trunk, state)
    file, state = weights(tiny_timm_vit())
    assert has(FrozenBackbone(tiny_timm_vit(checkpoint=file), pretrained=file).trunk, state)


@pytest.mark.parametrize(
    ('net', 'own', 'given', 'text'),
    [
        (
            'mmseg_vit',
            dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth')),
            dict(pretrained='b.pth'),
            r"pretrained='b\.pth' is invalid: backbone\.init_cfg=.*'a\.pth'.* names other weights",
        ),
        (
            'mmseg_vit',
            dict(pretrained='a.pth'),
            dict(init_cfg=dict(type='Pretrained_Part', checkpoint='a.pth')),
            r"init_cfg=.*Pretrained_Part.* is invalid: backbone\.pretrained='a\.pth' names other",
        ),
        (
            'mmdet_swin',
            dict(),
            dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth'), pretrained='b.pth'),
            r"pretrained='b\.pth' is invalid: init_cfg=.*'a\.pth'.* names other weights",
        ),
        (
            'timm_vit',
            dict(checkpoint='a.pth'),
            dict(pretrained='b.pth'),
            r"pretrained='b\.pth' is invalid: backbone\.checkpoint='a\.pth' names other weights",
        ),
        (
            'timm_vit',
            dict(pretrained=True),
            dict(pretrained='b.pth'),
            r"pretrained='b\.pth' is invalid: backbone\.pretrained=True names other weights",
        ),
        (
            'mmseg_vit',
            dict(init_cfg=[dict(type='Normal', layer='Linear')]),
            dict(pretrained='b.pth'),
            r"pretrained='b\.pth' is invalid: backbone\.init_cfg=\[.*names other weights",
        ),
    ],
)
def test_two_sources_are_refused(
    request: pytest.FixtureRequest, net: str, own: dict, given: dict, text: str
) -> None:
    config = request.getfixturevalue(f'tiny_{net}')(**own)
    with pytest.raises(ValueError, match=text):
        FrozenBackbone(config, **given)


@pytest.mark.parametrize('net', ['mmseg_vit', 'mmdet_swin'])
def test_a_value_that_the_net_does_not_take(request: pytest.FixtureRequest, net: str) -> None:
    config = request.getfixturevalue(f'tiny_{net}')()
    with pytest.raises(ValueError, match='cannot be built: pretrained must be a str or None'):
        FrozenBackbone(config, pretrained=True)


def test_a_missing_file_is_an_error_everywhere(tiny_backbone: Factory) -> None:
    with pytest.raises(FileNotFoundError):
        FrozenBackbone(tiny_backbone(), pretrained='nothing.pth')


@pytest.mark.parametrize('file', ['', 'nothing.pth'])
def test_a_missing_file_of_timm(tiny_timm_vit: Factory, file: str) -> None:
    for given in (dict(checkpoint=file), dict(pretrained=file)):
        with pytest.raises(FileNotFoundError, match='is not a file'):
            MODELS.build(tiny_timm_vit(**given))


@pytest.mark.parametrize(
    'given',
    [
        dict(init_cfg=dict(type='Normal')),
        dict(init_cfg=dict(type='Pretrained', checkpoint='a.pth', prefix='backbone.')),
        dict(init_cfg=[dict(type='Pretrained', checkpoint='a.pth')]),
        dict(checkpoint='a.pth', pretrained='b.pth'),
    ],
    ids=str,
)
def test_sources_that_timm_nets_do_not_take(tiny_timm_vit: Factory, given: dict) -> None:
    with pytest.raises(ValueError, match='is invalid: expected one source of weights'):
        MODELS.build(tiny_timm_vit(**given))


class _Old(BaseModule):
    """Net of the kind that takes `pretrained` alone."""

    def __init__(self, pretrained: str | None = None) -> None:
        super().__init__()
        self.file = pretrained


class _Deaf(BaseModule):
    """Net that takes no weights."""

    def __init__(self) -> None:
        super().__init__()


def test_nets_without_init_cfg(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (_Old, _Deaf):
        monkeypatch.setitem(ROOT_MODELS._module_dict, cls.__name__, cls)
    for given in (('a.pth', None), (None, pretrained('a.pth'))):
        assert with_weights(dict(type='_Old'), *given) == dict(type='_Old', pretrained='a.pth')
        with pytest.raises(ValueError, match='_Deaf takes no weights; set load_from'):
            with_weights(dict(type='_Deaf'), *given)
    with pytest.raises(ValueError, match="init_cfg=.*'Normal'.* is invalid: _Old takes no weights"):
        with_weights(dict(type='_Old'), None, dict(type='Normal'))
