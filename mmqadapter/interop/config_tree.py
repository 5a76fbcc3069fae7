"""Changes of the module configs in a nested config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

PACKAGE = 'mmqadapter'
# Classes that wrap a frozen trunk.
WRAPPERS = ('FrozenBackbone', 'AdaptedBackbone', 'HighwayBackbone')


def map_configs(value: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a copy of ``value`` in which ``change`` has replaced each dict, inner ones first.

    Args:
        value: A config, or any value in it; lists and tuples keep their type.
        change: Takes a copy of a dict and returns its replacement.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(map_configs(item, change) for item in value)
    if not isinstance(value, Mapping):
        return value
    return change({name: map_configs(item, change) for name, item in value.items()})


def builds(config: Mapping[str, Any], names: Collection[str]) -> bool:
    """Return whether ``config`` builds one of our classes ``names``, with or without a scope."""
    scope, _, name = str(config.get('type')).rpartition('.')
    return name in names and scope.split('.')[0] in ('', PACKAGE)
