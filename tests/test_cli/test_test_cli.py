from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from tiny_runs import Run, forget, tool

from mmqadapter.engine.runner import build_model, load_config


class Evil:
    def __reduce__(self):
        return print, ('EVIL CODE RAN',)


@pytest.fixture
def evaluate(tmp_path: Path):
    """``evaluate(run, weights, ...)``: the metrics that the tool logs."""

    def call(run: Run, weights: str | Path, *args: str) -> dict[str, float]:
        forget()
        out = tmp_path / f'run{len(list(tmp_path.iterdir()))}'
        assert tool('test')([run.config, str(weights), '--work-dir', str(out), *args]) == 0
        (log,) = out.glob('*/*.json')
        metrics = json.loads(log.read_text())
        return {k: v for k, v in metrics.items() if not k.endswith('time')}

    return call


def test_task_and_checkpoint_of_a_segmentor_score_as_in_training(semantic: Run, evaluate) -> None:
    of_task = evaluate(semantic, semantic.task)
    assert of_task == evaluate(semantic, semantic.checkpoint)
    assert of_task['mIoU'] == semantic.last_score('mIoU')


def test_task_and_checkpoint_of_a_detector_score_alike(instances: Run, evaluate) -> None:
    of_task = evaluate(instances, instances.task)
    assert 'coco/segm_mAP' in of_task
    assert of_task == evaluate(instances, instances.checkpoint)


def test_bare_weights_in_mixed_precision(semantic: Run, evaluate, tmp_path: Path) -> None:
    state = torch.load(semantic.checkpoint, weights_only=False)['state_dict']
    torch.save({f'module.{name}': tensor for name, tensor in state.items()}, tmp_path / 'w.pth')
    assert set(evaluate(semantic, tmp_path / 'w.pth', '--amp')) == {'aAcc', 'mIoU', 'mAcc'}


def test_the_trunk_may_come_from_load_from(semantic: Run, evaluate, tmp_path: Path) -> None:
    whole = tmp_path / 'whole.pth'
    torch.save(build_model(load_config(semantic.config)).state_dict(), whole)
    options = ['model.backbone.backbone.init_cfg=None', f'load_from={whole}']
    expected = evaluate(semantic, semantic.task)
    assert evaluate(semantic, semantic.task, '--cfg-options', *options) == expected


def test_pictures_of_the_predictions(
    semantic: Run, instances: Run, evaluate, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for run, name in ((semantic, 'seg'), (instances, 'det')):
        shown = f'shown_{name}'
        plain = evaluate(run, run.task)
        assert evaluate(run, run.task, '--show-dir', shown) == plain
        assert len(list((tmp_path / shown).iterdir())) == len(list(run.images.iterdir()))
        assert capsys.readouterr().out.splitlines()[-1] == f'Pictures: {shown}'


def test_label_maps_and_detections_are_written(
    semantic: Run, instances: Run, evaluate, tmp_path: Path
) -> None:
    evaluate(semantic, semantic.task, '--out', str(tmp_path / 'maps'))
    assert len(list((tmp_path / 'maps').iterdir())) == len(list(semantic.images.iterdir()))
    evaluate(instances, instances.task, '--out', str(tmp_path / 'results.pkl'))
    results = pickle.loads((tmp_path / 'results.pkl').read_bytes())
    assert len(results) == len(list(instances.images.iterdir()))
    assert 'masks' in results[0]['pred_instances']


def test_mirror_images_count_as_well(semantic: Run, evaluate) -> None:
    plain, averaged = evaluate(semantic, semantic.task), evaluate(semantic, semantic.task, '--tta')
    assert set(averaged) == set(plain)
    assert averaged != plain


def test_options_that_cannot_be(semantic: Run, instances: Run, capsys, monkeypatch) -> None:
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    assert fails(semantic, semantic.task, '--show') == 1
    assert '--show needs a screen' in capsys.readouterr().err
    assert fails(instances, instances.task, '--out', 'results.json') == 1
    assert 'expected a file name that ends in .pkl' in capsys.readouterr().err
    assert fails(instances, instances.task, '--tta') == 1
    assert 'mmdet averages boxes, not masks' in capsys.readouterr().err


def fails(run: Run, weights: str | Path, *args: str) -> int:
    return tool('test')([run.config, str(weights), '--work-dir', '/dev/null/never', *args])


def damaged(path: str, tmp_path: Path) -> Path:
    data = bytearray(Path(path).read_bytes())
    data[-1] ^= 1
    out = tmp_path / Path(path).name
    out.write_bytes(data)
    return out


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('test_dataloader.dataset.data_root=no/data', 'FileNotFoundError: .*no/data.*test'),
        ('test_dataloader=None', 'ValueError: .*no test_dataloader'),
    ],
)
def test_a_config_that_cannot_test(semantic: Run, capsys, option, message) -> None:
    assert fails(semantic, semantic.task, '--cfg-options', option) == 1
    assert re.match(message, capsys.readouterr().err)


def test_a_missing_file_is_reported(semantic: Run, capsys) -> None:
    assert fails(semantic, 'no.pth') == 1
    assert capsys.readouterr().err.startswith("FileNotFoundError: there is no file 'no.pth'")


def reason(run: Run, weights: Path, tmp_path: Path, capsys, *args: str) -> str:
    """The line that ends a failing test of ``weights``."""
    assert tool('test')([run.config, str(weights), '--work-dir', str(tmp_path / 'w'), *args]) == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_flipped_bit_is_reported(semantic: Run, tmp_path: Path, capsys) -> None:
    message = reason(semantic, damaged(semantic.task, tmp_path), tmp_path, capsys)
    assert message.startswith('ValueError') and 'sha-256' in message


def test_another_head_is_reported(semantic: Run, tmp_path: Path, capsys) -> None:
    more = ['--cfg-options', 'model.decode_head.num_classes=5']
    more.append('model.decode_head.loss_decode.class_weight=None')
    message = reason(semantic, Path(semantic.checkpoint), tmp_path, capsys, *more)
    assert 'does not fit' in message and 'size mismatch' in message


def test_a_checkpoint_that_would_run_code_is_refused(semantic: Run, tmp_path: Path, capsys) -> None:
    evil = tmp_path / 'evil.pth'
    torch.save({'state_dict': {}, 'more': Evil()}, evil)
    assert 'EVIL' in pickle.dumps(Evil()).decode('latin1')
    message = reason(semantic, evil, tmp_path, capsys)
    assert message.startswith('ValueError') and '--trust-checkpoint' in message
    assert 'EVIL' not in capsys.readouterr().out
