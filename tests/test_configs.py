"""Every shipped config builds without a network and puts its model together as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
from mmengine.config import Config

from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.own_data.models import describe_model
from mmqadapter.quant import quantized_weights
from mmqadapter.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS
from mmqadapter.utils.tuned_backbone import tuned_backbone

ROOT = Path(__file__).resolve().parent.parent / 'configs'
CONFIGS = sorted(path for where in ('', 'templates/', 'zoo/') for path in ROOT.glob(f'{where}*.py'))
IDS = [str(path.relative_to(ROOT)) for path in CONFIGS]


def dicts(node: Any) -> Iterator[dict]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from dicts(child)


# Nets that are cut to few blocks: their size does not change how a config puts a model together.
CUT = {
    'dinov': dict(depth=4, out_indices=(0, 1, 2, 3)),
    'convnext': dict(depths=(1, 1, 1, 1)),
    'MixVisionTransformer': dict(num_layers=(1, 1, 1, 1)),
}


def offline(cfg: Config) -> Config:
    """Random weights, batch norm that needs no process group, and few blocks."""
    for node in dicts(cfg.model):
        net = node.get('model_name', str(node.get('type')))
        cut = next((cut for name, cut in CUT.items() if name in net), {})
        count = len(node['out_indices']) if 'out_indices' in node else 0
        node.update({k: v[-count:] if k == 'out_indices' else v for k, v in cut.items()})
        for key in ('init_cfg', 'checkpoint'):
            if key in node:
                node[key] = None
        if node.get('pretrained'):
            node['pretrained'] = False
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
    return cfg


@pytest.mark.parametrize('path', CONFIGS, ids=IDS)
def test_config_builds(path: Path) -> None:
    cfg = offline(load_config(path))
    model = build_model(cfg)
    backbone = tuned_backbone(model)
    plain = '_full_' in path.name or path.name.startswith('demo_')  # the demo sets its methods
    assert (backbone is None) == plain
    widths = {quantizer.bits for _, quantizer, _ in quantized_weights(model)}
    assert widths == ({1} if backbone is not None and len(backbone.adapters) else set())


@pytest.mark.parametrize('path', CONFIGS, ids=IDS)
def test_config_names_what_exists_and_how_it_is_launched(path: Path) -> None:
    cfg = load_config(path)
    text = path.read_text()
    assert f'python tools/train.py configs/{path.relative_to(ROOT)}' in text or 'demo' in path.name
    assert len(text.splitlines()) <= 50
    for hook in [*cfg.custom_hooks, cfg.default_hooks.checkpoint]:
        assert HOOKS.get(hook.type) is not None
    assert cfg.default_hooks.checkpoint.type == 'mmqadapter.TaskCheckpointHook'
    assert OPTIM_WRAPPER_CONSTRUCTORS.get(cfg.optim_wrapper.constructor) is not None


@pytest.mark.parametrize('name', ['upernet_vit-tiny_qadapter_camvid.py'])
def test_32_bits_is_one_override(name: str) -> None:
    cfg = offline(load_config(ROOT / name, {'model.backbone.quantizer.bits': 32}))
    assert not list(quantized_weights(build_model(cfg)))


@pytest.mark.parametrize('name', ['dinov3-s', 'dinov3-l', 'dinov2-s', 'dinov2-b', 'dinov2-l'])
@pytest.mark.parametrize('config', ['upernet', 'mask2former', 'mask-rcnn', 'dino'])
def test_plain_vits_by_name(config: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps, crops and strides are those of the net that the environment names."""
    monkeypatch.setenv('MMQADAPTER_VIT', name)
    cfg = load_config(next(ROOT.glob(f'{config}_dino-vit_highway_*.py')))
    net = cfg.model.backbone.backbone
    described = describe_model(net.model_name)
    assert timm.is_model_pretrained(net.model_name)
    assert tuple(net.out_indices) == described.out_indices[-len(net.out_indices) :]
    assert cfg.model.data_preprocessor.mean == list(described.mean)
    assert cfg.model.data_preprocessor.std == list(described.std)
    necks = cfg.model.neck if isinstance(cfg.model.neck, list) else [cfg.model.neck]
    assert necks[0].get('embed_dim', necks[0].get('in_channels', [0])[0]) == described.channels[0]
    if config in ('upernet', 'mask2former'):
        crop = next(s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'RandomCrop')
        assert tuple(crop.crop_size) == tuple(cfg.model.data_preprocessor.size)
        assert not any(side % described.patch for side in crop.crop_size)
    else:
        assert cfg.model.data_preprocessor.pad_size_divisor == 2 * described.patch
    if config == 'mask-rcnn':
        strides = [described.patch * scale / 4 for scale in (1, 2, 4, 8, 16)]
        assert cfg.model.rpn_head.anchor_generator.strides == strides
        assert cfg.model.roi_head.bbox_roi_extractor.featmap_strides == strides[:4]


def test_a_wrong_name_of_a_plain_vit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMQADAPTER_VIT', 'dinov3-giant')
    text = r"^config .*dino_vit\.py, line \d+: MMQADAPTER_VIT='dinov3-giant' is invalid: expected "
    with pytest.raises(ValueError, match=text):
        load_config(ROOT / 'upernet_dino-vit_highway_ade20k.py')
