"""Construction of an optimizer that holds only the parameters that train."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmqadapter.engine.adapter_settings import adapter_settings, trunk_settings
from mmqadapter.engine.plain_view import PlainView, plain_view
from mmqadapter.engine.zero_rates import check_rates
from mmqadapter.registry import OPTIM_WRAPPER_CONSTRUCTORS

SIMILAR = 0.85  # of 1, by difflib


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Constructor of optimizer wrappers that leaves out frozen parameters.

    It takes the same ``paramwise_cfg`` as mmengine's. That one gives every parameter to the
    optimizer if there is no ``paramwise_cfg``, and otherwise warns once per frozen parameter and
    makes a group of each tensor, which keeps optimizers from batching their updates. Here
    parameters with equal settings share a group.

    For a model with a wrapped backbone all constructors do this, see
    :func:`mmqadapter.engine.compat.train_adapters_as_new`; use this one for other models.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of ``model``."""
        with grouping_by_part(self, model) as plain:
            return super().__call__(plain)


@contextmanager
def grouping_by_part(
    constructor: DefaultOptimWrapperConstructor, model: nn.Module
) -> Iterator[nn.Module]:
    """Let a constructor group the parameters of ``model``; yield what to call it with.

    It sees the plain model, so that ``paramwise_cfg`` and its own functions of parameter names, as
    those of layer-wise decay, mean what they mean without our wrapper. Adapters are a part beside
    it, with the settings of a new part (see :func:`adapter_settings`).
    """
    settings: Any = constructor.paramwise_cfg
    with plain_view(model) as view:
        # Not empty, or mmengine passes all parameters to the optimizer, frozen ones as well.
        constructor.paramwise_cfg = trunk_settings(settings or {'custom_keys': {}}, view.trunks)
        constructor.add_params = _AddByPart(constructor, view, settings.get('custom_keys', {}))
        _warn_of_typos(settings.get('custom_keys', {}), model)
        try:
            yield view.model
        finally:
            constructor.paramwise_cfg = settings
            vars(constructor).pop('add_params', None)


def _warn_of_typos(keys: Iterable[str], model: nn.Module) -> None:
    """Warn of keys that fit no parameter and nearly are a part of a parameter's name.

    Keys that fit nothing are common in inherited configs, so others pass.
    """
    names = [name for name, _ in model.named_parameters()]
    parts = sorted({part for name in names for part in name.split('.')})
    for key in keys:
        if any(key in name for name in names):
            continue
        near = {p: get_close_matches(p, parts, 1, SIMILAR) for p in key.split('.')}
        if all(near.values()) and any(part not in found for part, found in near.items()):
            likely = '.'.join(found[0] for found in near.values())
            print_log(
                f'paramwise_cfg.custom_keys[{key!r}] fits no parameter; is it {likely!r}?',
                logger='current', level=logging.WARNING,
            )  # fmt: skip


class _AddByPart:
    """Method ``add_params`` of a constructor that shadows the one of its class.

    It passes other settings for adapters, and leaves frozen parameters out.

    Args:
        constructor: The constructor.
        view: The model.
        custom_keys: ``custom_keys`` of the config, to be named in messages.
    """

    def __init__(
        self, constructor: DefaultOptimWrapperConstructor, view: PlainView, custom_keys: dict
    ) -> None:
        self._constructor = constructor
        self._view = view
        self._custom_keys = custom_keys
        self._add = constructor.add_params

    def __call__(self, params: list[dict], module: nn.Module, *args: Any, **kwargs: Any) -> None:
        """Append the parameter groups of ``module``; constructors call this for its children."""
        prefix = kwargs.get('prefix', args[0] if args else '')
        if any(parameter.requires_grad for parameter in module.parameters()):
            with self._settings(prefix):
                self._add(params, module, *args, **kwargs)
        if not prefix:
            params[:] = _merged_groups(params)
            check_rates(params, self._constructor.base_lr, self._custom_keys, self._view)

    @contextmanager
    def _settings(self, prefix: str) -> Iterator[None]:
        outer = self._constructor.paramwise_cfg
        if prefix in self._view.adapters:
            own = adapter_settings(outer, self._view.plain_names())
            self._constructor.paramwise_cfg = own
        try:
            yield
        finally:
            self._constructor.paramwise_cfg = outer


def _merged_groups(groups: list[dict]) -> list[dict]:
    """Return one group for all groups of equal settings, in order of first appearance.

    Frozen parameters are left out, and so is a shared parameter where it appears again.
    """
    merged: dict[str, dict] = {}
    seen: set[int] = set()
    for group in groups:
        new = [p for p in group['params'] if p.requires_grad and id(p) not in seen]
        seen.update(map(id, new))
        settings = repr({key: value for key, value in group.items() if key != 'params'})
        if new:
            merged.setdefault(settings, {**group, 'params': []})['params'].extend(new)
    return list(merged.values())
