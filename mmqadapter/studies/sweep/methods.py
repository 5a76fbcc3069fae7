"""The methods of a sweep: the backbone that each trains, and the group whose rate it tunes."""

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
OWN = (*RATES, 'head_bits')
FILE_NAME = re.compile(r'[A-Za-z0-9][\w.@+-]*')


@dataclass(frozen=True)
class SweepMethod:
    """A way to tune the backbone.

    Attributes:
        name: What rows and folders are called, such as ``'highway-stem@1'``.
        backbone: Config of the tuned backbone.
        head_rates: Learning rates to try for neck and head; None for those of the sweep.
        rates: The same for the method's group.
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
        """What has a rate of its own beside the head: one of ``GROUPS``, or None if frozen."""
        if 'adapter' in self.backbone:
            return 'adapters'
        wrapped = 'backbone' in self.backbone
        return None if wrapped and not self.backbone.get('train') else 'backbone'

    @property
    def bits(self) -> int | None:
        """Width of an adapter's stored weight; None without adapters."""
        if 'adapter' not in self.backbone:
            return None
        quantizer = self.backbone.get('quantizer')
        return 32 if quantizer is None or is_float(quantizer) else quantizer['bits']


def plain_backbone(cfg: Config) -> dict[str, Any]:
    """Config of the net inside any wrapper of ours, all of it trainable; its weights stay named.

    Raises:
        ValueError: The model has no backbone.
    """
    model = cfg.get('model')
    net = model.get('backbone') if isinstance(model, dict) else None
    if not net:
        raise ValueError('the config has no model.backbone to tune; give one of a model with it.')
    while 'backbone' in net:
        net = net.backbone
    return {**net.to_dict(), **{name: NEUTRAL[name] for name in NEUTRAL.keys() & net.keys()}}


def parse_method(entry: Any, net: dict[str, Any]) -> SweepMethod:
    """Method of an entry of ``methods``.

    Args:
        entry: A name such as ``'highway@1'``, or a mapping with a ``name`` and, under
            ``backbone``, a wrapper's config; with ``like`` only what differs from that method.
            Without both, ``name`` is a known method. ``head_rates``, ``rates`` and ``head_bits``
            are its own.
        net: Result of :func:`plain_backbone`.

    Raises:
        ValueError: An unknown method or key, a name that is no name of a file, or wrong bits.
    """
    net = copy.deepcopy(net)
    if isinstance(entry, str):
        return SweepMethod(entry, _known(entry).change(net))
    check_keys('methods', entry, ('name',), ('like', 'backbone', *OWN))
    name = text('name', entry['name'])
    like = entry.get('like', None if 'backbone' in entry else name)
    if not FILE_NAME.fullmatch(name):
        raise ValueError(f'name={name!r} has to name files: use letters, digits, . _ @ + and -.')
    start = {'backbone': net} if like is None else _known(text('like', like)).change(net)
    backbone = _merged(name, start, entry.get('backbone', {}))
    if 'type' not in backbone:
        raise ValueError(
            f'{name}: backbone has no type; give one, such as mmqadapter.AdaptedBackbone, or say '
            'what method the entry is like.'
        )
    return SweepMethod(name, backbone, **_own(name, entry))


def _own(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {
        key: rate_list(f'{name}: {key}', entry[key]) for key in RATES if key in entry
    }
    if 'head_bits' in entry:
        own['head_bits'] = entry['head_bits']
        check_head_bits(own['head_bits'])
    return own


def _known(name: str) -> Method:
    methods = parse_methods(name)
    if len(methods) != 1 or methods[0].name != name:
        raise ValueError(f'{name!r} is not one method; give each an entry of its own.')
    return methods[0]


def _merged(name: str, start: dict[str, Any], overrides: Any) -> dict[str, Any]:
    if not isinstance(overrides, Mapping):
        raise ValueError(f'{name}: backbone={overrides!r} is no mapping of overrides.')
    holder = Config({'backbone': start})
    # A merge takes text in the place of a mapping, or the other way round, only when told.
    try:
        holder.merge_from_dict({'backbone': copy.deepcopy(dict(overrides))})
    except TypeError as error:
        raise ValueError(f'{name}: backbone does not merge ({error}).') from error
    return holder.backbone.to_dict()
