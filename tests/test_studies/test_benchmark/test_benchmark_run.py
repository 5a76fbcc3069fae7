"""Relations between the results of tiny models; no time in seconds is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmqadapter.compat.torch_names import OutOfMemoryError
from mmqadapter.quant import quantized_weights
from mmqadapter.studies.benchmark import candidate
from mmqadapter.studies.benchmark import run as benchmark
from mmqadapter.studies.benchmark.methods import parse_methods
from mmqadapter.studies.benchmark.report import write_report
from mmqadapter.studies.benchmark.run import run_benchmark
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.report.settings import Settings
from mmqadapter.utils.live_bytes import counts_live_bytes

METHODS = 'full,full+checkpointing,frozen,norm,adaptformer,adaptformer@1,highway@1'
KEYS = {
    *('method', 'bits', 'trainable_backbone_params', 'trainable_params', 'adapter_bytes'),
    *('task_bytes', 'full_model_bytes', 'saved_for_backward_bytes', 'peak_allocated_bytes'),
    *(
        'peak_live_bytes',
        'peak_reserved_bytes',
        'step_seconds',
        'forward_seconds',
        'backward_seconds',
    ),
    *('optimizer_seconds', 'memory_saving', 'time_saving', 'backbone_cost_left_time'),
    *('backbone_cost_left_memory', 'note', 'max_batch'),
}
QUICK = Settings(torch.device('cpu'), batch_size=1, steps=2, warm_up=0, image_size=(64, 64))


def run(cfg, methods: str, settings: Settings = QUICK) -> dict:
    return run_benchmark(cfg, parse_methods(methods), settings, lambda report: None)


@pytest.fixture(params=['mmseg', 'mmdet'])
def rows(request, tiny) -> dict[str, dict]:
    return {row['method']: row for row in run(tiny(request.param), METHODS)['rows']}


def test_rows_of_all_methods(rows: dict[str, dict]) -> None:
    assert list(rows) == METHODS.split(',')
    full, recomputed, frozen, norm, adapted, one_bit, highway = rows.values()
    for row in rows.values():
        assert row.keys() == KEYS
        assert row['peak_allocated_bytes'] is row['peak_reserved_bytes'] is row['note'] is None
        assert row['step_seconds'] > 0 and row['full_model_bytes'] == full['full_model_bytes']
        saved = row['saved_for_backward_bytes']
        saving = 1 - saved / full['saved_for_backward_bytes']
        assert row['memory_saving'] == pytest.approx(saving)
    assert [row['bits'] for row in rows.values()] == [None, None, None, None, 32, 1, 1]

    saved = [row['saved_for_backward_bytes'] for row in rows.values()]
    assert all(saved[2] < saved[index] < saved[0] for index in (1, 3, 6))
    live = [row['peak_live_bytes'] for row in rows.values()]
    if counts_live_bytes():
        assert all(live[2] < live[index] < live[0] for index in (1, 3, 6))
    else:
        assert set(live) == {None}
    cost_left = [row['backbone_cost_left_memory'] for row in rows.values()]
    assert cost_left[0] == 1 and cost_left[2] == 0 and 0 < cost_left[6] < 1
    assert full['time_saving'] == 0 and full['backbone_cost_left_time'] == 1

    assert full['adapter_bytes'] is None and full['task_bytes'] == full['full_model_bytes']
    assert recomputed['trainable_params'] == full['trainable_params']
    assert frozen['trainable_backbone_params'] == frozen['adapter_bytes'] == 0
    assert 0 < norm['trainable_backbone_params'] < full['trainable_backbone_params']
    assert (
        adapted['trainable_params'] - frozen['trainable_params']
        == (adapted['trainable_backbone_params'])
    )
    assert adapted['adapter_bytes'] == 4 * adapted['trainable_backbone_params']
    assert one_bit['adapter_bytes'] < adapted['adapter_bytes'] / 4
    assert frozen['task_bytes'] < one_bit['task_bytes'] < adapted['task_bytes']
    assert highway['adapter_bytes'] > 0


def test_a_method_out_of_memory_has_a_note(tiny, monkeypatch) -> None:
    step = Training.step

    def fail(self: Training):
        if hasattr(self.model.backbone, 'adapters') and len(self.model.backbone.adapters):
            raise OutOfMemoryError('CUDA out of memory')
        return step(self)

    monkeypatch.setattr(candidate.Training, 'step', fail)
    report = run(tiny('mmseg'), 'full,highway,frozen')
    full, highway, frozen = report['rows']
    assert highway['note'] == 'out of memory' and highway['trainable_backbone_params'] > 0
    for key in ('step_seconds', 'saved_for_backward_bytes', 'memory_saving', 'time_saving'):
        assert highway[key] is None
        assert full[key] is not None and frozen[key] is not None
    assert full['note'] is frozen['note'] is None


def test_methods_that_free_the_device_are_measured_in_each_round(tiny, monkeypatch) -> None:
    rounds = [candidate.Round(warm_up=1, steps=2, frees_device=True)] * 2
    monkeypatch.setattr(benchmark, 'schedule_rounds', lambda *settings: rounds)
    order: list[tuple[str, int]] = []
    measure = candidate.Candidate.measure

    def recorded(self, *args) -> None:
        measure(self, *args)
        order.append((self.method.name, len(self.seconds)))
        assert self._training is None
        cached = [w.quantizer.cached.get(w.latent) for w in quantized_weights(self.model)]
        assert all(value is None for value in cached)

    monkeypatch.setattr(candidate.Candidate, 'measure', recorded)
    run(tiny('mmseg'), 'full,highway@1')
    assert order == [('full', 2), ('highway@1', 2), ('highway@1', 4), ('full', 4)]


def test_other_errors_are_raised(tiny, monkeypatch) -> None:
    def fail(self: Training):
        raise RuntimeError('shapes do not fit')

    monkeypatch.setattr(candidate.Training, 'step', fail)
    with pytest.raises(RuntimeError, match='shapes'):
        run(tiny('mmseg'), 'full')


def test_bytes_are_reproducible(tiny) -> None:
    first, second = (run(tiny('mmdet'), 'highway')['rows'][0] for _ in range(2))
    for key in ('saved_for_backward_bytes', 'task_bytes', 'trainable_params'):
        assert first[key] == second[key]


@pytest.mark.parametrize(('package', 'amp'), [('mmseg', True), ('mmdet', False)])
def test_real_data_and_mixed_precision(tiny, package: str, amp: bool) -> None:
    settings = Settings(torch.device('cpu'), steps=1, warm_up=0, real_data=True, amp=amp)
    report = run(tiny(package), 'frozen', settings)
    header = report['header']
    assert header['data'].startswith('training data') and header['image_size'] is None
    assert header['precision'].startswith('bfloat16' if amp else 'float32')
    assert header['batch'] == 2 and report['rows'][0]['saved_for_backward_bytes'] > 0


def test_mixed_precision_of_a_detector_needs_a_gpu(tiny) -> None:
    with pytest.raises(ValueError, match='need float32 there; omit --amp'):
        run(tiny('mmdet'), 'full', Settings(torch.device('cpu'), amp=True))


def test_data_of_an_unknown_scope_cannot_be_generated(tiny) -> None:
    cfg = tiny('mmseg')
    cfg.default_scope = 'mmpose'
    with pytest.raises(ValueError, match="'mmpose'.*--real-data"):
        run(cfg, 'full')


def test_a_method_with_less_memory_has_a_larger_maximum_batch(tiny) -> None:
    settings = Settings(
        torch.device('cpu'), 1, (64, 64), steps=1, warm_up=0, memory_limit=1_200_000
    )
    full, frozen = run(tiny('mmseg'), 'full,frozen', settings)['rows']
    assert 0 < full['max_batch'] < frozen['max_batch']


def test_files_of_a_report(tiny, tmp_path: Path) -> None:
    report = run(tiny('mmseg'), 'full,frozen,highway@1')
    report['rows'][0]['method'] = '<full>'
    files = write_report(report, tmp_path / 'new' / 'out')
    plots = ('memory_time', 'memory', 'time', 'task')
    assert {path.name for path in files} == {
        *('report.json', 'report.md', 'report.html'),
        *(f'{name}.{kind}' for name in plots for kind in ('png', 'svg')),
    }
    folder = tmp_path / 'new' / 'out'
    assert json.loads((folder / 'report.json').read_text()) == report
    header = report['header']
    assert header['seeds'] == [0] and header['image_size'] == [64, 64] and header['batch'] == 1
    assert header['versions'].keys() >= {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'timm'}
    assert header['versions']['mmqadapter'] and header['device'] and header['machine']
    page = (folder / 'report.html').read_text()
    assert page.count('<tr>') == 4 and page.count('<svg') == 4
    assert 'data-value="&lt;full&gt;"' in page
    assert 'src=' not in page and 'href="http' not in page
    table = (folder / 'report.md').read_text()
    assert '| highway@1 | 1 |' in table and 'torch' in table
    assert min(Image.open(folder / 'memory.png').size) > 100
