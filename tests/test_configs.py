"""Every shipped config builds without a network and puts its model together as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmqadapter.engine.runner import build_model, load_config
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
