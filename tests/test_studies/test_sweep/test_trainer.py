"""Trainings are processes of a small script that writes the same files as tools/train.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.trainer import Trainer
from mmqadapter.studies.sweep.training import SEED, TIME, TUNE, Training

SCRIPT = """
import json, os, sys
from pathlib import Path
if os.environ.get('RANK', '0') != '0':
    sys.exit(print('another process'))
work = Path(sys.argv[3 if sys.argv[1] != '--launcher' else 5])
print('called with', sys.argv[4:], 'threads', os.environ['OMP_NUM_THREADS'],
      'gpus', os.environ.get('CUDA_VISIBLE_DEVICES'))
log = work / ('2' if '--resume' in sys.argv else '1') / 'vis_data/scalars.json'
log.parent.mkdir(parents=True)
if Path(__file__).with_name('stop').exists():
    lines = [json.dumps(dict(step=1, loss=9.0)), json.dumps(dict(step=5, loss=4.0)), '{"st']
    log.write_text('\\n'.join(lines))
    (work / 'iter_5.pth').write_text('')
    (work / 'last_checkpoint').write_text(str(work / 'iter_5.pth'))
    sys.exit('stopped')
lines = [dict(step=5, loss=5.0), dict(step=20, loss=2.0), dict(step=20, mIoU=40.0, data_time=0.1)]
log.write_text('\\n'.join(map(json.dumps, lines)))
(work / 'summary.json').write_text(json.dumps(dict(task_bytes=7, step_seconds=0.5)))
"""
TRAINING = Training(SEED, 'full', 0, Length(20), 0.1, 0.01)


@pytest.fixture
def train(make_sweep, tmp_path: Path) -> Callable[..., Outcome]:
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)

    def make(training: Training = TRAINING, **changes) -> Outcome:
        return Trainer(make_sweep(**changes), tmp_path / 'runs', [str(script)])(
            training, ResourceSlot(3, '7')
        )

    return make


def test_files_of_a_training(train, tmp_path: Path) -> None:
    outcome = train()
    assert outcome.score == 40 and outcome.log is not None
    folder = tmp_path / 'runs' / TRAINING.name
    result = json.loads((folder / 'result.json').read_text())
    assert result == outcome.result
    assert result['losses'] == [[5, 5.0], [20, 2.0]]
    assert result['validations'] == [[20, 40.0]]
    assert (result['rate'], result['seed'], result['task_bytes']) == (0.01, 0, 7)
    assert 'called with [] threads 3 gpus 7' in outcome.log.read_text()
    assert 'IterBasedTrainLoop' in (folder / 'config.py').read_text()


def test_a_finished_training_is_not_repeated(train, tmp_path: Path) -> None:
    train()
    (tmp_path / 'script.py').write_text('raise SystemExit(1)')
    assert train().score == 40
    # Killed after the training and before its result: it is not trained again.
    (tmp_path / 'runs' / TRAINING.name / 'result.json').unlink()
    assert train().score == 40


def test_the_result_of_another_config_is_refused(train) -> None:
    train()
    outcome = train(overrides={'model.neck': {'type': 'FPN'}})
    assert outcome.result is None and 'another config' in outcome.failure


COSTS = {'type': 'mmqadapter.EfficiencyHook', 'interval': 7}
OBSERVING = {'custom_hooks': [COSTS], 'log_level': 'WARNING'}


def test_observing_hooks_may_differ(train, tmp_path: Path) -> None:
    config = tmp_path / 'runs' / TRAINING.name / 'config.py'
    train()
    trained, script = config.read_text(), tmp_path / 'script.py'
    script.write_text('raise SystemExit(1)')
    assert train(overrides=OBSERVING).score == 40
    assert config.read_text() == trained  # the config that the result came from
    # In a timed training a hook may take time.
    script.write_text(SCRIPT)
    timed = Training(TIME, 'full', 0, Length(4), 0.1, 0.01)
    assert train(timed).result is not None
    assert 'another config' in train(timed, overrides=OBSERVING).failure


def test_a_training_resumes_with_the_present_hooks(train, tmp_path: Path) -> None:
    (tmp_path / 'stop').touch()
    train()
    (tmp_path / 'stop').unlink()
    outcome = train(overrides=OBSERVING)
    assert "called with ['--resume']" in outcome.log.read_text()
    assert 'interval=7' in (tmp_path / 'runs' / TRAINING.name / 'config.py').read_text()


def test_a_failed_training_has_a_log_and_resumes_later(train, tmp_path: Path) -> None:
    (tmp_path / 'stop').touch()
    outcome = train()
    assert outcome.result is None and outcome.score == float('-inf')
    assert outcome.failure == 'the training ended with exit status 1'
    assert 'stopped' in outcome.log.read_text()
    (tmp_path / 'stop').unlink()
    resumed = train()
    assert "called with ['--resume']" in resumed.log.read_text()
    assert resumed.result['losses'] == [[1, 9.0], [5, 5.0], [20, 2.0]]


def test_a_training_that_a_signal_stopped_resumes(train, tmp_path: Path) -> None:
    """It writes a summary, and has a score if it was validated before."""
    (tmp_path / 'stop').touch()
    train()
    (tmp_path / 'stop').unlink()
    work = tmp_path / 'runs' / TRAINING.name / 'work_dir'
    (work / 'summary.json').write_text(json.dumps(dict(task_bytes=7, step_seconds=0.5)))
    validated = json.dumps(dict(step=5, mIoU=10.0, data_time=0.1))
    (work / '1/vis_data/scalars.json').write_text(validated)
    outcome = train()
    assert "called with ['--resume']" in outcome.log.read_text()
    assert outcome.score == 40
    assert outcome.result['validations'] == [[5, 10.0], [20, 40.0]]


@pytest.mark.parametrize(('validations', 'before'), [(1, []), (4, [5, 10, 15])])
def test_a_training_that_was_stopped_in_its_last_validation_resumes(
    train, tmp_path: Path, validations: int, before: list[int]
) -> None:
    """Nothing is left to train, and the score of an earlier validation is not that of the end."""
    (tmp_path / 'stop').touch()
    train(validations=validations)
    (tmp_path / 'stop').unlink()
    work = tmp_path / 'runs' / TRAINING.name / 'work_dir'
    (work / 'summary.json').write_text(json.dumps(dict(task_bytes=7, step_seconds=0.5)))
    (work / 'last_checkpoint').write_text(str(work / 'iter_20.pth'))
    lines = [dict(step=20, loss=2.0), *(dict(step=n, mIoU=1.0, data_time=0.1) for n in before)]
    (work / '1/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    outcome = train(validations=validations)
    assert "called with ['--resume']" in outcome.log.read_text()
    assert outcome.score == 40


def test_too_few_remaining_steps_to_measure_restart_the_training(train, tmp_path: Path) -> None:
    (tmp_path / 'stop').touch()
    short = Training(TUNE, 'full', 7, Length(12), 0.1, 0.01)
    train(short)
    (tmp_path / 'stop').unlink()
    assert train(short).result['losses'] == [[5, 5.0], [20, 2.0]]
    assert not list((tmp_path / 'runs' / short.name).glob('work/*.pth'))


def test_several_processes_train_one_model(train) -> None:
    outcome = train(processes=2)
    printed = outcome.log.read_text()
    assert outcome.score == 40, printed
    assert printed.count('another process') == 1 and 'threads 1' in printed


@pytest.mark.parametrize('processes', [1, 2])
def test_a_module_is_found_from_any_folder(
    make_sweep, tmp_path: Path, monkeypatch, processes: int
) -> None:
    (tmp_path / 'modules').mkdir()
    (tmp_path / 'modules' / 'script.py').write_text(SCRIPT)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'modules'))
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    train = Trainer(make_sweep(processes=processes), Path('runs'), ['-m', 'script'])
    outcome = train(TRAINING, ResourceSlot(3, '7'))
    printed = outcome.log.read_text()
    assert outcome.score == 40, printed
    assert printed.count('called with') == 1 and printed.count('another process') == processes - 1
    assert outcome.log == tmp_path / 'elsewhere/runs' / TRAINING.name / 'console.log'


def test_a_missing_metric(train) -> None:
    outcome = train(metric='nIoU')
    assert outcome.failure == "the validation gave no 'nIoU'; logged are mIoU."


def test_a_detector_that_finds_nothing_has_no_points(train, tmp_path: Path) -> None:
    """Its metrics are missing then, which is no reason to take those of the validation before."""
    script, before = (
        tmp_path / 'script.py',
        'dict(step=10, data_time=0.1, **{"coco/segm_mAP": 0.25})',
    )
    script.write_text(SCRIPT.replace('dict(step=20, mIoU=40.0,', f'{before}, dict(step=20,'))
    outcome = train(metric='coco/segm_mAP')
    assert (outcome.failure, outcome.score) == (None, 0)
    assert outcome.result['validations'] == [[10, 25], [20, 0]]


def test_no_validation_is_no_score(train, tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.replace(', dict(step=20, mIoU=40.0, data_time=0.1)', ''))
    assert "gave no 'coco/segm_mAP'" in train(metric='coco/segm_mAP').failure


def test_a_missing_metric_of_a_detector(train, tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.replace('mIoU=40.0', '**{"coco/segm_mAP": 0.25}'))
    assert "gave no 'coco/mAP'; logged are coco/segm_mAP" in train(metric='coco/mAP').failure


def test_fractions_become_points_and_a_timed_training_has_no_score(train, tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.replace('mIoU=40.0', '**{"coco/segm_mAP": 0.25}'))
    assert train(metric='coco/segm_mAP').score == 25
    timed = Training(TIME, 'full', 0, Length(4), 0.1, 0.01)
    assert train(timed).result['score'] is None
