"""adapter_config.json: PEFT's settings of a LoRA, read from an untrusted file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

from mmqadapter.interop.unfit_error import UnfitError
from mmqadapter.interop.untrusted_file import read_limited

CONFIG_LIMIT = 2**20  # bytes; PEFT writes one or two thousand
MAX_RANK = 4096  # a damaged number must not allocate all memory
READ = ('peft_type', 'r', 'lora_alpha', 'use_rslora', 'init_lora_weights')
# Settings of any value: origin, training, and the modules, which are named by their weights too.
# The last two have an effect only together with a setting that is refused.
IGNORED = (
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
# All other settings must be off, also unknown ones of later versions: they change the function.
OFF: tuple[Any, ...] = (None, False, 'none', {}, [])
# Other initializations (PiSSA, OLoRA, LoftQ ...) change the weights below the adapter.
PLAIN_INITS = (True, False, 'gaussian', 'orthogonal')


@dataclass(frozen=True)
class PeftSettings:
    """Settings that determine what a LoRA computes.

    Attributes:
        rank: PEFT's ``r``: rank of the products as PEFT stores them.
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
        """Return settings for a product of ``rank``, with this scale as exactly as possible."""
        alpha = scale * rank
        candidates = (alpha, math.nextafter(alpha, math.inf), math.nextafter(alpha, -math.inf))
        best = min(candidates, key=lambda value: abs(value / rank - scale))
        return cls(rank, int(best) if best.is_integer() else best)

    def text(self, modules: Sequence[str]) -> str:
        """Return adapter_config.json for LoRA on ``modules``; PEFT adds its own defaults."""
        content = {
            'peft_type': 'LORA',
            'task_type': None,
            # PEFT would look up a name on the network when it saves.
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
    """Read the settings of an adapter_config.json.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON, too long, or not of a LoRA that we compute too.
    """
    text = read_limited(path, CONFIG_LIMIT, 'give the folder that PEFT saved (save_pretrained)')
    try:
        return _checked(_parsed(text))
    except UnfitError as error:
        raise ValueError(f'{str(path)!r} {error}') from error


def is_rank(value: Any) -> bool:
    """Return whether ``value`` is a whole number from 1 to 4096."""
    return type(value) is int and 0 < value <= MAX_RANK  # isinstance(True, int) holds too


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnfitError(
            f'is not valid JSON ({short(str(error))}); save the adapter again.'
        ) from error
    if not isinstance(content, dict):
        raise UnfitError(f'holds {short(content)}; expected the settings of PEFT.')
    return content


def _checked(content: Mapping[str, Any]) -> PeftSettings:
    if content.get('peft_type') != 'LORA':
        raise UnfitError(f"has peft_type={short(content.get('peft_type'))}; expected 'LORA'.")
    if content.get('init_lora_weights', True) not in PLAIN_INITS:
        raise UnfitError(
            f'has init_lora_weights={short(content["init_lora_weights"])}, which changes the '
            'weights below the adapter; convert it to a plain LoRA with PEFT first '
            '(path_initial_model_for_weight_conversion).'
        )
    for name, value in content.items():
        if name not in READ and name not in IGNORED and value not in OFF:
            raise UnfitError(
                f'has {short(name)}={short(value)}, which our LoRA does not support; expected a '
                'plain LoRA: one product on a projection, no bias, nothing else trained.'
            )
    return PeftSettings(_rank(content), _alpha(content), _rslora(content))


def _rank(content: Mapping[str, Any]) -> int:
    rank: Any = content.get('r')
    if not is_rank(rank):
        raise UnfitError(f'has r={short(rank)}; expected a rank from 1 to {MAX_RANK}.')
    return rank


def _alpha(content: Mapping[str, Any]) -> float:
    alpha: Any = content.get('lora_alpha')
    if type(alpha) not in (int, float) or not 0 < abs(alpha) < 1e9:
        raise UnfitError(f'has lora_alpha={short(alpha)}; expected a number other than 0.')
    return alpha


def _rslora(content: Mapping[str, Any]) -> bool:
    value = content.get('use_rslora', False)
    if not isinstance(value, bool):
        raise UnfitError(f'has use_rslora={short(value)}; expected true or false.')
    return value
