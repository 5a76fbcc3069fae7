"""The hook that measures the costs of a training, which older configs list under another name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

COST_HOOK = 'mmqadapter.EfficiencyHook'
FORMER_NAME = 'mmqadapter.TuningSummaryHook'


def with_one_cost_hook(hooks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return ``custom_hooks`` with the cost hook under its present name only.

    Configs of version 0.1.0 list it under its former name, or under both.
    """
    configs = [dict(hook) for hook in hooks]
    if any(hook.get('type') == COST_HOOK for hook in configs):
        return [hook for hook in configs if hook.get('type') != FORMER_NAME]
    return [
        {**hook, 'type': COST_HOOK} if hook.get('type') == FORMER_NAME else hook for hook in configs
    ]
