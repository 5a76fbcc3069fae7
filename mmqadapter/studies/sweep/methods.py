"""Methods of a sweep: the backbone that each trains and the group whose learning rate it tunes."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmqadapter.adapters import is_float
from mmqadapter.studies.benchmark.methods import Method, parse_methods
from mmqadapter.studies.benchmark.model import NEUTRAL
from mmqadapter.studies.sweep.fields import check_keys, rate_list, text
from mmqadapter.taskfile.head_bits import check_head_bits

GROUPS = ('adapters', 'backbone')
RATES = ('head_rates', 'rates')
FILE_NAME = re.compile(r'[A-Za-z0-9][\w.@+-]*')


@dataclass(frozen=True)
class SweepMethod:
    """Method that tunes the backbone.

    Attributes:
        name: Name in rows and folders, such as ``'highway-stem@1'``.
        backbone: Config of the tuned backbone.
        head_rates: Learning rates to try for neck and head; None for those of the sweep.
        rates: Learning rates to try for the method's group; None for those of the sweep.
        head_bits: Bits that neck and head train with, as ``QuantizeTaskHook`` takes them; None
            for float.
    """

    name: str
    backbone: dict[str, Any]
    head_rates: tuple[float, ...] | None = None
    rates: tuple[float, ...] | None = None
    head_bits: int | dict[str, int] | None = None

    @property
    def group(self) -> str | None:
        """Group with a learning rate of its own, one of ``GROUPS``; None for a frozen backbone."""
        if 'adapter' in self.backbone:
            return 'adapters'
        wrapped = 'backbone' in self.backbone
        return None if wrapped and not self.backbone.get('train') else 'backbone'

    @property
    def bits(self) -> int | None:
        """Bits of a stored adapter weight; None without adapters."""
        if 'adapter' not in self.backbone:
            return None
        quantizer = self.backbone.get('quantizer')
        return 32 if quantizer is None or is_float(quantizer) else quantizer['bits']


def plain_backbone(cfg: Config) -> dict[str, Any]:
    """Return the config of the trunk without our wrapper, fully trainable, with its checkpoint.

    Raises:
        ValueError: The model has no backbone.
    """
    model = cfg.get('model')
    net = model.get('backbone') if isinstance(model, dict) else None
    if not net:
        raise ValueError('the config has no model.backbone to tune; use one that has.')
    while 'backbone' in net:
        net = net.backbone
    return {**net.to_dict(), **{name: NEUTRAL[name] for name in NEUTRAL.keys() & net.keys()}}


def parse_method(entry: Any, net: dict[str, Any]) -> SweepMethod:
    """Return the method of an entry of ``methods``.

    Args:
        entry: Name such as ``'highway@1'``, or a mapping with a ``name`` and optionally
            ``backbone``, the config of a wrapper. With ``like``, ``backbone`` has only the
            differences from that method; with neither, ``name`` is a known method.
            ``head_rates``, ``rates`` and ``head_bits`` hold for this method alone.
        net: Result of :func:`plain_backbone`.

    Raises:
        ValueError: A method or key is unknown, a value is invalid, or the name does not suit files.
    """
    if isinstance(entry, str):
        entry = {'name': entry}
    check_keys('entry', entry, ('name',), ('like', 'backbone', *RATES, 'head_bits'))
    name = text('name', entry['name'])
    if not FILE_NAME.fullmatch(name):
        raise ValueError(
            f'name={name!r} is invalid: expected a name for files, of letters, digits, . _ @ + -.'
        )
    if 'head_bits' in entry:
        check_head_bits(entry['head_bits'])
    rates = {key: rate_list(key, entry[key]) for key in RATES if key in entry}
    backbone = _backbone(name, entry, copy.deepcopy(net))
    return SweepMethod(name, backbone, **rates, head_bits=entry.get('head_bits'))


def _backbone(name: str, entry: Mapping[str, Any], net: dict[str, Any]) -> dict[str, Any]:
    like = entry.get('like', None if 'backbone' in entry else name)
    backbone = {'backbone': net} if like is None else _known_method(text('like', like)).change(net)
    backbone = _merge(backbone, entry.get('backbone', {}))
    if 'type' not in backbone:
        raise ValueError(
            'backbone has no type; set one, such as mmqadapter.AdaptedBackbone, or name a known '
            'method with like.'
        )
    return backbone


def _known_method(name: str) -> Method:
    methods = parse_methods(name)
    if len(methods) != 1 or methods[0].name != name:
        raise ValueError(f'like={name!r} is invalid: expected one method.')
    return methods[0]


def _merge(backbone: dict[str, Any], overrides: Any) -> dict[str, Any]:
    if not isinstance(overrides, Mapping):
        raise ValueError(f'backbone={overrides!r} is invalid: expected a mapping of settings.')
    holder = Config({'backbone': backbone})
    # merge_from_dict replaces text by a mapping, or a mapping by text, only with `_delete_`.
    try:
        holder.merge_from_dict({'backbone': copy.deepcopy(dict(overrides))})
    except TypeError as error:
        raise ValueError(f'backbone cannot be merged: {error}.') from error
    return holder.backbone.to_dict()
