"""Build a timm net and load its weights, strictly, from a local file or through timm."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import timm
import torch
from timm.models import load_pretrained, load_state_dict
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mmqadapter.backbones.timm_names import check_name, is_supported, unsupported

ANY_SIZE = 'dynamic_img_size'
HEADS = ('head', 'head_dist', 'fc_norm', 'attn_pool', 'blocks_token_only', 'cls_attn_blocks')
MISFIT = 'Use the weight file of this model_name, or change model_name or its arguments.'


def build_timm(model_name: str, pretrained: bool = False, **model_kwargs: Any) -> Any:
    """Build a timm net that the block table has a row for, for images of any size if it can be.

    Args:
        model_name: Name of a timm model, with or without a weight tag, or ``hf-hub:...``.
        pretrained: Load timm's own weights, from its cache or over the network.
        **model_kwargs: Arguments of the timm class, such as ``drop_path_rate`` or ``depth``.

    Raises:
        ValueError: Unknown name, a net without a row, an argument that timm does not accept, or
            ``pretrained`` weights that timm cannot load.
    """
    cls = check_name(model_name)
    # timm loads strictly if the net has timm's own head; without a head it only logs misfits.
    head = {} if pretrained else {'num_classes': 0}
    size = {ANY_SIZE: True} if _takes_any_size(cls) else {}
    try:
        kwargs = {**model_kwargs, **head, **size}
        model = timm.create_model(model_name, pretrained=pretrained, **kwargs)
    except (TypeError, AssertionError, RuntimeError, OSError, ValueError) as error:
        if ANY_SIZE in str(error):  # not an argument of the user's
            raise unsupported(model_name, 'a net of one image size') from error
        offline = '; without a network give checkpoint=<file> instead' if pretrained else ''
        raise ValueError(
            f'model_name={model_name!r} with pretrained={pretrained} and {model_kwargs} is '
            f'invalid: timm cannot build it ({_brief(error)}){offline}.'
        ) from error
    if not is_supported(type(model)):
        raise unsupported(model_name, type(model).__name__)
    embedding: Any = getattr(model, 'patch_embed', None) or getattr(model, 'embeds', None)
    if hasattr(embedding, 'dynamic_img_pad'):
        embedding.dynamic_img_pad = True  # timm's Swin has no argument for it
    return model


def _takes_any_size(cls: type | None) -> bool:
    """Return whether a class, or None for an unknown one, has the argument for any image size."""
    return cls is None or ANY_SIZE in inspect.signature(cls).parameters


def load_weight_file(
    model: nn.Module, checkpoint: str | Path, pruned: Collection[str] = ()
) -> None:
    """Load all weights of a headless timm net from a file; timm resizes position embeddings.

    Args:
        model: Net from :func:`build_timm`.
        checkpoint: ``.safetensors``, ``.npz`` (JAX, ViT only) or ``torch.save`` file, which is read
            without running code. Weights of a classification head are skipped.
        pruned: Names of weights that the net had before its head was removed; skipped as well.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file cannot be read, lacks weights, or has weights that the net does not
            have.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint={str(checkpoint)!r} is not a file; check the path.')
    if path.suffix == '.npz':
        _load_npz(model, path)
    else:
        _load_state(model, path, pruned)


def _brief(error: Exception) -> str:
    lines = [shorten(line, 160, placeholder=' ...') for line in str(error).splitlines()[:4]]
    return ' '.join([type(error).__name__, *lines])


def _load_state(model: Any, path: Path, pruned: Collection[str]) -> None:
    try:
        state = load_state_dict(str(path))
    except Exception as error:  # the errors of timm's readers for broken files are undocumented
        raise _unreadable(path, error) from error
    try:
        source = {'state_dict': state}
        convert = partial(_to_timm, pruned=pruned)
        load_pretrained(model, source, in_chans=model.in_chans, filter_fn=convert, strict=True)
    except (RuntimeError, AttributeError, TypeError, KeyError) as error:
        misfit = f'checkpoint={str(path)!r} does not fit {type(model).__name__}'
        raise ValueError(f'{misfit}: {_brief(error)} {MISFIT}') from error


def _to_timm(
    state: dict[str, Tensor], model: nn.Module, pruned: Collection[str]
) -> dict[str, Tensor]:
    convert = getattr(sys.modules[type(model).__module__], 'checkpoint_filter_fn', None)
    state = convert(state, model) if convert else state
    # CaiT drops the class token together with its head.
    unused = (*HEADS, *(['cls_token'] if getattr(model, 'cls_token', 0) is None else []))
    return {
        key: value
        for key, value in state.items()
        if key not in pruned and key.split('.')[0] not in unused
    }


def _load_npz(model: nn.Module, path: Path) -> None:
    if not isinstance(model, VisionTransformer):
        raise ValueError(
            f'checkpoint={str(path)!r} is invalid: only a ViT can read npz files; give safetensors.'
        )
    for param in model.parameters():  # timm loads what it finds; NaN remains where it found nothing
        nn.init.constant_(param, float('nan'))
    try:
        with np.load(path, allow_pickle=False) as file:
            blocks = {m[0] for key in file.files if (m := re.search(r'encoderblock_\d+', key))}
        model.load_pretrained(str(path))
    except Exception as error:  # undocumented as well; a missing array is a KeyError
        raise _unreadable(path, error) from error
    missing = [name for name, param in model.named_parameters() if torch.isnan(param).any()]
    if missing or len(blocks) > len(model.blocks):
        raise ValueError(
            f'checkpoint={str(path)!r} does not fit {type(model).__name__}: it has {len(blocks)} '
            f'blocks, the net {len(model.blocks)}; missing weights: {missing[:3]}. {MISFIT}'
        )


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f'checkpoint={str(path)!r} cannot be read as weights ({_brief(error)}). It may be '
        'truncated, hold objects other than tensors, or belong to another net: download it again.'
    )
