from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import Run, forget, tool

from mmqadapter.engine.runner import build_model, load_config

FLOAT = ('--cfg-options', 'model.backbone.quantizer.bits=32')
pytestmark = pytest.mark.xdist_group('analyze')
SMALL = ('--batches', '1', '--points', '3', '--directions', '1')


@pytest.fixture(scope='module')
def float_task(semantic: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Task file of the same training with adapters of 32 bits."""
    work = tmp_path_factory.mktemp('float')
    assert tool('train')([semantic.config, '--work-dir', str(work), *FLOAT]) == 0
    forget()
    return str(work / 'last.task.safetensors')


@pytest.fixture(scope='module')
def full(semantic: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Config and checkpoint of a model whose backbone is not wrapped."""
    folder = tmp_path_factory.mktemp('full')
    config, checkpoint = folder / 'full.py', folder / 'full.pth'
    unwrapped = "model['backbone'] = model['backbone']['backbone']\n"
    config.write_text(Path(semantic.config).read_text() + unwrapped)
    torch.save({'state_dict': build_model(load_config(config)).state_dict()}, checkpoint)
    return str(config), str(checkpoint)


@pytest.fixture
def analyze(tmp_path: Path, capsys) -> Callable[..., Any]:
    """``analyze(study, run, task, ...)``: the study's JSON, or the last line of an error."""

    def call(study: str, run: Run, task: str, *options: str) -> Any:
        out = tmp_path / study
        capsys.readouterr()
        status = tool('analyze')([study, run.config, task, '--out', str(out), *options])
        printed = capsys.readouterr()
        if status:
            return printed.err.strip().splitlines()[-1]
        assert str(out / f'{study}.md') in printed.out
        names = {path.name for path in out.iterdir()}
        assert {f'{study}.json', f'{study}.md'} < names
        assert {Path(name).suffix for name in names} == {'.json', '.md', '.png', '.svg'}
        content = json.loads((out / f'{study}.json').read_text())
        assert content['header']['models'][0]['file'] == task
        assert content['header']['versions']['mmqadapter']
        return content

    return call


def test_landscape_of_adapters_and_of_full_fine_tuning(semantic: Run, full, analyze) -> None:
    options = (*SMALL, '--plane-points', '3', '--full', *full)
    content = analyze('landscape', semantic, semantic.task, *options)
    adapted, whole = content['rows']
    assert (adapted['model'], whole['model']) == ('adapters', 'full')
    assert whole['moved'] > adapted['moved'] == 4 * 2 * 4 * 12  # blocks of 8, 8, 16, 16 channels
    for row in content['rows']:
        assert len(row['lines']) == 1 and len(row['plane']) == 3
        # The middle of every line and of the plane is the trained model.
        assert row['lines'][0][1] == row['plane'][1][1] == row['loss']
        assert row['lines'][0][0] != row['loss'] != row['plane'][0][1]
        assert row['places'] == row['plane_places'] == [-1.0, 0.0, 1.0]


def test_landscape_of_a_detector_on_validation_images(instances: Run, analyze) -> None:
    options = (*SMALL, '--plane-points', '0', '--split', 'val')
    content = analyze('landscape', instances, instances.task, *options)
    (row,) = content['rows']
    assert row['lines'][0][1] == row['loss'] > 0 and 'plane' not in row


def test_landscape_through_the_quantizer(semantic: Run, analyze) -> None:
    options = (*SMALL, '--plane-points', '0', '--weights', 'latent')
    message = analyze('landscape', semantic, semantic.task, *options)
    assert message.startswith('ValueError') and 'training checkpoint' in message
    latent = analyze('landscape', semantic, semantic.checkpoint, *options)['rows'][0]
    decoded = analyze('landscape', semantic, semantic.checkpoint, *options[:-2])['rows'][0]
    assert latent['loss'] == pytest.approx(decoded['loss'], abs=1e-6)
    assert latent['lines'] != decoded['lines']


def test_without_noise_the_score_is_that_of_the_training(semantic: Run, full, analyze) -> None:
    options = ('--sigmas', '0,1', '--repeats', '2', '--full', *full)
    content = analyze('noise', semantic, semantic.task, *options)
    plain, noisy, *whole = content['rows']
    assert plain['scores'] == [semantic.last_score('mIoU')]
    assert plain['above_plain'] == 0 and len(noisy['scores']) == 2
    assert [(row['model'], row['sigma']) for row in whole] == [('full', 0), ('full', 1)]
    assert content['header']['metric'] == 'mIoU'


def test_noise_on_a_detector_with_a_metric_of_choice(instances: Run, analyze) -> None:
    score = ('--score', 'coco/bbox_mAP')
    content = analyze(
        'noise', instances, instances.task, '--sigmas', '0.5', '--repeats', '1', *score
    )
    (row,) = content['rows']
    assert row['metric'] == 'coco/bbox_mAP' and len(row['scores']) == 1
    message = analyze('noise', instances, instances.task, '--sigmas', '0', '--score', 'mIoU')
    assert "score='mIoU' is invalid: expected one of coco/" in message


def test_distribution_of_float_weights(semantic: Run, float_task: str, analyze) -> None:
    for task in (float_task, semantic.checkpoint):
        pooled, *rows = analyze('distribution', semantic, task)['rows']
        assert len(rows) == 8 and pooled['count'] == sum(row['count'] for row in rows)
        assert {row['kind'] for row in rows} == {'down', 'up'}
    message = analyze('distribution', semantic, semantic.task)
    assert message.startswith('ValueError') and '1 bits' in message and 'task of 32 bits' in message


def test_error_of_weights_alone(semantic: Run, float_task: str, analyze) -> None:
    content = analyze('error', semantic, float_task, '--criteria', 'l2')
    rows = {(row['bits'], row['granularity']): row for row in content['rows']}
    assert len(rows) == 9
    by_bits = [rows[bits, 'tensor']['relative_error'] for bits in (1, 2, 4, 8)]
    assert by_bits == sorted(by_bits, reverse=True) and by_bits[-1] < 1e-3
    # An adapter of 1 bit: 12 channels on average, width 4.
    assert rows[1, 'tensor']['bytes'] == 4 * 2 * 12 * 4 // 8 + 8 * 8
    assert 'score' not in rows[1, 'tensor']


def test_evaluations_of_one_second_do_not_share_a_folder(
    semantic: Run, float_task, analyze, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = time.time()
    monkeypatch.setattr('mmengine.runner.runner.time.time', lambda: second)
    few = ('--bits', '8', '--criteria', 'l1', '--granularities', 'tensor')
    assert analyze('error', semantic, float_task, *few, '--metric', '--trained', semantic.task)[
        'rows'
    ]


def test_quantized_after_training_and_in_training(semantic: Run, float_task, analyze) -> None:
    few = ('--bits', '1,8', '--criteria', 'l1', '--granularities', 'tensor')
    options = (*few, '--metric', '--trained', semantic.task)
    rows = analyze('error', semantic, float_task, *options)['rows']
    assert [(row['kind'], row['bits']) for row in rows] == [
        ('float', 32), ('post-training', 1), ('post-training', 8), ('trained', 1)
    ]  # fmt: skip
    assert all(0 <= row['score'] <= 100 for row in rows)
    assert rows[-1]['score'] == semantic.last_score('mIoU')
    assert rows[-1]['bytes'] == rows[1]['bytes']


@pytest.mark.parametrize(
    ('study', 'options', 'message'),
    [
        ('noise', ['--sigmas', '0,-0.1'], 'ValueError: sigma=-0.1 is invalid: expected a finite'),
        ('noise', ['--sigmas', 'much'], "ValueError: --sigmas='much' is invalid (could not"),
        ('noise', ['--sigmas', ','], 'ValueError: sigmas=[] is invalid'),
        ('noise', ['--repeats', '0'], 'ValueError: repeats=0'),
        ('landscape', ['--points', '4'], 'ValueError: points=4 is invalid: expected an odd'),
        ('landscape', ['--radius', '0'], 'ValueError: radius=0.0 is invalid: expected a finite'),
        ('landscape', ['--batches', '0'], 'ValueError: batches=0 is invalid: expected 1 or more'),
        ('landscape', ['--full', 'no.py', 'x'], "FileNotFoundError: there is no config 'no.py'"),
        ('error', ['--bits', '3'], 'ValueError: bits=3 is invalid'),
        ('error', ['--trained', 'x'], 'ValueError: --trained and --score need --metric'),
    ],
)  # fmt: skip
def test_bad_settings_are_reported(semantic: Run, analyze, study, options, message) -> None:
    assert analyze(study, semantic, semantic.task, *options).startswith(message)


def test_files_of_another_kind_are_reported(semantic: Run, full, analyze, tmp_path: Path) -> None:
    config, checkpoint = full
    message = analyze('noise', semantic, checkpoint)
    assert (
        message.startswith('ValueError') and 'without adapters' in message and '--full' in message
    )
    plain = Run(config, semantic.images, semantic.work_dir)
    message = analyze('noise', plain, semantic.task)
    assert message.startswith("ValueError: the config 'full.py' has no adapters")
    message = analyze('landscape', semantic, semantic.task, *SMALL, '--full', config, semantic.task)
    assert message.startswith('ValueError') and 'is not a fully fine-tuned model' in message
    assert analyze('noise', semantic, 'no.pth').startswith('FileNotFoundError')
    assert analyze('noise', semantic, 'no.task.safetensors').startswith('FileNotFoundError')


def test_a_task_file_without_adapters_is_reported(semantic: Run, analyze, tmp_path: Path) -> None:
    config, task = tmp_path / 'frozen.py', tmp_path / 'frozen.task.safetensors'
    frozen = "model['backbone'] = dict(type='mmqadapter.FrozenBackbone', train='norm', backbone="
    frozen += "model['backbone']['backbone'])\n"
    config.write_text(Path(semantic.config).read_text() + frozen)
    from mmqadapter import save_task

    save_task(build_model(load_config(config)), task)
    message = analyze('error', semantic, str(task))
    assert message.startswith('ValueError') and 'has no adapters (FrozenBackbone)' in message
