"""Configs of mmdet and mmseg with a backbone in our wrappers: a sample of docs/compatibility.md."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.peer_configs import check, configs
from benchmarks.peer_configs.__main__ import RESULTS, crashed, read_rows, run_group
from benchmarks.peer_configs.check import Case
from benchmarks.peer_configs.compare import difference
from benchmarks.peer_configs.configs import WRAPPERS, backbone_parent, load, shipped_configs
from benchmarks.peer_configs.cuts import cut
from benchmarks.peer_configs.survey import survey
from benchmarks.peer_configs.tables import PAGE, SAME, WORKS, kind, tables, verdict

ROOT = Path(__file__).resolve().parent.parent
LIMITS = Namespace(timeout=1200, memory=12)
SAMPLE = (
    'mmdet/maskformer/maskformer_swin-l-p4-w12_64xb1-ms-300e_coco.py',
    'mmdet/dino/dino-5scale_swin-l_8xb2-12e_coco.py',
    'mmdet/ddq/ddq-detr-4scale_swinl_8xb2-30e_coco.py',
    'mmdet/dyhead/atss_swin-l-p4-w12_fpn_dyhead_ms-2x_coco.py',
    'mmdet/glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py',
    'mmdet/mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py',
    'mmdet/mask2former_vis/mask2former_swin-l-p4-w12-384-in21k_8xb2-8e_youtubevis2021.py',
    'mmdet/mm_grounding_dino/grounding_dino_swin-t_finetune_8xb4_20e_cat.py',
    'mmdet/rtmdet/rtmdet_l_swin_b_p6_4xb16-100e_coco.py',
    'mmdet/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'mmdet/rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'mmseg/hrnet/fcn_hr18s_4xb4-80k_ade20k-512x512.py',
    'mmdet/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
    'mmdet/swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py',
    'mmdet/v3det/deformable-detr-refine-twostage_swin_16xb2_sample1e-3_v3det_50e.py',
    'mmseg/dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py',
    'mmseg/knet/knet-s3_swin-t_upernet_8xb2-adamw-80k_ade20k-512x512.py',
    'mmseg/mask2former/mask2former_swin-t_8xb2-160k_ade20k-512x512.py',
    'mmseg/maskformer/maskformer_swin-t_upernet_8xb2-160k_ade20k-512x512.py',
    'mmseg/san/san-vit-b16_coco-stuff164k-640x640.py',
    'mmseg/segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py',
    'mmseg/setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py',
    'mmseg/vit/vit_deit-s16-ln_mln_upernet_8xb2-160k_ade20k-512x512.py',
)
SMALL = 'mmdet/swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py'


@pytest.mark.slow
@pytest.mark.parametrize('name', SAMPLE)
def test_config_works_by_type_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', str(ROOT))  # children of other tests have no transformers
    (row,) = run_group([name], LIMITS)
    for wrapper in WRAPPERS:
        assert verdict(row, wrapper) == WORKS


@pytest.mark.slow
def test_faults_are_found(tmp_path: Path) -> None:
    case = Case.of(SMALL, tmp_path)
    case.cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={'adapters': dict(lr_mult=0.5)})
    assert not case.run_bare().stage
    case.bare_start = {name: tensor + 1 for name, tensor in case.bare_start.items()}
    outcome = case.run_wrapped('in path')
    assert outcome.faults[0] == 'adapters learn at [0.5] of the base rate'
    assert outcome.faults[1].startswith('start differs by')
    assert len(outcome.faults) == 2
    assert outcome.stage is None


def test_a_crash_costs_one_row() -> None:
    row = crashed(SMALL, 'exit status -9: ')
    assert verdict(row, 'highway') == f'{SAME} (process: exit status -9: )'
    row['bare'] = good()
    assert kind(verdict(row, 'highway')) == 'fails'


def good(**changes: Any) -> dict[str, Any]:
    return vars(check.Outcome(**changes))


def test_verdicts() -> None:
    row = {'bare': good(), 'in path': good(stage='build', words='ValueError: no.')}
    assert verdict(row, 'in path') == 'refused: ValueError: no.'
    row['in path'] = good(stage='predict_at_start', words='ValueError: no.')
    assert verdict(row, 'in path') == 'fails (predict at start: ValueError: no.)'
    row['bare'] = row['in path']
    assert kind(verdict(row, 'in path')) == SAME
    row['in path'] = good(faults=['one', 'two'])
    assert verdict(row, 'in path') == 'wrong: one; two'
    assert verdict({**row, 'in path': good()}, 'in path') == WORKS


def test_differences_are_relative_and_count_ties() -> None:
    one = {'scores': torch.tensor([4.0, 1.0]), 'labels': torch.tensor([1, 2])}
    assert difference(one, one) == 0
    assert difference(one, {**one, 'scores': torch.tensor([4.0, 3.0])}) == 0.5
    assert difference(one, {**one, 'labels': torch.tensor([1, 3])}) == 0.5
    assert difference(one, {**one, 'labels': torch.tensor([1])}) == float('inf')
    assert difference(one, {}) == float('inf')


@pytest.mark.parametrize('name', ['mmseg/unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py'])
def test_a_backbone_outside_the_table_is_refused(name: str) -> None:
    row = survey(name)
    assert row['backbone'] == 'UNet'
    assert row['refused'].startswith('ValueError: backbone=UNet is not supported')


def test_cuts_leave_kinds_and_widths() -> None:
    shipped = load('mmseg/dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py')
    small = cut(shipped)
    assert shipped.model.backbone.num_layers == 12  # unchanged
    assert small.model.backbone.num_layers == 4
    assert small.model.backbone.out_indices == (0, 1, 2, 3)
    for key in ('type', 'embed_dims', 'num_heads', 'output_cls_token'):
        assert small.model.backbone[key] == shipped.model.backbone[key]


def test_only_the_backbone_is_wrapped() -> None:
    model = load(SMALL).model
    wrapped = configs.wrapped(model, 'highway')
    found = backbone_parent(wrapped)
    assert found is not None
    parent, key = found
    assert parent[key].type == 'mmqadapter.HighwayBackbone'
    parent[key] = parent[key].backbone
    assert wrapped == model


def test_configs_that_have_not_run_are_counted() -> None:
    rows = [{'config': 'mmdet/a.py', 'model': 'A', 'group': '1'}, {'config': 'mmdet/b.py'}]
    assert '2 config files, 1 with a model. 0 ' in tables(rows)
    assert '1 have one that is, of which 1 have not run yet' in tables(rows)


def test_every_shipped_config_has_its_row() -> None:
    assert set(read_rows(RESULTS)) == set(shipped_configs())


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    assert tables(read_rows(RESULTS).values()) in PAGE.read_text(encoding='utf-8')
