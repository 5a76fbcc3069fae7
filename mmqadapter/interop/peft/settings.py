"""adapter_config.json: what PEFT says of a LoRA. It is untrusted."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

CONFIG_LIMIT = 2**20  # bytes; PEFT writes one or two thousand
MAX_RANK = 4096  # so that a damaged number does not ask for all memory
READ = ('peft_type', 'r', 'lora_alpha', 'use_rslora', 'init_lora_weights')
# What may have any value: where it came from, how it was trained, and which modules it is on
# (their weights say that). The last two act only together with a setting that we refuse.
FREE = (
    'auto_mapping',
    'base_model_name_or_path',
    'exclude_modules',
    'inference_mode',
    'layers_pattern',
    'layers_to_transform',
    'lora_dropout',
    'peft_version',
    'revision',
    'runtime_config',
    'target_modules',
    'task_type',
    'megatron_core',
    'qalora_group_size',
)
# All others must be off, those of later versions as well: what they are for, they change.
OFF: tuple[Any, ...] = (None, False, 'none', {}, [])
# Other starts (PiSSA, OLoRA, LoftQ ...) change the weights below the adapter.
STARTS = (True, False, 'gaussian', 'orthogonal')


@dataclass(frozen=True)
class PeftSettings:
    """The settings that decide what a LoRA computes.

    Attributes:
        rank: PEFT's ``r``, of the products as PEFT stores them.
        alpha: PEFT's ``lora_alpha``.
        rslora: Whether the scale is alpha / sqrt(rank) (arXiv 2312.03732), not alpha / rank.
    """

    rank: int
    alpha: float
    rslora: bool = False

    @property
    def scale(self) -> float:
        """Factor on the product: our ``scale``."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @classmethod
    def of_scale(cls, scale: float, rank: int) -> PeftSettings:
        """Settings for a product of ``rank`` with this scale, or the next number to it."""
        alpha = scale * rank
        near = (alpha, math.nextafter(alpha, math.inf), math.nextafter(alpha, -math.inf))
        best = min(near, key=lambda value: abs(value / rank - scale))
        return cls(rank, int(best) if best.is_integer() else best)

    def text(self, modules: Sequence[str]) -> str:
        """adapter_config.json for LoRA on ``modules``; PEFT fills in its defaults."""
        content = {
            'peft_type': 'LORA',
            'task_type': None,
            # A name here would make PEFT look it up on the network when it saves.
            'base_model_name_or_path': None,
            'inference_mode': True,
            'r': self.rank,
            'lora_alpha': self.alpha,
            'use_rslora': self.rslora,
            'target_modules': list(modules),
            'lora_dropout': 0.0,
            'bias': 'none',
            'fan_in_fan_out': False,
            'modules_to_save': None,
        }
        return json.dumps(content, indent=2, sort_keys=True) + '\n'


def read_settings(path: str | os.PathLike) -> PeftSettings:
    """Settings of an adapter_config.json.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It is no JSON, too long, no LoRA, or a LoRA that computes something else.
    """
    try:
        return _checked(_parsed(path))
    except _UnfitError as error:
        raise ValueError(f'{str(path)!r} {error}') from error


class _UnfitError(ValueError):
    """What is wrong with the file, without its name."""


def _parsed(path: str | os.PathLike) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'there is no {str(path)!r}; give the folder that PEFT saved (save_pretrained).'
        )
    with open(path, 'rb') as file:
        text = file.read(CONFIG_LIMIT + 1)
    if len(text) > CONFIG_LIMIT:
        raise _UnfitError(f'is longer than {CONFIG_LIMIT:,} bytes; save the adapter again.')
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _UnfitError(f'is no JSON ({short(str(error))}); save the adapter again.') from error
    if not isinstance(content, dict):
        raise _UnfitError(f'holds {short(content)}; the settings of PEFT are expected.')
    return content


def _checked(content: Mapping[str, Any]) -> PeftSettings:
    if content.get('peft_type') != 'LORA':
        raise _UnfitError(f"has peft_type={short(content.get('peft_type'))}; expected 'LORA'.")
    if content.get('init_lora_weights', True) not in STARTS:
        raise _UnfitError(
            f'has init_lora_weights={short(content["init_lora_weights"])}, which changes the '
            'weights below the adapter; convert it to a plain LoRA with PEFT first '
            '(path_initial_model_for_weight_conversion).'
        )
    for name, value in content.items():
        if name not in READ and name not in FREE and value not in OFF:
            raise _UnfitError(
                f'has {short(name)}={short(value)}, which our LoRA has no place for; plain LoRA '
                'is expected: one product on a projection, no bias, nothing else trained.'
            )
    return PeftSettings(_rank(content), _alpha(content), _rslora(content))


def _rank(content: Mapping[str, Any]) -> int:
    rank = content.get('r')
    if type(rank) is not int or not 0 < rank <= MAX_RANK:  # True is 1 to Python
        raise _UnfitError(f'has r={short(rank)}; a rank from 1 to {MAX_RANK} is expected.')
    return rank


def _alpha(content: Mapping[str, Any]) -> float:
    alpha: Any = content.get('lora_alpha')
    if type(alpha) not in (int, float) or not 0 < abs(alpha) < 1e9:
        raise _UnfitError(f'has lora_alpha={short(alpha)}; a number other than 0 is expected.')
    return alpha


def _rslora(content: Mapping[str, Any]) -> bool:
    value = content.get('use_rslora', False)
    if not isinstance(value, bool):
        raise _UnfitError(f'has use_rslora={short(value)}; true or false is expected.')
    return value
