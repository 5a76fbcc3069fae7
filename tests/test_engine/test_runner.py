"""From a config to a model or a runner: overrides, data roots, resuming, refused settings."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmqadapter.engine.runner import (
    build_model,
    load_config,
    require_data,
    require_training,
    training_runner,
)
from mmqadapter.studies.planner.blank_model import BlankModel
from mmqadapter.studies.report.settings import Settings

ROOT = Path(__file__).parents[2]


def test_a_config_gets_overrides_and_a_work_dir(tmp_path: Path) -> None:
    (tmp_path / 'name.py').write_text('a = dict(b=1, c=2)\n')
    cfg = load_config(tmp_path / 'name.py', {'a.b': 5})
    assert cfg.a == dict(b=5, c=2) and cfg.work_dir == 'work_dirs/name'
    with pytest.raises(FileNotFoundError, match='no/such.py'):
        load_config('no/such.py')


def test_a_data_loader_without_workers_has_no_options_for_them(tmp_path: Path) -> None:
    loader = 'dict(num_workers=2, persistent_workers=True, prefetch_factor=4, batch_size=3)'
    (tmp_path / 'name.py').write_text(f'train_dataloader = {loader}\nval_dataloader = {loader}\n')
    cfg = load_config(tmp_path / 'name.py', {'train_dataloader.num_workers': 0})
    assert cfg.train_dataloader == dict(num_workers=0, batch_size=3)
    assert cfg.val_dataloader.persistent_workers and cfg.val_dataloader.prefetch_factor == 4


@pytest.mark.parametrize('wrap', [False, True])
def test_a_missing_data_root_is_found_through_wrappers(tmp_path: Path, wrap: bool) -> None:
    dataset = dict(type='CocoDataset', data_root='no/data')
    cfg = Config(dict(val_dataloader=dict(
        dataset=dict(type='RepeatDataset', dataset=dataset) if wrap else dataset
    )))  # fmt: skip
    require_data(cfg, 'train')
    with pytest.raises(FileNotFoundError, match='no/data.*val.*MMQADAPTER_DATA'):
        require_data(cfg, 'train', 'val')
    dataset['data_root'] = str(tmp_path)
    require_data(Config(dict(val_dataloader=dict(dataset=dataset))), 'val')


SNIPPETS = {'README.md': 'HighwayBackbone', 'docs/zoo.md': 'AdaptedBackbone'}


@pytest.mark.parametrize('page', SNIPPETS)
def test_the_config_that_a_page_shows(page: str, tmp_path: Path) -> None:
    """It wraps the inherited net, trains what the page says, and saves task files."""
    text = (ROOT / page).read_text()
    snippet = text.partition('```python\n')[2].partition('```')[0]
    for folder in ('../_base_', './_base_'):
        snippet = snippet.replace(folder, str(ROOT / 'configs/_base_'))
    (tmp_path / 'own.py').write_text(snippet)
    cfg = Config.fromfile(tmp_path / 'own.py')
    assert cfg.default_hooks.checkpoint.type == 'mmqadapter.TaskCheckpointHook'
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    assert cfg.model.backbone.type.endswith(SNIPPETS[page])
    assert cfg.model.backbone.backbone.type == 'SwinTransformer'
    assert 'mmqadapter.ExactResumeHook' in [hook.type for hook in cfg.custom_hooks]


def test_a_config_without_a_model_is_refused() -> None:
    for ask in (build_model, Settings(torch.device('cpu')).completed, BlankModel):
        with pytest.raises(ValueError, match='the config has no model'):
            ask(Config(dict(work_dir='none')))


def test_a_model_is_built_in_the_scope_of_its_config() -> None:
    head = dict(type='FCNHead', in_channels=4, channels=4, num_classes=2, num_convs=0)
    model = dict(type='EncoderDecoder', backbone=dict(type='ResNetV1c', depth=18), decode_head=head)
    for scope, names in (('mmseg', model), ('mmdet', {**model, '_scope_': 'mmseg'})):
        built = build_model(Config(dict(default_scope=scope, model=names)))
        assert type(built).__module__.startswith('mmseg.')


@pytest.fixture
def started(monkeypatch, tmp_path: Path) -> Callable[..., Config]:
    """``started(resume, asked, **settings)``: the config of a run as it is written; none runs.

    ``resumes`` is the checkpoint that the run resumes.
    """

    def begin(cfg: Config) -> Any:
        return SimpleNamespace(
            cfg=copy.deepcopy(cfg),
            logger=logging.getLogger('tests'),
            model=torch.nn.Identity(),
            build_dataloader=None,
            _load_from=cfg.get('load_from'),
            _resume=cfg.resume,
        )

    monkeypatch.setattr('mmqadapter.engine.runner.Runner.from_cfg', begin)
    monkeypatch.setattr('mmqadapter.engine.runner.load_checkpoint', lambda *args, **kwargs: None)
    (tmp_path / 'work').mkdir(exist_ok=True)

    def start(resume: bool | str = False, asked: dict | None = None, **settings: Any) -> Config:
        cfg = Config(dict(work_dir=str(tmp_path / 'work'), **settings, **(asked or {})))
        runner: Any = training_runner(cfg, resume)
        runner.cfg.resumes = runner._load_from if runner._resume else None
        return runner.cfg

    return start


def checkpoint(folder: Path, pointer: str | None = None) -> str:
    """Make a checkpoint in ``folder`` that ``last_checkpoint`` names (or names ``pointer``)."""
    folder.mkdir(exist_ok=True)
    path = folder / 'iter_3.pth'
    path.touch()
    (folder / 'last_checkpoint').write_text(pointer or str(path))
    return str(path)


def test_the_option_resumes_the_last_checkpoint(started, tmp_path: Path) -> None:
    last = checkpoint(tmp_path / 'work')
    assert started(load_from='trunk.pth').resumes is None
    cfg = started(True, load_from='trunk.pth')
    assert cfg.resumes == last
    # The file of the config is still complete when this checkpoint has been deleted.
    assert (cfg.resume, cfg.load_from) == (False, 'trunk.pth')


def test_a_config_may_ask_to_resume_as_in_mmengine(started, tmp_path: Path) -> None:
    last = checkpoint(tmp_path / 'work')
    assert started(asked=dict(resume=True)).resumes == last
    cfg = started(asked=dict(resume=True, load_from='other.pth'))
    assert (cfg.resume, cfg.load_from, cfg.resumes) == (True, 'other.pth', 'other.pth')


def test_nothing_to_resume_is_logged(started, caplog) -> None:
    cfg = started(True)
    assert cfg.resumes is None and cfg.get('load_from') is None
    assert 'No checkpoint in' in caplog.text and 'starts anew' in caplog.text


@pytest.mark.parametrize('name', ['best_mIoU_iter_4.pth', 'best.task.safetensors'])
def test_a_resume_without_a_pointer_does_not_start_over_other_weights(
    started, tmp_path: Path, name: str
) -> None:
    (tmp_path / 'work' / name).touch()
    with pytest.raises(FileNotFoundError, match=f'last_checkpoint.*nothing to resume.*{name}'):
        started(True)
    with pytest.raises(FileNotFoundError, match='name a checkpoint .--resume FILE'):
        started(asked=dict(resume=True))
    assert started().resumes is None


def test_a_work_dir_that_was_moved_or_copied(started, tmp_path: Path) -> None:
    elsewhere = checkpoint(tmp_path / 'first')
    here = checkpoint(tmp_path / 'work', pointer=elsewhere)
    assert started(True).resumes == here
    Path(here).unlink()
    assert started(True).resumes == elsewhere  # as with `out_dir` of the checkpoint hook
    Path(elsewhere).unlink()
    with pytest.raises(
        FileNotFoundError, match='last_checkpoint.*iter_3.pth.*which does not exist'
    ):
        started(True)


@pytest.mark.parametrize('place', ['resume', 'load_from'])
def test_a_task_file_in_place_of_a_checkpoint_is_refused(
    started, tmp_path: Path, place: str
) -> None:
    file = tmp_path / 'a.task.safetensors'
    file.touch()
    with pytest.raises(ValueError, match=f'{place}=.*a.task.safetensors.*--init-task'):
        started(str(file)) if place == 'resume' else started(load_from=str(file))


def test_settings_that_are_none(started) -> None:
    assert started(randomness=None, custom_hooks=None).randomness == dict(seed=0)


def test_a_training_reports_rates_and_missing_gradients(started) -> None:
    kinds = ['mmqadapter.LearningRatesHook', 'mmqadapter.MissingGradientHook']
    assert [hook['type'] for hook in started().custom_hooks] == kinds
    listed = [dict(type=kinds[1]), dict(type='Other')]
    hooks = started(custom_hooks=listed).custom_hooks
    assert [hook['type'] for hook in hooks] == [kinds[1], 'Other', kinds[0]]


@pytest.mark.parametrize('name', ['model', 'train_dataloader', 'train_cfg', 'optim_wrapper'])
def test_a_config_without_what_a_training_needs_is_refused(name: str) -> None:
    parts = dict.fromkeys(('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'), dict(a=1))
    require_training(Config(parts))
    with pytest.raises(ValueError, match=f'the config has no {name}'):
        require_training(Config({**parts, name: None}))
