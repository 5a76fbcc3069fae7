"""Folder that PEFT saves: adapter_config.json and adapter_model.safetensors. Untrusted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmqadapter.interop.peft.products import Product
from mmqadapter.interop.peft.settings import PeftSettings, read_settings
from mmqadapter.interop.unfit_error import UnfitError
from mmqadapter.interop.untrusted_file import require_file
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.text import one_line

CONFIG, WEIGHTS, PICKLE = 'adapter_config.json', 'adapter_model.safetensors', 'adapter_model.bin'
PREFIX = 'base_model.model.'
NAME = re.compile(re.escape(PREFIX) + r'(.+)\.lora_([AB])\.weight')
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class PeftLora:
    """Content of a PEFT folder.

    Attributes:
        settings: Rank and scale.
        products: Low-rank products in float32, by name of the linear layer that they change,
            such as ``'blocks.0.attn.qkv'``.
    """

    settings: PeftSettings
    products: Mapping[str, Product]


def read_peft(folder: str | os.PathLike) -> PeftLora:
    """Read and check the folder of a LoRA; no code in it is run.

    Raises:
        FileNotFoundError: The folder or a file in it does not exist.
        ValueError: A file is damaged, the adapter is not a plain LoRA, shapes do not match, or
            weights are NaN or inf.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'there is no folder {str(folder)!r}; check the path.')
    settings = read_settings(Path(folder, CONFIG))
    path = Path(folder, WEIGHTS)
    try:
        return PeftLora(settings, _products(_read_tensors(path), settings))
    except UnfitError as error:
        raise ValueError(f'{str(path)!r} {error}') from error


def write_peft(content: PeftLora, folder: str | os.PathLike) -> None:
    """Write the two files of a folder, each atomically; the folder is created if missing.

    Raises:
        OSError: A file cannot be written.
    """
    tensors = {}
    for name, product in content.products.items():
        for letter, factor in zip('AB', product, strict=True):
            tensors[f'{PREFIX}{name}.lora_{letter}.weight'] = factor.contiguous()
    atomic_write(Path(folder, WEIGHTS), save(tensors, {'format': 'pt'}))
    atomic_write(Path(folder, CONFIG), content.settings.text([*content.products]).encode())


def _read_tensors(path: Path) -> dict[str, Tensor]:
    pickle = path.with_name(PICKLE).is_file()
    reason = f'{PICKLE} is a pickle, which may run code: ' if pickle else ''
    require_file(path, f'{reason}save the adapter again with PEFT (save_pretrained)')
    try:
        with safe_open(path, 'pt') as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UnfitError(f'is truncated or damaged ({one_line(error)}); copy it again.') from error


def _products(tensors: Mapping[str, Tensor], settings: PeftSettings) -> dict[str, Product]:
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = NAME.fullmatch(name)
        if not match:
            raise UnfitError(
                f'holds {short(name)}; expected only {PREFIX}<layer>.lora_A.weight and '
                '.lora_B.weight: a plain LoRA on linear layers, saved by PEFT for a timm net.'
            )
        factors.setdefault(match[1], {})[match[2]] = _checked(name, tensor)
    if not factors:
        raise UnfitError('holds no weights; save the adapter again.')
    return {name: _product(name, factors[name], settings.rank) for name in sorted(factors)}


def _checked(name: str, tensor: Tensor) -> Tensor:
    """Return ``tensor`` as float32."""
    if tensor.dtype not in DTYPES:
        dtypes = ', '.join(str(dtype) for dtype in DTYPES)
        raise UnfitError(f'has {name!r} as {tensor.dtype}; expected {dtypes}: cast and save again.')
    if not bool(tensor.isfinite().all()):
        raise UnfitError(f'has NaN or inf in {name!r}; use an earlier checkpoint of the training.')
    return tensor.float()


def _product(name: str, factors: Mapping[str, Tensor], rank: int) -> Product:
    shapes = {f'lora_{letter}': tuple(t.shape) for letter, t in sorted(factors.items())}
    down, up = factors.get('A'), factors.get('B')
    if down is None or up is None or down.ndim != 2 or up.ndim != 2:
        raise UnfitError(f'has {shapes} for {name!r}; expected the matrices lora_A and lora_B.')
    if down.shape[0] != rank or up.shape[1] != rank:
        raise UnfitError(
            f'has {shapes} for {name!r}; expected ({rank}, inputs) and (outputs, {rank}), because '
            f'{CONFIG} has r={rank}: do both files belong together?'
        )
    return Product(down, up)
