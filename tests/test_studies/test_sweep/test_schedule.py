from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from sweeps import FakeTrainer, Silent

from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.local import LocalQueue
from mmqadapter.studies.sweep.report import make_report, write_report
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.schedule import run_sweep
from mmqadapter.studies.sweep.training import TIME, Training

NAMES = ['frozen', 'full', 'adaptformer', 'adaptformer@1']
POINTS = {'frozen': 50.0, 'full': 60.0, 'adaptformer': 55.0, 'adaptformer@1': 54.0}


def score(training: Training) -> float | None:
    if training.method == 'full' and training.seed == 1:
        return None
    return POINTS[training.method] + training.seed


@pytest.fixture
def report(make_sweep) -> dict:
    sweep, trainer = make_sweep(), FakeTrainer(score)
    queues = [LocalQueue(trainer, [ResourceSlot(1)] * jobs, Silent()) for jobs in (2, 1)]
    results = run_sweep(sweep, NAMES, *queues, timing_steps=3)
    timed = [t for t in trainer.trained if t.purpose == TIME]
    assert trainer.trained[-4:] == timed and {t.length for t in timed} == {Length(3)}
    return make_report(sweep, NAMES, results, jobs=2, timing_steps=3)


def test_rows_have_statistics_differences_rates_and_costs(report: dict) -> None:
    rows = {row['method']: row for row in report['rows']}
    assert list(rows) == NAMES
    row = rows['adaptformer@1']
    assert (row['bits'], row['score_mean'], row['scores']) == (1, 54.5, {'0': 54, '1': 55})
    assert row['score_deviation'] == pytest.approx(0.5**0.5)
    assert row['minus_frozen'] == {'0': 4, '1': 4} and row['minus_full'] == {'0': -6}
    assert row['minus_32_bits'] == {'0': -1, '1': -1}
    assert rows['frozen']['minus_32_bits'] is None
    assert row['head_rate'] == 0.01 and len(row['tuning']) == 4
    assert (row['trainable_backbone_params'], row['task_bytes'], row['step_seconds']) == (
        10, 99, 0.25,
    )  # fmt: skip
    assert row['curves']['1'] == [[1, 0.5]]
    assert row['saved_for_backward_bytes'] == 1000  # of the timed training


def test_a_failure_is_reported_and_other_trainings_go_on(report: dict, tmp_path) -> None:
    (failed,) = report['header']['failed']
    assert failed['training'].startswith('seed_full') and failed['log'] == 'there/console.log'
    assert report['rows'][1]['note'] == '1 of 2 seeds failed or have no score'
    paths = write_report(report, tmp_path / 'out')
    assert json.loads(paths[0].read_text()) == report
    page = paths[1].read_text()
    assert 'it broke; there/console.log' in page and '| adaptformer@1 | 54.50 ± 0.71 |' in page
    assert '- seeds: 0, 1\n' in page and '- rates: adapters 0.001, 0.01, 0.1; backbone' in page
    plots = {path.name for path in paths[2:]}
    assert {'scores.png', 'score_memory.svg', 'score_time.png', 'score_task.svg'} <= plots
    assert all(path.stat().st_size for path in paths)


def test_a_score_of_nan_is_left_out(make_sweep, tmp_path) -> None:
    """NaN if all classes are absent, for example; mean and deviation are of the other seeds."""
    sweep = make_sweep()
    queue = LocalQueue(
        FakeTrainer(lambda t: math.nan if t.seed == 1 else score(t)), [ResourceSlot(1)], Silent()
    )
    report = make_report(sweep, NAMES, run_sweep(sweep, NAMES, queue, queue), 1, 0)
    assert report['rows'][0]['scores'] == {'0': 50}
    assert report['rows'][0]['note'] == '1 of 2 seeds failed or have no score'
    write_report(report, tmp_path)
    assert 'NaN' not in (tmp_path / 'report.json').read_text()


def test_a_report_of_failures_only(make_sweep, tmp_path) -> None:
    sweep = make_sweep()
    queue = LocalQueue(FakeTrainer(lambda t: None), [ResourceSlot(1)], Silent())
    results = run_sweep(sweep, NAMES, queue, queue)
    report = make_report(sweep, NAMES, results, 1, 0)
    assert {row['note'] for row in report['rows']} == {'every training failed'}
    write_report(report, tmp_path)


def mixed_report(make_sweep, machine: Callable[[Training], str]) -> dict:
    sweep = make_sweep()
    queue = LocalQueue(FakeTrainer(score, machine), [ResourceSlot(1)], Silent())
    return make_report(sweep, NAMES, run_sweep(sweep, NAMES, queue, queue), 1, 0)


def test_a_table_says_which_of_several_machines_trained_a_row(make_sweep, tmp_path) -> None:
    def machine(training: Training) -> str:
        return 'fast CPU' if training.method == 'frozen' or training.seed == 1 else 'old CPU'

    report = mixed_report(make_sweep, machine)
    assert [row['machines'] for row in report['rows']] == [
        ['fast CPU'], ['old CPU'], *2 * [['fast CPU', 'old CPU']],  # full failed on seed 1
    ]  # fmt: skip
    text = write_report(report, tmp_path)[1].read_text()
    assert 'different machines (1: fast CPU; 2: old CPU): ' in text
    lines = text.partition('## Failed')[0].splitlines()
    rows = {line.split(' | ')[0]: line for line in lines if line.startswith('| ')}
    assert rows['| adaptformer'].count(' | 1, 2 |') == 1
    assert ' | 2 | 1 of 2 seeds' in rows['| full']


def test_a_training_whose_machine_was_not_recorded_counts_as_another(make_sweep) -> None:
    report = mixed_report(make_sweep, lambda t: '' if t.seed == 1 else 'some CPU')
    assert report['rows'][0]['machines'] == ['not recorded', 'some CPU']


def test_a_table_of_one_machine_has_no_column_for_it(report: dict, tmp_path) -> None:
    assert report['rows'][0]['machines'] == ['some CPU']
    assert 'different machines' not in write_report(report, tmp_path)[1].read_text()
