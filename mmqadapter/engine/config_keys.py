"""Check of the overrides of a config: settings that nothing reads are refused or reported."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from difflib import get_close_matches

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner

# Settings that are read from a config, in addition to the arguments of the runners.
ALSO_READ = (
    'activation_checkpointing',
    'backend_args',
    'custom_imports',
    'dataset_meta',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'init_weights_for_test_or_val',
    'model_wrapper_cfg',
    'runner_type',
    'seed',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
    'vis_backends',
)


def check_overrides(cfg: Config, names: Iterable[str]) -> None:
    """Check the top-level settings that a command line overrides.

    A variable of the config file, such as ``max_iters`` in the templates, was read when the file
    was parsed, so an override has no effect: a warning says so.

    Args:
        cfg: Config before the overrides are merged into it.
        names: Dotted names of the overrides.

    Raises:
        ValueError: A setting is neither in the config nor known.
    """
    known = read_settings()
    for key in dict.fromkeys(name.split('.')[0] for name in names):
        if key in known:
            continue
        if key not in cfg:
            near = get_close_matches(key, sorted(known.union(cfg)), n=1)
            hint = f'did you mean {near[0]!r}?' if near else 'see the config for its settings.'
            raise ValueError(
                f'--cfg-options {key}=... is invalid: no setting has this name; {hint}'
            )
        print_log(_ignored(key), logger='current', level=logging.WARNING)


def read_settings() -> frozenset[str]:
    """Return the names of the top-level settings that a run reads from its config."""
    names = {*ALSO_READ}
    for runner in (Runner, FlexibleRunner):
        names.update(inspect.signature(runner.__init__).parameters)
    return frozenset(names - {'self', 'cfg'})


def _ignored(key: str) -> str:
    option = {'max_iters': '--max-iters', 'max_epochs': '--max-epochs'}.get(key)
    remedy = f'use {option}' if option else 'override the settings that are made from it'
    return (
        f'--cfg-options {key}=... changes nothing in this run: {key} is a variable of the config '
        f'file, which was read when the file was parsed; {remedy}, or edit the file.'
    )
