"""Methods that a new config can train with, and their learning rates."""

from __future__ import annotations

from dataclasses import dataclass, field

SMALL = 384  # channels; the rates of larger nets are those of the published recipes


@dataclass(frozen=True)
class Method:
    """Way to tune the backbone, as a config describes it.

    Attributes:
        text: Description for the head of the config.
        wrapper: Registered class around the backbone; empty for full fine-tuning.
        settings: Arguments of the wrapper, as Python text.
        rate_key: Key of ``paramwise_cfg.custom_keys`` that has a learning rate of its own.
    """

    text: str
    wrapper: str
    settings: dict[str, str] = field(default_factory=dict)
    rate_key: str = 'adapters'


def method_of(name: str, bits: int) -> Method:
    """Return a method by name, with adapters of ``bits`` bits.

    Raises:
        ValueError: There is no such method.
    """
    quantizer = f"dict(type='GaussianQuantizer', bits={bits})"
    methods = {
        'highway': Method(
            f'highway beside the frozen backbone, adapters of {_bits(bits)}',
            'mmqadapter.HighwayBackbone',
            {
                'adapter': "dict(type='ConvAdapter', width=64)",
                'quantizer': quantizer,
                'taps': "'stream'",
                'cell': "'JoinedCell'",
                'saved_taps': "'half'",
            },
        ),
        'adapter': _in_path(
            'AdaptFormer', "dict(type='AdaptFormer', width=64, dropout=0.0)", quantizer, bits
        ),
        'lora': _in_path('LoRA', "dict(type='LoRA', rank=64, targets='qkv')", quantizer, bits),
        'mona': _in_path('Mona', "dict(type='Mona')", quantizer, bits),
        'frozen': Method('frozen backbone', 'mmqadapter.FrozenBackbone', rate_key=''),
        'full': Method('full fine-tuning', '', rate_key='backbone'),
    }
    if name not in methods:
        raise ValueError(f'method={name!r} is unknown: expected one of {", ".join(methods)}.')
    return methods[name]


def class_rates(method: str) -> tuple[float, float]:
    """Return the rates of a classifier, as :func:`rates`: 1e-3 as in arXiv 2307.16867."""
    return 1e-3, 0.1 if method == 'full' else 1.0


def rates(method: str, semantic: bool, channels: int) -> tuple[float, float]:
    """Return the base learning rate, and the rate of the adapters (or the backbone) over it.

    Small nets have the rates tuned on CamVid and nuclei (docs/tuned_settings.md); others those of
    the recipes for ADE20K and COCO with the rate of arXiv 2307.16867 for adapters.
    """
    if channels > SMALL:
        base = 3e-4 if semantic else 1e-4
        own = {'full': 6e-5 if semantic else base, 'lora': base}.get(method, 1e-3)
    else:
        base = 3e-3 if semantic else 1e-3
        tuned = {
            'highway': 3e-3 if semantic else 1e-2,
            'full': base * (1 / 30 if semantic else 0.3),
        }
        own = {'lora': 1e-3, **tuned}.get(method, 1e-2)
    return base, round(own / base, 4)


def _in_path(name: str, adapter: str, quantizer: str, bits: int) -> Method:
    return Method(
        f'{name} in the path of the frozen backbone, {_bits(bits)}',
        'mmqadapter.AdaptedBackbone',
        {'adapter': adapter, 'quantizer': quantizer},
    )


def _bits(bits: int) -> str:
    return f'{bits} bit' if bits == 1 else f'{bits} bits'
