from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from tiny_data import CLASSES
from tiny_runs import SCHEDULE, SEMANTIC, SWIN

from mmqadapter import inspect_task, save_task
from mmqadapter.studies.planner.plan import Candidate, candidates, make_plan
from mmqadapter.studies.planner.table import nearest_line

GAUSSIAN = dict(type='GaussianQuantizer')
ADAPTED = dict(type='mmqadapter.AdaptedBackbone', adapter=dict(type='AdaptFormer', width=4))
WRAPPERS: dict[str, dict[str, Any]] = {
    'in path': {**ADAPTED, 'quantizer': dict(type='GaussianQuantizer', bits=1)},
    'by channel': {
        **ADAPTED,
        'quantizer': dict(type='GaussianQuantizer', bits=4, criterion='l2', granularity='channel'),
    },
    'highway': dict(
        type='mmqadapter.HighwayBackbone',
        adapter=dict(type='DualLowRankAdapter', rank=8, scale='learned'),
        downsample='low-rank',
    ),
}


def config(folder: Path, wrapper: dict[str, Any]) -> Config:
    """Return the config of a tiny segmentor whose pretrained weights do not exist."""
    missing = dict(type='Pretrained', checkpoint='missing.pth')
    net = {'type': 'mmseg.SwinTransformer', **SWIN, 'init_cfg': missing}
    values = dict(backbone={**wrapper, 'backbone': net}, root='no/data', classes=CLASSES)
    text = SEMANTIC + SCHEDULE
    for name, value in {**values, 'lr': 0.1, 'best': None}.items():
        text = text.replace(f'{{{name}!r}}', repr(value))
    (folder / 'tiny.py').write_text(text)
    return Config.fromfile(folder / 'tiny.py')


def written_sizes(cfg: Config, candidate: Candidate, name: str, path: Path) -> dict[str, int]:
    """Write the task file of a model with the settings of ``candidate``, and return its sizes."""
    init_default_scope('mmseg')
    backbone = cfg.model.backbone
    quantizer = {**(backbone.get('quantizer') or GAUSSIAN), 'bits': candidate.bits}
    adapter = {**backbone.adapter, name: candidate.width}
    net = {**backbone.backbone, 'init_cfg': None}
    changed = {**backbone, 'adapter': adapter, 'quantizer': quantizer, 'backbone': net}
    model = MODELS.build({**cfg.model, 'backbone': changed})
    palette = cfg_palette(cfg)
    meta = dict(classes=list(CLASSES), palette=palette)
    save_task(model, path, dataset_meta=meta, head_bits=candidate.head_bits)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert candidate.trainable_parameters == trained
    adapters = sum(p.numel() for p in model.backbone.adapters.parameters())
    assert candidate.adapter_parameters == adapters
    return inspect_task(path)['bytes']


def cfg_palette(cfg: Config) -> list[list[int]]:
    """Return the palette that mmseg generates for a data set that has none."""
    from mmseg.datasets import BaseSegDataset

    dataset = BaseSegDataset(metainfo=dict(classes=CLASSES), lazy_init=True, pipeline=[])
    return [[int(value) for value in color] for color in dataset.metainfo['palette']]


@pytest.mark.parametrize('kind', WRAPPERS)
def test_bytes_are_those_of_written_files(kind: str, tmp_path: Path) -> None:
    cfg = config(tmp_path, WRAPPERS[kind])
    name = 'rank' if kind == 'highway' else 'width'
    planned = list(candidates(cfg, widths=(2, 9), head_bits=(32, 8)))
    assert len(planned) == 2 * 5 * 2
    for candidate in planned:
        sizes = written_sizes(cfg, candidate, name, tmp_path / 'x.task.safetensors')
        assert (candidate.adapter_bytes, candidate.file_bytes) == (sizes['adapters'], sizes['file'])


def test_fitting_candidates_are_sorted_and_the_nearest_is_named(tmp_path: Path) -> None:
    cfg = config(tmp_path, WRAPPERS['in path'])
    everything = make_plan(cfg, 10**9, widths=(1, 2, 4), head_bits=(16, 4))
    assert len(everything.fits) == 3 * 5 * 2 and everything.nearest is None
    assert 'All of these combinations fit' in nearest_line(everything)
    sizes = sorted(candidate.file_bytes for candidate in everything.fits)
    plan = make_plan(cfg, sizes[12], widths=(1, 2, 4), head_bits=(16, 4))
    assert {candidate.file_bytes for candidate in plan.fits} == set(sizes[:13])
    order = [(candidate.width, candidate.bits, candidate.head_bits) for candidate in plan.fits]
    assert order == sorted(order, reverse=True)
    assert plan.nearest is not None
    assert plan.nearest.file_bytes == min(size for size in sizes if size > sizes[12])
    assert f'{plan.nearest.file_bytes - sizes[12]:,} too many' in nearest_line(plan)
    widths = {(candidate.bits, candidate.head_bits): candidate.width for candidate in plan.widest}
    assert len(widths) == len(plan.widest)
    assert all(
        widths[candidate.bits, candidate.head_bits] >= candidate.width for candidate in plan.fits
    )


def test_limit_on_the_adapters_alone(tmp_path: Path) -> None:
    cfg = config(tmp_path, WRAPPERS['in path'])
    # One bit: 4 blocks of 8, 8, 16 and 16 channels, two matrices each.
    plan = make_plan(cfg, 112, limited='adapters', widths=(4,))
    assert [
        (candidate.bits, candidate.adapter_bytes, candidate.head_bits) for candidate in plan.fits
    ] == [(1, 112, 32)]
    assert plan.nearest is not None and plan.nearest.bits == 2
    file = make_plan(cfg, 112, widths=(4,), head_bits=(32,))
    assert file.fits == [] and '--of adapters plans the adapters alone' in nearest_line(file)


def test_too_few_weights_for_a_quantizer_stay_float(tmp_path: Path) -> None:
    cfg = config(tmp_path, WRAPPERS['by channel'])
    assert [candidate.bits for candidate in candidates(cfg, widths=(1,), head_bits=(32,))] == [32]


@pytest.mark.parametrize(
    ('wrapper', 'options', 'message'),
    [
        (dict(type='mmqadapter.FrozenBackbone'), {}, 'FrozenBackbone.* has no adapters to plan'),
        (ADAPTED, dict(limited='head'), "limited='head' is invalid"),
        (ADAPTED, dict(widths=(0,)), 'width=0'),
        (ADAPTED, dict(head_bits=(3,)), 'head_bits=3'),
    ],
)
def test_invalid_plan_is_refused(wrapper, options, message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_plan(config(tmp_path, wrapper), 1000, **options)
