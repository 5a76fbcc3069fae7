"""The yaml file beside the weights: what is in them. It is untrusted."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from reprlib import repr as short
from typing import Any

import yaml  # type: ignore[import-untyped]

from mmqadapter.utils.text import one_line

YAML_LIMIT = 1024  # bytes; the released files have 120
MAX_CLASSES = 100_000
METHODS = ('adaptformer', 'adaptformer-bihead', 'lora', 'lora-bihead')
# The release makes its levels by 500 alternations. That is the optimum at 1 and 2 bits, within
# 3e-8 at 4 bits, and far from it at 8, where our levels would give other weights.
BITS = (1, 2, 4)


@dataclass(frozen=True)
class Net:
    """A trunk that the release names.

    Attributes:
        channels: C, width of its stream.
        blocks: Number of its blocks; each has adapters.
        config: Arguments of :class:`mmqadapter.backbones.timm_backbone.TimmBackbone`.
    """

    channels: int
    blocks: int
    config: Mapping[str, Any]


NETS = {
    'vit_base_patch16_224_in21k': Net(768, 12, {'model_name': 'vit_base_patch16_224.augreg_in21k'}),
}


@dataclass(frozen=True)
class PetlSettings:
    """Content of the yaml file, under its own names.

    Attributes:
        backbone: Name of the trunk, a key of ``NETS``.
        bit: Width of a stored adapter weight, in bits.
        dataset: What it was trained on.
        dim: Width of the bottleneck, or rank.
        method: ``'adaptformer'`` or ``'lora'``; with ``'-bihead'`` the classifier has 1 bit too.
        num_class: Number of classes.
        scale: Factor on what an adapter adds.

    Raises:
        ValueError: A value of another type, or outside what the release has.
    """

    backbone: str
    bit: int
    dataset: str
    dim: int
    method: str
    num_class: int
    scale: float

    def __post_init__(self) -> None:
        known = {'backbone': tuple(NETS), 'bit': BITS, 'method': METHODS}
        for name, values in known.items():
            _require(name, getattr(self, name), values, f'one of {values}')
        _require('dim', self.dim, range(1, self.net.channels + 1), f'1 to {self.net.channels}')
        _require('num_class', self.num_class, range(1, MAX_CLASSES + 1), f'1 to {MAX_CLASSES}')
        if not isinstance(self.dataset, str):
            raise ValueError(f'dataset is {short(self.dataset)}; a name is expected.')
        if type(self.scale) not in (int, float) or not math.isfinite(self.scale) or not self.scale:
            raise ValueError(f'scale is {short(self.scale)}; a number other than 0 is expected.')

    @property
    def net(self) -> Net:
        """The trunk."""
        return NETS[self.backbone]

    @property
    def lora(self) -> bool:
        """Whether the adapters are LoRA on q and v; else AdaptFormer beside the MLP."""
        return self.method.startswith('lora')

    @property
    def binary_head(self) -> bool:
        """Whether the classifier is stored at 1 bit, without a bias."""
        return self.method.endswith('-bihead')

    @property
    def adapter(self) -> dict[str, Any]:
        """Config of our adapter that computes the same."""
        shape = {'rank': self.dim} if self.lora else {'width': self.dim}
        return {'type': 'LoRA' if self.lora else 'AdaptFormer', **shape, 'scale': self.scale}

    @property
    def quantizer(self) -> dict[str, Any]:
        """Config of our quantiser."""
        return {'type': 'GaussianQuantizer', 'bits': self.bit}

    def text(self) -> str:
        """The yaml file, as the release writes it."""
        return yaml.safe_dump(asdict(self))


def read_settings(path: str | os.PathLike) -> PetlSettings:
    """Settings of a yaml file; nothing in it is run.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is no yaml, too long, or lacks a setting or has a wrong one.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no file {str(path)!r}; check the path.')
    with open(path, 'rb') as file:
        text = file.read(YAML_LIMIT + 1)
    if len(text) > YAML_LIMIT:
        raise ValueError(f'{str(path)!r} is longer than {YAML_LIMIT} bytes; is it the .yaml file?')
    try:
        _refuse_aliases(text)
        content = yaml.safe_load(text)
    # A wrong date or number is a ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = one_line(error, 200)
        raise ValueError(f'{str(path)!r} is no yaml ({reason}); give the .yaml file.') from error
    return _checked(path, content)


def _refuse_aliases(text: bytes) -> None:
    """A few aliases that merge each other become gigabytes (a "billion laughs")."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise yaml.YAMLError('an alias, which no settings need')


def _checked(path: str | os.PathLike, content: Any) -> PetlSettings:
    names = [field.name for field in fields(PetlSettings)]
    if not isinstance(content, dict) or set(content) != set(names):
        found = list(content) if isinstance(content, dict) else content
        raise ValueError(
            f'{str(path)!r} has {short(found)}; the settings {", ".join(names)} are expected: '
            'give the .yaml file that belongs to the .bin file.'
        )
    try:
        settings = PetlSettings(**content)
        return PetlSettings(**{**content, 'scale': float(settings.scale)})
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{str(path)!r}: {error} Is it the file that was released?') from error


def _require(name: str, value: Any, known: tuple | range, expected: str) -> None:
    # True is 1 to Python.
    if type(value) is not type(known[0]) or value not in known:
        raise ValueError(f'{name} is {short(value)}; {expected} is expected.')
