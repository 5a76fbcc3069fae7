from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from tiny_runs import Run, tool


def write_sweep(run: Run, folder: Path, **changes) -> str:
    content = {
        'config': run.config,
        'iterations': 2,
        'metric': 'mIoU',
        'seeds': [0],
        'tuning_seed': 5,
        'head_rates': [0.1],
        'rates': {'adapters': [0.1], 'backbone': [0.01]},
        'methods': ['full', 'highway@1'],
        **changes,
    }
    content = {name: value for name, value in content.items() if value is not None}
    (folder / 'tiny.yaml').write_text(yaml.safe_dump(content))
    return str(folder / 'tiny.yaml')


@pytest.mark.slow
def test_a_sweep_of_two_methods(semantic: Run, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / 'out'
    monkeypatch.chdir(tmp_path)  # trainings start from any folder
    args = [write_sweep(semantic, tmp_path), '--out', 'out', '--jobs', '2']
    args += ['--timing-steps', '2']
    assert tool('sweep')(args) == 0
    report = json.loads((out / 'report.json').read_text())
    rows = {row['method']: row for row in report['rows']}
    for row in rows.values():
        assert 0 <= row['score_mean'] <= 100 and len(row['curves']['0']) == 2
        assert row['saved_for_backward_bytes'] > 0 and row['task_bytes'] > 0
        assert row['step_seconds'] > 0
    assert rows['full']['saved_for_backward_bytes'] > rows['highway@1']['saved_for_backward_bytes']
    assert rows['full']['trainable_backbone_params'] > 0
    assert report['header']['failed'] == []
    assert 'highway@1' in capsys.readouterr().out
    page = (out / 'report.html').read_text()
    assert page.count('<img') == 4 * 4  # image, truth and two methods, of all four images
    # The second time nothing trains.
    stamps = {path: os.stat(path).st_mtime_ns for path in out.glob('runs/*/result.json')}
    assert tool('sweep')([*args, '--only', 'full']) == 0
    assert {path: os.stat(path).st_mtime_ns for path in stamps} == stamps
    assert len(json.loads((out / 'report.json').read_text())['rows']) == 1


@pytest.mark.slow
def test_a_sweep_that_counts_epochs(semantic: Run, tmp_path: Path) -> None:
    loop = {'type': 'EpochBasedTrainLoop', 'max_epochs': 9, 'val_interval': 1, '_delete_': True}
    sweep = write_sweep(
        semantic, tmp_path, iterations=None, epochs=3, validations=3, methods=['highway@1'],
        overrides={'train_cfg': loop, 'train_dataloader.sampler.type': 'DefaultSampler'},
    )  # fmt: skip
    out = tmp_path / 'out'
    assert tool('sweep')([sweep, '--out', str(out), '--timing-steps', '3']) == 0
    (row,) = json.loads((out / 'report.json').read_text())['rows']
    assert [step for step, _ in row['validations']['0']] == [2, 4, 6]  # iterations
    assert row['score_mean'] == row['validations']['0'][-1][1]
    assert row['step_seconds'] > 0 and row['saved_for_backward_bytes'] > 0
    (work,) = out.glob('runs/seed_highway@1_epochs3_*/work_dir')
    assert (work / 'epoch_3.pth').is_file()
    assert (out / 'validations.svg').is_file()


@pytest.mark.slow
def test_a_sweep_of_two_processes_each_from_any_folder(
    semantic: Run, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # The head sees the last stage alone, and synchronized batch norm needs GPUs.
    overrides = {'find_unused_parameters': True, 'model.decode_head.norm_cfg.type': 'BN'}
    sweep = write_sweep(semantic, tmp_path, processes=2, methods=['full'], overrides=overrides)
    assert tool('sweep')([sweep, '--out', 'out', '--timing-steps', '0']) == 0
    (log,) = Path('out').glob('runs/seed_*/work_dir/*/*.log')
    assert 'Distributed launcher: pytorch' in log.read_text()
    assert 'GPU number: 2' in log.read_text()


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        ({'methods': ['none']}, [], "ValueError: tiny.yaml: method='none' is invalid: expected"),
        ({}, ['--only', 'mona'], "ValueError: method 'mona' is invalid: expected one of tiny.yaml"),
        ({}, ['--jobs', '0'], 'ValueError: --jobs=0 is invalid: expected 1 or more'),
        ({'head_rates': [0]}, [], 'ValueError: tiny.yaml: head_rates: 0 is invalid: expected num'),
        (
            {'overrides': {'train_dataloader.dataset.data_root': 'no/data'}}, [],
            'FileNotFoundError: ',
        ),
    ],
)  # fmt: skip
def test_bad_input_is_reported_in_one_line(
    semantic: Run, tmp_path: Path, capsys, changes, options, message
) -> None:
    sweep = write_sweep(semantic, tmp_path, **changes)
    capsys.readouterr()
    assert tool('sweep')([sweep, '--out', str(tmp_path / 'out'), *options]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(message)
    assert not (tmp_path / 'out').exists()
