"""The zoo: recipes as published, and any method in each of them."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from test_configs import ROOT, offline

from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.studies.benchmark.methods import KNOWN, RECOMPUTED, parse_methods
from mmqadapter.utils.tuned_backbone import tuned_backbone

ZOO = sorted((ROOT / 'zoo').glob('*.py'))
METHODS = {path.stem for path in (ROOT / '_base_/methods').glob('*.py')}
DEFAULT = 'highway'
CHOSEN = 'MMQADAPTER_METHOD'
SHIPPED = 'as shipped'
# Fragments that are a method of tools/benchmark.py, by its name there.
SAME = {
    **{name: name for name in sorted(METHODS - {'full', DEFAULT})},
    'highway_published': 'highway@1',
    'highway_joined': 'highway-joined@1',
    'highway_standardized': 'highway-standardized@1',
}
NET = {'type': 'Net'}
REPORTS = ROOT.parent / 'benchmarks/results/cpu_report'
SIZES = json.loads((ROOT.parent / 'benchmarks/results/zoo/sizes.json').read_text())


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHOSEN, raising=False)


def fragment(name: str) -> dict[str, Any]:
    return Config.fromfile(ROOT / f'_base_/methods/{name}.py').method.to_dict()


def test_every_method_of_the_benchmark_has_its_fragment() -> None:
    named = {name.partition('@')[0] for name in SAME.values()} | {'full'}
    assert named == set(KNOWN) - {RECOMPUTED}


@pytest.mark.parametrize('name', SAME)
def test_a_fragment_is_the_method_of_the_benchmark(name: str) -> None:
    (method,) = parse_methods(SAME[name])
    expected, own = method.change(NET), {**fragment(name), 'backbone': NET}
    if own.get('quantizer', {}).get('bits') == 32:  # one override away from fewer
        del own['quantizer']
    expected.setdefault('train', ())
    own.setdefault('train', ())
    # The benchmark compares methods on the stock trunk.
    assert own.pop('trunk') == dict(attention='auto', mlp='auto', prepacked='auto')
    assert own == expected


# Where 1 bit was measured to want it (docs/highway.md).
WIDTHS = {
    'upernet_swin-distilled_highway_camvid.py': 64,
    'upernet_vit-tiny_highway_camvid.py': 64,
    'mask-rcnn_vit-tiny_highway_nuclei.py': 64,
}


def test_all_highways_of_the_configs_are_the_one_of_the_fragment() -> None:
    paths = [*ROOT.glob('*_highway_*.py'), *ZOO]
    expected = fragment(DEFAULT)
    assert len(paths) == 19 + 9
    for path in paths:
        backbone = load_config(path).model.backbone.to_dict()
        own = {**expected, 'adapter': {**expected['adapter'], 'width': WIDTHS.get(path.name, 32)}}
        assert backbone.pop('backbone') and backbone == own, path.name


@pytest.mark.parametrize('name', sorted(METHODS))
def test_any_method_is_one_word_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, name)
    cfg = load_config(ROOT / 'zoo/upernet_swin-t_160k_ade20k.py')
    backbone = tuned_backbone(build_model(offline(cfg)))
    trained = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    total = sum(p.numel() for p in backbone.trunk.parameters())
    assert trained == {'frozen': 0, 'full': total}.get(name, trained)
    assert (0 < trained < total) == (name not in ('frozen', 'full'))
    counted = {**SAME, 'full': 'full', DEFAULT: SHIPPED}[name]  # by its name in the table
    sizes = SIZES['upernet_swin-t_160k_ade20k'][counted]
    assert trained == sizes['trainable_backbone_params']
    assert cfg.optim_wrapper.optimizer.lr == (6e-5 if name == 'full' else 3e-4)


def test_the_page_has_a_line_for_each_config() -> None:
    page = (ROOT.parent / 'docs/zoo.md').read_text()
    assert SIZES.keys() == {path.stem for path in ZOO}
    for config, rows in SIZES.items():
        launch, sizes = f'`python tools/train.py configs/zoo/{config}.py`', rows[SHIPPED]
        assert f'| {launch} | {sizes["trainable_backbone_params"]:,} |' in page
        assert f'| {sizes["task_bytes"]:,} |' in page


def test_the_tables_of_the_page_are_those_of_the_counts_and_reports() -> None:
    script = runpy.run_path(str(ROOT.parent / 'benchmarks/zoo_table.py'))
    tables = script['tables'](SIZES)
    assert tables in (ROOT.parent / 'docs/zoo.md').read_text()
    measured = [line for line in tables.splitlines() if 'upernet_swin-b' in line]
    row = json.loads((REPORTS / 'upernet_swin-b/report.json').read_text())['rows'][-1]
    assert row['method'] == 'highway-joined@1'
    assert f'{row["saved_for_backward_bytes"] / 1e6:,.0f} / ' in measured[0]


def test_an_unknown_method_names_the_file_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, 'magic')
    with pytest.raises(FileNotFoundError, match='methods/magic.py'):
        load_config(ZOO[0])


# Drop path, learning rate, weight decay, mixed precision, length: as the released configs and logs
# of the tables' authors have them.
RECIPES = {
    'cascade-mask-rcnn_swin-b_3x_coco': (0.3, 1e-4, 0.05, True, 36),
    'cascade-mask-rcnn_swin-l_3x_coco': (0.3, 1e-4, 0.05, True, 36),
    'mask-rcnn_swin-t_3x_coco': (0.2, 1e-4, 0.05, True, 36),
    'mask-rcnn_vit-b_3x_coco': (0.0, 1e-4, 0.05, True, 36),
    'retinanet_swin-l_voc0712': (0.2, 1e-4, 0.05, True, 4),
    'upernet_swin-b_160k_ade20k': (0.3, 3e-4, 0.01, False, 160_000),
    'upernet_swin-l_160k_ade20k': (0.3, 3e-4, 0.01, False, 160_000),
    'upernet_swin-t_160k_ade20k': (0.3, 3e-4, 0.01, False, 160_000),
    'upernet_vit-b_160k_ade20k': (0.0, 3e-4, 0.01, False, 160_000),
}


@pytest.mark.parametrize('path', ZOO, ids=lambda path: path.stem)
def test_recipes_are_as_published(path: Path) -> None:
    cfg, (drop_path, rate, decay, amp, length) = load_config(path), RECIPES[path.stem]
    assert len(path.read_text().splitlines()) <= 40
    assert cfg.model.backbone.backbone.get('drop_path_rate', 0.0) == drop_path
    optimizer, loop = cfg.optim_wrapper.optimizer, cfg.train_cfg
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', rate, decay)
    assert (cfg.optim_wrapper.type == 'AmpOptimWrapper') == amp
    assert length in (loop.get('max_epochs'), loop.get('max_iters'))
    assert cfg.train_dataloader.batch_size == 2  # on each of 8 GPUs
    keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert keys.norm.decay_mult == 0
    assert keys.adapters.lr_mult * rate == pytest.approx(1e-3)


def test_adapters_of_rivals_take_the_rate_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN, 'mona')
    for path in ZOO:
        keys = load_config(path).optim_wrapper.paramwise_cfg.custom_keys
        assert keys.adapters.to_dict() == {'lr_mult': 1.0, 'decay_mult': 1.0}


def test_crops_and_schedule_of_coco_are_those_of_mmdet() -> None:
    stock = get_config('mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_amp-ms-crop-3x_coco.py')
    cfg = load_config(ROOT / 'zoo/mask-rcnn_swin-t_3x_coco.py')
    theirs, ours = (one.train_dataloader.dataset.to_dict() for one in (stock, cfg))
    for step in theirs['pipeline']:
        step.pop('backend_args', None)
    assert plain(ours['pipeline']) == plain(theirs['pipeline'])
    for ours, theirs in zip(cfg.param_scheduler, stock.param_scheduler, strict=True):
        assert ours == {key: theirs[key] for key in ours}
    net, stock_net = cfg.model.backbone.backbone, stock.model.backbone
    assert plain(net) == plain({key: stock_net[key] for key in net})
    assert plain(cfg.model.neck) == plain(stock.model.neck)


def plain(value: Any) -> Any:
    """Lists in the place of tuples."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def test_cascade_heads_are_those_of_the_published_tables() -> None:
    heads = load_config(ROOT / 'zoo/cascade-mask-rcnn_swin-b_3x_coco.py').model.roi_head.bbox_head
    assert [head.bbox_coder.target_stds for head in heads] == [
        [0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067],
    ]  # fmt: skip
    for head in heads:
        assert head.loss_bbox.type == 'GIoULoss' and head.norm_cfg.type == 'SyncBN'
        assert (head.num_shared_convs, head.num_shared_fcs) == (4, 1)
