"""Comparison of configs: whether a training with one would give the result of the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmqadapter.backbones.acceleration import without_legacy
from mmqadapter.checkpoints.stored_config import parse_config
from mmqadapter.engine.runner import REPORTING_HOOKS
from mmqadapter.interop.config_tree import WRAPPERS, builds, map_configs
from mmqadapter.studies.sweep.cost_hook import COST_HOOK, FORMER_NAME, with_one_cost_hook

# Settings and hooks that only observe a training; all others are compared. Checks such as
# FiniteLossHook are compared as well: they may refuse a training that ran without them.
OBSERVING_SETTINGS = {'log_level', 'log_processor', 'vis_backends', 'visualizer'}
OBSERVING_HOOKS = {
    'DetVisualizationHook',
    'IterTimerHook',
    'LoggerHook',
    'SegVisualizationHook',
    'mmdet.DetVisualizationHook',
    'mmengine.IterTimerHook',
    'mmengine.LoggerHook',
    'mmseg.SegVisualizationHook',
    *REPORTING_HOOKS,
    COST_HOOK,
    FORMER_NAME,
}


def equivalent_training(config: str, other: str) -> bool:
    """Return whether two configs lead to the same weights and scores.

    Args:
        config: Text of a config with plain values only; any other text has to equal ``other``.
        other: Text of the config to compare with.
    """
    return _equal_parts(config, other, _decisive)


def equivalent_measurement(config: str, other: str) -> bool:
    """Return whether two configs, as texts of plain values, train and measure the same.

    All settings count, except under which of its names a config lists the cost hook or an option
    of a frozen trunk, and hooks that do nothing in the steps that are timed.

    Args:
        config: Text of a config with plain values only; any other text has to equal ``other``.
        other: Text of the config to compare with.
    """
    return _equal_parts(config, other, _measured)


def _equal_parts(config: str, other: str, part: Callable[[Mapping[str, Any]], Any]) -> bool:
    """Return whether ``part`` of two configs is equal, under the present names of all options."""
    if config == other:
        return True
    try:
        first, second = (_present_names(part(parse_config(text))) for text in (config, other))
    except ValueError:
        return False
    return first == second


def _measured(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with one cost hook, without hooks that report at the start only."""
    hooks = with_one_cost_hook(config.get('custom_hooks') or ())
    hooks = [hook for hook in hooks if hook.get('type') not in REPORTING_HOOKS]
    return {**config, 'custom_hooks': hooks}


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config that weights and scores depend on."""
    decisive = {name: value for name, value in config.items() if name not in OBSERVING_SETTINGS}
    custom, default = decisive.get('custom_hooks') or [], decisive.get('default_hooks') or {}
    decisive['custom_hooks'] = [hook for hook in custom if not _observes(hook)]
    decisive['default_hooks'] = {
        name: hook for name, hook in default.items() if not _observes(hook)
    }
    return decisive


def _present_names(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config whose wrappers name their trunk options as this version does."""
    return {**config, 'model': map_configs(config.get('model'), _with_trunk_options)}


def _with_trunk_options(config: dict[str, Any]) -> dict[str, Any]:
    return without_legacy(config) if builds(config, WRAPPERS) else config


def _observes(hook: Any) -> bool:
    return isinstance(hook, Mapping) and str(hook.get('type')) in OBSERVING_HOOKS
