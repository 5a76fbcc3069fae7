"""Configs of mmdet and mmseg with a backbone in our wrappers: a sample of docs/compatibility.md."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import mmdet
import mmseg
import pytest
import torch

from benchmarks.peer_configs import check, configs
from benchmarks.peer_configs.__main__ import RESULTS, Results, groups_in_order, read_rows
from benchmarks.peer_configs.batches import make_batch
from benchmarks.peer_configs.check import Case
from benchmarks.peer_configs.compare import difference
from benchmarks.peer_configs.configs import WRAPPERS, backbone_parent, load, shipped_configs
from benchmarks.peer_configs.cuts import cut
from benchmarks.peer_configs.processes import make_row, run_group
from benchmarks.peer_configs.survey import group_of, survey
from benchmarks.peer_configs.tables import PAGE, tables
from benchmarks.peer_configs.verdicts import BARE, STAGES, WORKS, kind, verdict

ROOT = Path(__file__).resolve().parent.parent
LIMITS = Namespace(timeout=1200, memory=12)
SURVEYED = ('3.5.1', '1.4.2')  # mmdet and mmseg
SOFT_TEACHER = 'mmdet/soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
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
ATSS = 'mmdet/atss/atss_r'
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
    assert outcome.faults[0] == ('build', 'adapters learn at [0.5] of the base rate')
    assert outcome.faults[1][0] == 'predict_at_start'
    assert outcome.faults[1][1].startswith('start differs by')
    assert len(outcome.faults) == 2
    assert outcome.stage is None


def good(**changes: Any) -> dict[str, Any]:
    return check.Outcome(**changes).as_row()


def row_of(bare: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    return {'config': SMALL, 'bare': bare, 'in path': outcome, 'highway': outcome}


def test_a_crash_is_that_of_the_bare_model_only_before_it_ran() -> None:
    row = make_row(SMALL, {}, 'exit status -9')
    assert verdict(row, 'in path') == f'{BARE} (process: exit status -9)'
    seen = {(SMALL, 'bare'): good(), (SMALL, 'in path'): good()}
    row = make_row(SMALL, seen, 'exit status -9')
    assert verdict(row, 'in path') == WORKS
    assert verdict(row, 'highway') == 'fails (process: exit status -9)'


def test_verdicts() -> None:
    refused = row_of(good(), good(stage='build', words='ValueError: no.'))
    assert verdict(refused, 'in path') == 'refused: ValueError: no.'
    failed = row_of(good(), good(stage='predict_at_start', words='ValueError: no.'))
    assert verdict(failed, 'in path') == 'fails (predict at start: ValueError: no.)'
    wrong = row_of(good(), good(faults=[('build', 'one'), ('train_step_2', 'two')]))
    assert verdict(wrong, 'in path') == 'wrong: one; two'
    assert verdict(row_of(good(), good()), 'in path') == WORKS
    asked = row_of(good(), good(option="downsample='low-rank'"))
    assert verdict(asked, 'highway') == "works, with downsample='low-rank'"


@pytest.mark.parametrize(
    'failure',
    [
        good(stage='train_step_2', words='RuntimeError: no.'),
        good(faults=[('train_step_2', 'loss not finite')], stage='predict_at_end', words='no.'),
    ],
    ids=['error', 'fault'],
)
def test_a_wrapper_is_not_judged_from_where_the_bare_model_fails(failure: dict) -> None:
    place = STAGES.index('train_step_2')
    for number, stage in enumerate(STAGES[1:], start=1):
        for outcome in (good(stage=stage, words='other.'), good(faults=[(stage, 'other')])):
            expected = {BARE} if number >= place else {'wrong', 'fails'}
            assert kind(verdict(row_of(failure, outcome), 'in path')) in expected
    assert kind(verdict(row_of(failure, good()), 'in path')) == BARE
    early = good(faults=[('build', 'rate'), ('train_step_2', 'loss not finite')])
    assert verdict(row_of(failure, early), 'in path') == 'wrong: rate'


def test_size_and_rate_are_changed_as_the_bare_model_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def of(name: str, folder: Path, size: int, rate: float) -> Any:
        tried.append((size, rate))
        outcome = check.Outcome()
        if size < 448:
            outcome = check.Outcome('predict_at_start', 'RuntimeError: Output size is too small')
        elif rate == 1.0:
            outcome.faults.append(('train_step_2', 'loss not finite'))
        return Namespace(run_bare=lambda: outcome, size=size)

    monkeypatch.setattr(Case, 'of', of)
    case, outcome = check.run_bare(SMALL, Path())
    assert tried == [(64, 1.0), (128, 1.0), (448, 1.0), (448, check.LOW_RATE)]
    assert case is not None and case.size == 448
    assert outcome == check.Outcome()


def test_what_neither_size_nor_rate_mends_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = check.Outcome('train_step_1', 'RuntimeError: sizes differ')
    monkeypatch.setattr(Case, 'of', lambda *args: Namespace(run_bare=lambda: failed))
    assert check.run_bare(SMALL, Path())[1] is failed


@pytest.mark.slow
def test_a_net_for_which_64_pixels_are_too_small_gets_more(tmp_path: Path) -> None:
    name = 'mmdet/detectors/detectors_cascade-rcnn_r50_1x_coco.py'
    case, bare = check.run_bare(name, tmp_path)
    assert case is not None and case.size == 128
    assert not bare.stage and not bare.faults


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


@pytest.mark.parametrize(
    ('name', 'other', 'equal'),
    [
        (f'{ATSS}50_fpn_1x_coco.py', f'{ATSS}101_fpn_1x_coco.py', True),
        (f'{ATSS}50_fpn_1x_coco.py', f'{ATSS}18_fpn_8xb8-amp-lsj-200e_coco.py', False),
        (
            'mmseg/fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py',
            'mmseg/fcn/fcn_r101-d8_4xb4-20k_voc12aug-512x512.py',
            True,
        ),
    ],
    ids=['depth', 'kind of block', 'classes'],
)  # fmt: skip
def test_configs_that_differ_in_what_is_cut_are_equal(name: str, other: str, equal: bool) -> None:
    assert (group_of(load(name)) == group_of(load(other))) is equal


@pytest.mark.parametrize(
    ('name', 'field'),
    [
        ('mmdet/fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', 'proposals'),
        ('mmdet/centernet/centernet_r18_8xb16-crop512-140e_coco.py', 'border'),
        ('mmdet/rtmdet/classification/cspnext-s_8xb256-rsb-a1-600e_in1k.py', 'gt_label'),
        ('mmdet/reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py', 'gt_label'),
        ('mmseg/fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py', 'gt_sem_seg'),
    ],
)
def test_batches_have_what_models_read(name: str, field: str) -> None:
    if 'classification' in name or 'reid' in name:
        pytest.importorskip('mmpretrain')
    batch = make_batch(cut(load(name)), 2, 64)
    assert [tuple(image.shape[:2]) for image in batch['inputs']] == [(3, 64)] * 2
    assert all(field in sample for sample in batch['data_samples'])


def test_batches_of_several_branches_and_of_images_resized_to_one_size() -> None:
    branches = make_batch(cut(load(SOFT_TEACHER)), 2, 64)['inputs']
    assert set(branches) == {'sup', 'unsup_teacher', 'unsup_student'}
    yolact = make_batch(cut(load('mmdet/yolact/yolact_r50_1xb8-55e_coco.py')), 2, 64)
    assert [tuple(image.shape) for image in yolact['inputs']] == [(3, 64, 64)] * 2


def test_reid_pools_the_whole_map_of_a_smaller_image() -> None:
    name = 'mmdet/reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'
    assert load(name).model.neck.kernel_size == (8, 4)  # of 256 x 128 pixels
    assert cut(load(name), size=128).model.neck.kernel_size == (4, 4)


def test_darknet_keeps_its_only_depth() -> None:
    assert cut(load('mmdet/yolo/yolov3_d53_8xb8-320-273e_coco.py')).model.backbone.depth == 53


def test_new_backbones_lead_and_new_pairs_follow() -> None:
    def row(config: str, backbone: str, head: str, group: str, **more: Any) -> dict[str, Any]:
        name = f'mmdet/{config}.py'
        return dict(config=name, backbone=backbone, model='M', head=head, group=group, **more)

    rows = [
        row('a', 'R', 'X', '1', bare={}), row('b', 'R', 'X', '2'),
        row('c', 'R', 'Y', '3'), row('d', 'R', 'Y', '4'), row('e', 'R', 'Y', '4'),
        row('f', 'R', 'Z', '5'), row('g', 'S', 'X', '6'), row('h', 'S', 'X', '7'),
        row('i', 'S', 'X', '7'), row('j', 'S', 'Y', '8'),
    ]  # fmt: skip
    order = groups_in_order({r['config']: r for r in rows}, [r['config'] for r in rows])
    letters = [''.join(name[6] for name in group) for group in order]
    assert letters == ['hi', 'de', 'f', 'j', 'b', 'c', 'g']


def test_a_new_survey_keeps_what_ran(tmp_path: Path) -> None:
    results = Results(tmp_path / 'rows.jsonl')
    results.add({'config': 'a', 'group': '1', 'bare': good()})
    results.add({'config': 'b', 'refused': 'no.'})
    results.replace({'config': 'a', 'group': '2'})
    results.replace({'config': 'b', 'group': '3'})
    results.sort()
    assert read_rows(results.path) == results.rows
    assert results.rows['a'] == {'config': 'a', 'group': '2', 'bare': good()}
    assert results.rows['b'] == {'config': 'b', 'group': '3'}


def test_only_the_backbone_is_wrapped() -> None:
    model = load(SMALL).model
    wrapped = configs.wrapped(model, 'highway')
    found = backbone_parent(wrapped)
    assert found is not None
    parent, key = found
    assert parent[key].type == 'mmqadapter.HighwayBackbone'
    parent[key] = parent[key].backbone
    assert wrapped == model


def test_counts_and_shares() -> None:
    pair = dict(model='M', head='H', backbone='B')
    failed = good(stage='build', words='no.')
    rows = [
        {**pair, **row_of(good(), good())},
        {**pair, **row_of(failed, failed)},
        {**pair, **row_of(good(), failed)},
        pair,
        {**pair, 'head': 'other'},
        {**pair, 'refused': 'no.'},
        {},
    ]
    text = tables({**row, 'config': f'mmdet/{i}.py'} for i, row in enumerate(rows))
    assert '7 config files, 6 with a model. 1 have a backbone that is not supported; 5 have' in text
    assert '3 of these have run. 2 have not run yet; of 1 of them another config' in text
    assert '| share that works, of those whose bare model runs | 50.0% | 50.0% |' in text
    assert 'with backbones not supported' not in text
    complete = rows[:3] + rows[5:]
    text = tables({**row, 'config': f'mmdet/{i}.py'} for i, row in enumerate(complete))
    assert 'All of these have run:' in text
    assert '| the same, with backbones not supported | 33.3% | 33.3% |' in text


@pytest.mark.skipif(
    (mmdet.__version__, mmseg.__version__) != SURVEYED,
    reason='other packages ship other configs: the table is of mmdet 3.5.1 and mmseg 1.4.2',
)
def test_every_shipped_config_has_its_row() -> None:
    assert set(read_rows(RESULTS)) == set(shipped_configs())


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    assert tables(read_rows(RESULTS).values()) in PAGE.read_text(encoding='utf-8')
