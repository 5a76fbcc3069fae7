"""From a config file to a model or to an mmengine runner, for mmdet and mmseg alike."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import FlexibleRunner, Runner, find_latest_checkpoint, load_checkpoint
from torch import nn

from mmqadapter.checkpoints.load import load_weights
from mmqadapter.engine import exactly_resumable
from mmqadapter.engine.data_configs import leaf_configs, require_root
from mmqadapter.engine.distributed import prepare_cpu
from mmqadapter.engine.fsdp_runner import check_strategy, flexible_runner, is_flexible
from mmqadapter.utils.model_wrapping import unwrap_model


def load_config(path: str | os.PathLike, options: dict[str, Any] | None = None) -> Config:
    """Config of a file, with command-line overrides merged in.

    Raises:
        FileNotFoundError: No such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no config {str(path)!r}; configs/ holds those we ship.')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    cfg.setdefault('work_dir', str(Path('work_dirs', Path(path).stem)))
    return cfg


def training_runner(
    cfg: Config, resume: bool | str = False, init_task: str | None = None, amp: bool = False
) -> Runner | FlexibleRunner:
    """Runner that trains ``cfg``.

    Args:
        cfg: A config of mmdet or mmseg, with a wrapped backbone or without. With
            ``runner_type='FlexibleRunner'`` its ``strategy`` counts.
        resume: True for the last checkpoint in the work dir, or the path of one. ``cfg.resume``
            counts as well, and then resumes ``cfg.load_from`` where that is set, as mmengine does.
        init_task: A task file to start from.
        amp: Train in mixed precision.

    Raises:
        FileNotFoundError: A file or a data root that does not exist.
        ValueError: Mixed precision without a GPU, a strategy that does not go with something
            else in ``cfg``, or a task file in place of a checkpoint.
    """
    for file in (resume, init_task):
        if isinstance(file, str) and not Path(file).is_file():
            raise FileNotFoundError(f'there is no file {file!r}; check the path.')
    for name, file in (('resume', resume), ('load_from', cfg.get('load_from'))):
        _require_checkpoint(name, file)
    require_data(cfg, 'train', 'val')
    cfg = exactly_resumable(cfg)
    start = _resume_from(cfg, resume)
    if init_task is not None:
        hook = dict(type='mmqadapter.InitTaskHook', task=init_task)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), hook]
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    _check_precision(cfg)
    check_strategy(cfg)
    prepare_cpu(cfg)
    flexible = is_flexible(cfg)
    runner = flexible_runner(cfg, start) if flexible else Runner.from_cfg(cfg)
    if start and not flexible:
        load_checkpoint(unwrap_model(runner.model), start, map_location='cpu')
    if resume and not cfg.resume:
        runner.logger.warning(f'No checkpoint in {cfg.work_dir}: this run starts anew.')
    return runner


def _require_checkpoint(name: str, file: Any) -> None:
    if isinstance(file, str) and file.endswith('.safetensors'):
        raise ValueError(
            f'{name}={file!r} is a task file, which holds no optimiser and no trunk; start from it '
            'with --init-task.'
        )


def _check_precision(cfg: Config) -> None:
    kind = str((cfg.get('optim_wrapper') or {}).get('type'))
    if kind.rpartition('.')[2] == 'AmpOptimWrapper' and get_device() == 'cpu':
        raise ValueError(
            f'optim_wrapper.type={kind!r} needs a GPU, and there is none here: leave --amp out, or '
            "set type='OptimWrapper' without loss_scale in a config of your own."
        )


def _resume_from(cfg: Config, resume: bool | str) -> str | None:
    """Set what ``cfg`` resumes; returns its own ``load_from``, which brought the frozen trunk."""
    if not resume and cfg.get('resume') and cfg.get('load_from'):
        return None
    wanted = resume or bool(cfg.get('resume'))
    latest = resume if isinstance(resume, str) else _latest(cfg.work_dir) if wanted else None
    cfg.resume = latest is not None
    if latest is None:
        return None
    start, cfg.load_from = cfg.get('load_from'), latest
    return start


def _latest(work_dir: str) -> str | None:
    """The last checkpoint in a work dir, which may have been moved or copied since.

    Raises:
        FileNotFoundError: It is not there any more.
    """
    noted = find_latest_checkpoint(work_dir)
    if noted is None or '://' in noted:
        return noted
    places = [Path(work_dir, Path(noted).name), Path(noted)]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise FileNotFoundError(
            f'{str(Path(work_dir, "last_checkpoint"))!r} names {noted!r}, which is gone; name '
            'another checkpoint (--resume FILE).'
        )
    return str(found)


def testing_runner(
    cfg: Config, weights: str | os.PathLike, amp: bool = False, trust: bool = False
) -> Runner:
    """Runner that evaluates ``weights`` with the test data and the test evaluator of ``cfg``.

    Args:
        cfg: A config of mmdet or mmseg, with a wrapped backbone or without.
        weights: A task file or a checkpoint; ``load_from`` of the config is loaded before it.
        amp: Test in mixed precision.
        trust: See :func:`mmqadapter.checkpoints.load.load_weights`.

    Raises:
        FileNotFoundError: A file or a data root that does not exist.
        ValueError: The config tests nothing, or the weights do not fit the model.
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
    # Before `test`, so that an EMA hook, which copies the model then, has them as well.
    model = unwrap_model(runner.model)
    if start:
        load_checkpoint(model, start, map_location='cpu')
    load_weights(model, weights, trust)
    return runner


def require_model(cfg: Config) -> None:
    """Check that a config has a model.

    Raises:
        ValueError: It has none.
    """
    if not cfg.get('model'):
        raise ValueError(
            'the config has no model; give one that inherits a config of mmdet or mmseg.'
        )


def build_model(cfg: Config) -> nn.Module:
    """Model of ``cfg``, with what its ``load_from`` names, on the CPU.

    Raises:
        ValueError: It has none.
    """
    require_model(cfg)
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = MODELS.build(cfg.model)
    if cfg.get('load_from'):
        load_checkpoint(model, cfg.load_from, map_location='cpu')
    return model


def require_data(cfg: Config, *splits: str) -> None:
    """Check that the data roots of ``train``, ``val`` or ``test`` exist, before anything is built.

    Raises:
        FileNotFoundError: One does not.
    """
    for split in splits:
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        for leaf, _ in leaf_configs(dataset) if dataset else ():
            require_root(leaf, split)
