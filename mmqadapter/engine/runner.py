"""Models and mmengine runners from a config file, for mmdet and mmseg alike."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import FlexibleRunner, Runner, find_latest_checkpoint, load_checkpoint
from torch import nn

from mmqadapter.checkpoints.load import load_weights
from mmqadapter.engine import exactly_resumable
from mmqadapter.engine.batch_sizes import check_batches_of
from mmqadapter.engine.checked_pipeline import check_data_of
from mmqadapter.engine.config_file import read_config
from mmqadapter.engine.config_keys import check_overrides
from mmqadapter.engine.data_classes import check_classes
from mmqadapter.engine.data_configs import leaf_configs, require_root
from mmqadapter.engine.distributed import prepare_cpu
from mmqadapter.engine.evaluator_files import check_evaluator_files
from mmqadapter.engine.fsdp_runner import check_strategy, flexible_runner, is_flexible
from mmqadapter.engine.lr_scaling import check_lr_scaling, scale_base_rate
from mmqadapter.engine.precision import check_precision, set_mixed_precision
from mmqadapter.engine.run_length import cut_schedule
from mmqadapter.utils.model_wrapping import unwrap_model
from mmqadapter.utils.shipped import find_config

# Hooks of every training; they change nothing in it.
REPORTING_HOOKS = ('mmqadapter.LearningRatesHook', 'mmqadapter.MissingGradientHook')

TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper')  # what a training needs
# Arguments of a data loader that say how its workers run.
WORKER_OPTIONS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context')


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Read a config and merge command-line overrides into it.

    Args:
        path: Path of the config, or the name of a shipped one, such as
            ``upernet_swin_highway_ade20k``.
        options: Overrides by dotted names, such as ``{'model.backbone.depth': 4}``.

    Raises:
        FileNotFoundError: Neither a file nor a shipped config has this name, or one that it
            inherits does not exist.
        ValueError: The file cannot be read as a config, or an override names a setting that does
            not exist.
    """
    path = find_config(path)
    cfg = override(read_config(path), options)
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(path).stem)))
    return cfg


def override(cfg: Config, options: dict[str, Any] | None) -> Config:
    """Merge overrides by dotted names into ``cfg``, and return it.

    Raises:
        ValueError: An override names a setting that does not exist.
    """
    check_overrides(cfg, options or {})
    cfg.merge_from_dict(options or {})
    _drop_worker_options(cfg)
    return cfg


def _drop_worker_options(cfg: Config) -> None:
    """Remove the options of workers from data loaders without workers, which PyTorch refuses."""
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, dict) and not loader.get('num_workers'):
            for option in filter(loader.get, WORKER_OPTIONS):
                loader.pop(option)


def training_runner(
    cfg: Config, resume: bool | str = False, init_task: str | None = None, amp: bool = False
) -> Runner | FlexibleRunner:
    """Build the runner that trains ``cfg``.

    Args:
        cfg: Config of mmdet or mmseg, with or without a wrapped backbone. Its ``strategy`` applies
            if it sets ``runner_type='FlexibleRunner'``.
        resume: Path of a checkpoint to resume, or True for the last one in the work dir. If False,
            ``cfg.resume`` decides as in mmengine: it resumes ``cfg.load_from``, or the last
            checkpoint if that is not set.
        init_task: Path of a task file to start from; None for none.
        amp: Whether to train in mixed precision.

    Raises:
        FileNotFoundError: A file or a data root does not exist.
        ValueError: This machine lacks the mixed precision that is asked for, the strategy conflicts
            with another setting, or a task file is given where a checkpoint is expected.
    """
    for file in (resume, init_task):
        if isinstance(file, str) and not Path(file).is_file():
            raise FileNotFoundError(f'there is no file {file!r}; check the path.')
    for name, file in (('resume', resume), ('load_from', cfg.get('load_from'))):
        _require_checkpoint(name, file)
    require_data(cfg, 'train', 'val')
    check_lr_scaling(cfg)
    cfg = exactly_resumable(cfg)
    latest = _checkpoint_to_resume(cfg, resume)
    _add_hooks(cfg, init_task)
    if amp:
        set_mixed_precision(cfg)
    check_precision(cfg)
    check_strategy(cfg)
    prepare_cpu(cfg)
    flexible = is_flexible(cfg)
    runner = flexible_runner(cfg) if flexible else Runner.from_cfg(cfg)
    check_data_of(runner)
    check_batches_of(runner, cfg.get('train_dataloader'))
    scale_base_rate(runner)
    if latest is not None:
        _resume(runner, latest)
    elif resume:
        runner.logger.warning(f'No checkpoint in {cfg.work_dir}: this run starts anew.')
    if warning := cut_schedule(cfg):
        runner.logger.warning(warning)
    return runner


def _add_hooks(cfg: Config, init_task: str | None) -> None:
    """Add the hooks of every training that ``cfg`` does not list, and one for ``init_task``."""
    hooks = list(cfg.get('custom_hooks') or ())
    present = {hook.get('type') for hook in hooks if isinstance(hook, dict)}
    hooks += [dict(type=kind) for kind in REPORTING_HOOKS if kind not in present]
    if init_task is not None:
        hooks.append(dict(type='mmqadapter.InitTaskHook', task=init_task))
    cfg.custom_hooks = hooks


def _require_checkpoint(name: str, file: Any) -> None:
    if isinstance(file, str) and file.endswith('.safetensors'):
        raise ValueError(
            f'{name}={file!r} is invalid: expected a checkpoint; a task file holds no optimizer '
            'and no trunk. Start from it with --init-task.'
        )


def _checkpoint_to_resume(cfg: Config, resume: bool | str) -> str | None:
    """Return the checkpoint to resume; None for none, or if ``cfg`` names it as in mmengine."""
    if not resume and cfg.get('resume') and cfg.get('load_from'):
        return None
    wanted = resume or bool(cfg.get('resume'))
    cfg.resume = False
    return resume if isinstance(resume, str) else _latest(cfg.work_dir) if wanted else None


def _resume(runner: Runner | FlexibleRunner, checkpoint: str) -> None:
    """Let ``runner`` resume a checkpoint.

    Its config, which lies in the work dir as a file, does not name the checkpoint: that is deleted
    later, and what ``load_from`` names may contain the frozen trunk.
    """
    start = runner.cfg.get('load_from')
    if start and not isinstance(runner, FlexibleRunner):
        load_checkpoint(unwrap_model(runner.model), start, map_location='cpu')
    runner._load_from, runner._resume = checkpoint, True


def _latest(work_dir: str) -> str | None:
    """Return the last checkpoint of a work dir, even if the work dir was moved or copied.

    Raises:
        FileNotFoundError: The checkpoint does not exist anymore, or no pointer names one although
            weights are there.
    """
    pointer = find_latest_checkpoint(work_dir)
    if pointer is None:
        _refuse_leftovers(work_dir)
    if pointer is None or '://' in pointer:
        return pointer
    candidates = [Path(work_dir, Path(pointer).name), Path(pointer)]
    checkpoint = next((path for path in candidates if path.exists()), None)
    if checkpoint is None:
        raise FileNotFoundError(
            f'{str(Path(work_dir, "last_checkpoint"))!r} names {pointer!r}, which does not exist; '
            'name another checkpoint (--resume FILE).'
        )
    return str(checkpoint)


def _refuse_leftovers(work_dir: str) -> None:
    """Check that a run that has nothing to resume does not overwrite the files of another one."""
    files = [*Path(work_dir).glob('*.pth'), *Path(work_dir).glob('*.task.safetensors')]
    if files:
        names = ', '.join(sorted(file.name for file in files)[:3])
        raise FileNotFoundError(
            f'{str(Path(work_dir, "last_checkpoint"))!r} does not exist, so there is nothing to '
            f'resume, but {names} of an earlier run are there; name a checkpoint (--resume FILE) '
            'or another --work-dir.'
        )


def testing_runner(
    cfg: Config, weights: str | os.PathLike, amp: bool = False, trust: bool = False
) -> Runner:
    """Build the runner that evaluates ``weights`` with test data and test evaluator of ``cfg``.

    Args:
        cfg: Config of mmdet or mmseg, with or without a wrapped backbone.
        weights: Path of a task file or a checkpoint; ``load_from`` of ``cfg`` is loaded before it.
        amp: Whether to test in mixed precision.
        trust: See :func:`mmqadapter.checkpoints.load.load_weights`.

    Raises:
        FileNotFoundError: A file or a data root does not exist.
        ValueError: The config has no test data, or the weights do not fit the model.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError('the config has no test_dataloader; add test_dataloader = val_dataloader.')
    if not Path(weights).is_file():
        raise FileNotFoundError(f'there is no file {str(weights)!r}; check the path.')
    require_data(cfg, 'test')
    cfg = copy.deepcopy(cfg)
    start, cfg.load_from, cfg.resume = cfg.get('load_from'), None, False
    if amp:
        cfg.test_cfg.fp16 = True
    prepare_cpu(cfg)
    runner = Runner.from_cfg(cfg)
    check_data_of(runner)
    # Load before `Runner.test`, in which an EMA hook copies the model with its weights.
    model = unwrap_model(runner.model)
    if isinstance(model, BaseTTAModel):
        model = model.module
    if start:
        load_checkpoint(model, start, map_location='cpu')
    load_weights(model, weights, trust)
    return runner


def require_model(cfg: Config) -> None:
    """Check that a config has a model.

    Raises:
        ValueError: The config has no model.
    """
    if not cfg.get('model'):
        raise ValueError(
            'the config has no model; use one that inherits a config of mmdet or mmseg.'
        )


def require_training(cfg: Config) -> None:
    """Check that a config has what a training needs.

    Raises:
        ValueError: The config has no model, or another part is missing.
    """
    require_model(cfg)
    missing = [name for name in TRAINING if not cfg.get(name)]
    if missing:
        raise ValueError(f'the config has no {missing[0]}, which a training needs; add it.')


def build_model(cfg: Config) -> nn.Module:
    """Build the model of ``cfg`` on the CPU, and load the weights that ``load_from`` names.

    Raises:
        ValueError: The config has no model.
    """
    require_model(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = MODELS.build(cfg.model)
    if cfg.get('load_from'):
        load_checkpoint(model, cfg.load_from, map_location='cpu')
    return model


def require_data(cfg: Config, *splits: str) -> None:
    """Check the data of the named splits (``'train'``, ``'val'``, ``'test'``), unread.

    Raises:
        FileNotFoundError: A data root does not exist.
        ValueError: The classes of a dataset are not a list of names, or differ in their order
            between splits, or an evaluator reads other annotations than its dataset.
    """
    check_classes(cfg, splits)
    for split in splits:
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        for leaf, _ in leaf_configs(dataset) if dataset else ():
            require_root(leaf, split)
        if split != 'train':
            check_evaluator_files(cfg, split)
