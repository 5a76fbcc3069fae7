"""Loading tasks for a page: names, weights, and files that cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_runs import CLASSES, Run

from mmqadapter import save_task
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.serve.served_tasks import load_tasks


def test_tasks_have_their_classes_colors_and_bytes(semantic: Run, tmp_path: Path) -> None:
    model = build_model(load_config(semantic.config))
    meta = dict(classes=('x', 'y', 'z'), palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    save_task(model, tmp_path / 'own.task.safetensors', meta)
    save_task(model, tmp_path / 'bare.task.safetensors')
    files = [*tmp_path.glob('*.safetensors'), semantic.task]
    tasks = load_tasks(semantic.config, files, device='cpu')
    assert not tasks.refused
    own, bare, trained = (tasks.accepted[name] for name in ('own', 'bare', 'last'))
    assert own.meta['classes'] == ('x', 'y', 'z') and own.meta['palette'][1] == (4, 5, 6)
    assert bare.meta['classes'] == trained.meta['classes'] == CLASSES
    assert trained.nbytes == Path(semantic.task).stat().st_size
    assert own.painter.meta is own.meta


def test_files_that_do_not_fit_leave_the_others(
    semantic: Run, instances: Run, tmp_path: Path
) -> None:
    shutil.copy(instances.task, tmp_path / 'nuclei.task.safetensors')
    cut = tmp_path / 'cut.task.safetensors'
    cut.write_bytes(Path(semantic.task).read_bytes()[:-100])
    none = tmp_path / 'no.safetensors'
    files = [tmp_path / 'nuclei.task.safetensors', semantic.task, cut, none]
    tasks = load_tasks(semantic.config, files, device='cpu')
    assert list(tasks.accepted) == ['last'] == list(tasks.bank.names)
    for name, reason in {
        'nuclei': 'belongs to the trunk',
        'cut': "'cut.task.safetensors' is truncated or damaged",
        'no': "there is no task file 'no.safetensors'",
    }.items():
        assert reason in tasks.refused[name] and '\n' not in tasks.refused[name]
        assert str(tmp_path) not in tasks.refused[name]


def test_without_any_task_that_fits_the_reasons_are_an_error(semantic: Run, instances: Run) -> None:
    with pytest.raises(ValueError, match='none of the task files can be used: .*the trunk'):
        load_tasks(semantic.config, [instances.task], device='cpu')


def test_a_checkpoint_is_not_a_task_file(semantic: Run) -> None:
    with pytest.raises(ValueError, match='is not a task file .* export one from a checkpoint'):
        load_tasks(semantic.config, [semantic.task, semantic.checkpoint])


def test_tasks_predict_in_evaluation_mode(semantic: Run) -> None:
    tasks = load_tasks(semantic.config, [semantic.task], device='cpu')
    assert not any(module.training for module in tasks.bank.model.modules())
    with pytest.raises(ValueError, match="device='warp' is not available"):
        load_tasks(semantic.config, [semantic.task], device='warp')
    assert torch.is_grad_enabled()
