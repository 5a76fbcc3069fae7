"""Methods that a benchmark compares: each maps the config of a plain backbone to a tuned one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmqadapter.adapters import is_float

BITS = (1, 2, 4, 8, 32)
RECOMPUTED = 'full+checkpointing'
ConfigChange = Callable[[dict], dict]

TRAINED: dict[str, str | tuple[str, ...]] = {
    'frozen': (),
    'partial1': 'partial-1',
    'bitfit': 'bitfit',
    'norm': 'norm',
}
# Width 64 as in the published comparisons, with biases where those count them.
IN_PATH: dict[str, dict[str, Any]] = {
    'adapter': dict(type='SequentialAdapter', width=64, bias=True),
    'adaptformer': dict(type='AdaptFormer', width=64, bias=True),
    'lora': dict(type='LoRA', rank=64, targets='qkv'),
    'lorand': dict(type='LoRand'),
    'mona': dict(type='Mona'),
}
HIGHWAYS: dict[str, dict[str, Any]] = {
    'highway': dict(adapter=dict(type='DualLowRankAdapter', branches=2, rank=8), saved_taps='half'),
    'highway-joined': dict(
        adapter=dict(type='ConvAdapter', width=32),
        taps='stream',
        cell='JoinedCell',
        saved_taps='half',
    ),
    'highway-standardized': dict(
        adapter=dict(type='ConvAdapter', width=64),
        taps='block',
        cell='StandardizedCell',
        saved_taps='half',
    ),
}
WITH_ADAPTERS = (*IN_PATH, *HIGHWAYS)
KNOWN = ('full', RECOMPUTED, *TRAINED, *WITH_ADAPTERS)


@dataclass(frozen=True)
class Method:
    """Method that tunes a backbone.

    Attributes:
        name: Name in the list of methods, such as ``'highway@1'``.
        bits: Bits of a stored adapter weight; None for a method without adapters.
        change: Function from the config of a plain backbone to that of the tuned one.
    """

    name: str
    bits: int | None
    change: ConfigChange


def parse_methods(text: str) -> list[Method]:
    """Return the methods of a list such as ``'full,frozen,highway@1'``, without repetitions.

    Raises:
        ValueError: The list is empty, or a method or its bits are unknown.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(',') if name.strip()))
    if not names:
        raise ValueError(f'methods={text!r} is invalid: expected some of {", ".join(KNOWN)}.')
    return [_parse(name) for name in names]


def _parse(name: str) -> Method:
    kind, at, suffix = name.partition('@')
    if kind not in KNOWN:
        raise ValueError(
            f'method={name!r} is invalid: expected one of {", ".join(KNOWN)}; append @1, @2, @4 or '
            '@8 to a method with adapters to set their bits.'
        )
    if kind not in WITH_ADAPTERS:
        if at:
            raise ValueError(f'method={name!r} is invalid: {kind} has no adapters; use {kind!r}.')
        return Method(name, None, _without_adapters(kind))
    bits = _bits(name, suffix) if at else 32
    return Method(name, bits, _with_adapters(kind, bits))


def _bits(name: str, suffix: str) -> int:
    if suffix not in map(str, BITS):
        known = ', '.join(map(str, BITS))
        raise ValueError(f'method={name!r} is invalid: expected one of {known} bits after the @.')
    return int(suffix)


def _without_adapters(kind: str) -> ConfigChange:
    if kind in TRAINED:
        return _wrapping('FrozenBackbone', train=TRAINED[kind])
    return lambda net: {**net, 'with_cp': True} if kind == RECOMPUTED else net


def _with_adapters(kind: str, bits: int) -> ConfigChange:
    quantizer = dict(type='GaussianQuantizer', bits=bits)
    quantized: dict[str, Any] = {} if is_float(quantizer) else {'quantizer': quantizer}
    if kind in HIGHWAYS:
        return _wrapping('HighwayBackbone', **HIGHWAYS[kind], **quantized)
    return _wrapping('AdaptedBackbone', adapter=IN_PATH[kind], **quantized)


def _wrapping(wrapper: str, **options: Any) -> ConfigChange:
    return lambda net: {'type': f'mmqadapter.{wrapper}', 'backbone': net, **options}
