"""Whether two configs train the same, so that the result of one may stand for the other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmqadapter.checkpoints.stored_config import parse_config
from mmqadapter.studies.sweep.cost_hook import COST_HOOK, FORMER_NAME, with_one_cost_hook

# What only watches a training is left out of the comparison; all that is not named here counts.
# Checks count as well (FiniteLossHook, PretrainedTrunkHook): one may refuse what has trained.
WATCHING_SETTINGS = {'log_level', 'log_processor', 'vis_backends', 'visualizer'}
WATCHING_HOOKS = {
    'DetVisualizationHook',
    'IterTimerHook',
    'LoggerHook',
    'SegVisualizationHook',
    'mmdet.DetVisualizationHook',
    'mmengine.IterTimerHook',
    'mmengine.LoggerHook',
    'mmseg.SegVisualizationHook',
    COST_HOOK,
    FORMER_NAME,
}


def equivalent_training(one: str, other: str) -> bool:
    """Whether two configs, as texts of plain values, lead to the same weights and scores.

    Texts that are more than plain values have to be equal.
    """
    if one == other:
        return True
    try:
        return _decisive(parse_config(one)) == _decisive(parse_config(other))
    except ValueError:
        return False


def equivalent_measurement(one: str, other: str) -> bool:
    """Return whether two configs, as texts of plain values, train and measure the same.

    All settings count, but not under which of its names a config lists the cost hook. Texts that
    are more than plain values have to be equal.
    """
    if one == other:
        return True
    try:
        return _measured(parse_config(one)) == _measured(parse_config(other))
    except ValueError:
        return False


def _measured(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, 'custom_hooks': with_one_cost_hook(config.get('custom_hooks') or ())}


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that a training's weights and scores follow from."""
    kept = {name: value for name, value in config.items() if name not in WATCHING_SETTINGS}
    custom, default = kept.get('custom_hooks') or [], kept.get('default_hooks') or {}
    kept['custom_hooks'] = [hook for hook in custom if not _watches(hook)]
    kept['default_hooks'] = {name: hook for name, hook in default.items() if not _watches(hook)}
    return kept


def _watches(hook: Any) -> bool:
    return isinstance(hook, Mapping) and str(hook.get('type')) in WATCHING_HOOKS
