"""Content of the .yaml file beside the weights, which is untrusted."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from reprlib import repr as short
from typing import Any

import yaml  # type: ignore[import-untyped]

from mmqadapter.interop.untrusted_file import read_limited
from mmqadapter.utils.text import one_line

YAML_LIMIT = 1024  # bytes; the released files have 120
MAX_CLASSES = 100_000
METHODS = ('adaptformer', 'adaptformer-bihead', 'lora', 'lora-bihead')
# The release computes its levels by 500 alternations. That is the optimum at 1 and 2 bits, within
# 3e-8 at 4 bits, and far from it at 8, where our levels would give other weights.
BITS = (1, 2, 4)


@dataclass(frozen=True)
class Net:
    """Trunk that the release names.

    Attributes:
        channels: C, width of its stream.
        blocks: Number of its blocks, each of which has adapters.
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
    """Content of the .yaml file, under its own names.

    Attributes:
        backbone: Name of the trunk, a key of ``NETS``.
        bit: Bits per stored adapter weight.
        dataset: Name of the training data.
        dim: Width of the bottleneck, or rank.
        method: ``'adaptformer'`` or ``'lora'``; with ``'-bihead'`` the classifier has 1 bit too.
        num_class: Number of classes.
        scale: Factor on what an adapter adds.

    Raises:
        ValueError: A value has another type, or does not occur in the release.
    """

    backbone: str
    bit: int
    dataset: str
    dim: int
    method: str
    num_class: int
    scale: float

    def __post_init__(self) -> None:
        choices = {'backbone': tuple(NETS), 'bit': BITS, 'method': METHODS}
        for name, values in choices.items():
            _require(name, getattr(self, name), values, f'one of {values}')
        _require('dim', self.dim, range(1, self.net.channels + 1), f'1 to {self.net.channels}')
        _require('num_class', self.num_class, range(1, MAX_CLASSES + 1), f'1 to {MAX_CLASSES}')
        if not isinstance(self.dataset, str):
            raise ValueError(f'dataset={short(self.dataset)} is invalid: expected a name.')
        if type(self.scale) not in (int, float) or not math.isfinite(self.scale) or not self.scale:
            raise ValueError(
                f'scale={short(self.scale)} is invalid: expected a number other than 0.'
            )

    @property
    def net(self) -> Net:
        """Return the trunk."""
        return NETS[self.backbone]

    @property
    def lora(self) -> bool:
        """Return whether the adapters are LoRA on q and v, not AdaptFormer beside the MLP."""
        return self.method.startswith('lora')

    @property
    def binary_head(self) -> bool:
        """Return whether the classifier is stored at 1 bit, without a bias."""
        return self.method.endswith('-bihead')

    @property
    def adapter(self) -> dict[str, Any]:
        """Config of our adapter that computes the same."""
        shape = {'rank': self.dim} if self.lora else {'width': self.dim}
        return {'type': 'LoRA' if self.lora else 'AdaptFormer', **shape, 'scale': self.scale}

    @property
    def quantizer(self) -> dict[str, Any]:
        """Config of our quantizer that computes the same."""
        return {'type': 'GaussianQuantizer', 'bits': self.bit}

    def text(self) -> str:
        """Return the .yaml file as the release writes it."""
        return yaml.safe_dump(asdict(self))


def read_settings(path: str | os.PathLike) -> PetlSettings:
    """Read the settings of a .yaml file; no code in it is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not YAML, too long, or a setting is missing, unknown or invalid.
    """
    text = read_limited(
        path, YAML_LIMIT, 'check the path, and give the .yaml file that belongs to the .bin file'
    )
    try:
        _refuse_aliases(text)
        content = yaml.safe_load(text)
    # An invalid date or number raises ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = one_line(error, 200)
        raise ValueError(
            f'{str(path)!r} is not valid YAML ({reason}); give the .yaml file of the release.'
        ) from error
    return _checked(path, content)


def _refuse_aliases(text: bytes) -> None:
    """Refuse aliases: a few that merge each other expand to gigabytes ("billion laughs")."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise yaml.YAMLError('an alias, which no settings need')


def _checked(path: str | os.PathLike, content: Any) -> PetlSettings:
    names = [field.name for field in fields(PetlSettings)]
    if not isinstance(content, dict) or set(content) != set(names):
        actual = list(content) if isinstance(content, dict) else content
        raise ValueError(
            f'{str(path)!r} holds {short(actual)}; expected the settings {", ".join(names)}: '
            'give the .yaml file that belongs to the .bin file.'
        )
    try:
        settings = PetlSettings(**content)
        return PetlSettings(**{**content, 'scale': float(settings.scale)})
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{str(path)!r}: {error} Is it the file that was released?') from error


def _require(name: str, value: Any, allowed: tuple | range, expected: str) -> None:
    # isinstance(True, int) holds, so that types are compared.
    if type(value) is not type(allowed[0]) or value not in allowed:
        raise ValueError(f'{name}={short(value)} is invalid: expected {expected}.')
