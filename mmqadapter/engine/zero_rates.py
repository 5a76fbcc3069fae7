"""Check that the adapters, and what a trunk trains, have a learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import WARNING

from mmengine.logging import print_log

from mmqadapter.engine.adapter_settings import deciding_key, names_adapters
from mmqadapter.engine.plain_view import PlainView


def check_rates(
    groups: Iterable[dict], base_rate: float | None, custom_keys: Mapping, view: PlainView
) -> None:
    """Check the rates that a constructor gives, before a scheduler changes them.

    Args:
        groups: Parameter groups.
        base_rate: ``optim_wrapper.optimizer.lr``, the rate of groups that set none.
        custom_keys: ``paramwise_cfg.custom_keys`` of the config.
        view: The model.

    Raises:
        ValueError: The rate is 0 for an adapter, or for a parameter of a trunk that was selected
            to train. In other parts it is how configs of mmdet freeze them; this is only logged,
            and so is a rate of 0 for all.
    """
    zero = {id(p) for g in groups if g.get('lr', base_rate) == 0 for p in g['params']}
    names = [name for name, p in view.model.named_parameters() if id(p) in zero]
    if not names:
        return
    # With `optimizer.lr=0` nothing at all trains, as in a dry run.
    tuned = [name for name in names if view.is_tuned(name) and base_rate != 0]
    first = (tuned or names)[0]
    message = f'{_cause(first, base_rate, custom_keys, view)} sets the learning rate of '
    if tuned:
        raise ValueError(
            f'{message}{view.path(first)!r} to 0, but it is selected to train; set a rate above 0.'
        )
    message += f'{view.path(first)!r} to 0 (tensors in all: {len(names)}): it does not train.'
    print_log(message, 'current', WARNING)


def _cause(name: str, base_rate: float | None, custom_keys: Mapping, view: PlainView) -> str:
    if base_rate == 0:
        return 'optimizer.lr=0'
    key = _deciding_key(name, custom_keys, view)
    return 'paramwise_cfg' if key is None else f'custom_keys[{key!r}]'


def _deciding_key(name: str, custom_keys: Mapping, view: PlainView) -> str | None:
    keys = list(custom_keys)
    if view.is_adapter(name):
        plain_names = view.plain_names()
        keys = [key for key in keys if names_adapters(key, plain_names)]
    return deciding_key(keys, name, view.path(name))
