"""Settings of an optimizer that a config written for the plain model means for adapters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

ADAPTERS, TRUNK = 'adapters', 'trunk'
# Keys by which configs of mmseg set what `norm_decay_mult` and `bias_decay_mult` set.
KINDS = ('norm', 'bias')


def trunk_settings(settings: dict, paths: Iterable[str]) -> dict:
    """Return ``paramwise_cfg`` with keys for a model whose trunks stand in place of their wrappers.

    A key that names a trunk below its wrapper (``trunk``, ``backbone.trunk.norm``) names it by its
    path in the plain model instead (``backbone``, ``backbone.norm``).

    Args:
        settings: ``paramwise_cfg`` of the config.
        paths: Paths of the wrappers in the model.
    """
    if 'custom_keys' not in settings:
        return settings
    keys, paths = settings['custom_keys'], list(paths)
    # Of two keys that become equal the longer one counts, as mmengine matches the longest first.
    renamed = {_plain_key(key, paths): keys[key] for key in sorted(keys, key=len)}
    return {**settings, 'custom_keys': renamed}


def adapter_settings(settings: dict, plain_names: Collection[str]) -> dict:
    """Return ``paramwise_cfg`` for adapters: they are new, so they train as a head does.

    Only keys that name adapters count, see :func:`names_adapters`. A key that turns off the decay
    of all norms or biases counts as well, since it says the same as ``norm_decay_mult``.

    Args:
        settings: ``paramwise_cfg`` after :func:`trunk_settings`.
        plain_names: Names of all parameters of the model without adapters.
    """
    if 'custom_keys' not in settings:
        return settings
    keys = settings['custom_keys']
    own = {
        key[max(0, key.find(ADAPTERS)) :]: keys[key]
        for key in sorted(keys, key=len)
        if names_adapters(key, plain_names)
    }
    return {**_decay_of_kinds(keys), **settings, 'custom_keys': own}


def names_adapters(key: str, plain_names: Collection[str]) -> bool:
    """Return whether a key means adapters: it says so, or fits no parameter of the plain model."""
    return ADAPTERS in key or not any(key in name for name in plain_names)


def deciding_key(keys: Iterable[str], *names: str) -> str | None:
    """Return the key that mmengine applies to the parameter of these names; None for none."""
    fitting = [key for key in sorted(keys) if any(key in name for name in names)]
    return max(fitting, key=len, default=None)


def _plain_key(key: str, paths: Iterable[str]) -> str:
    below = re.match(rf'(.*\.)?{TRUNK}(?=\.|$)', key)
    if below is None:
        return key
    above = below[1] or '.'  # such as `backbone.`
    path = next((path for path in paths if f'.{path}.'.endswith(above)), None)
    return key if path is None else ((below[1] or path).rstrip('.') + key[below.end() :])


def _decay_of_kinds(keys: dict) -> dict[str, Any]:
    of_kinds = {kind: keys[kind] for kind in KINDS if 'decay_mult' in keys.get(kind, ())}
    return {f'{kind}_decay_mult': value['decay_mult'] for kind, value in of_kinds.items()}
