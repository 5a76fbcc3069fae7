"""Build a timm net and fill it, strictly, from a local weight file or from timm's own store."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import timm
import torch
from timm.models import load_pretrained, load_state_dict, swin_transformer, vision_transformer
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

TimmNet = VisionTransformer | SwinTransformer
HEADS = ('head', 'head_dist')
MISFIT = 'Use the file of this very model_name, or change model_name or its arguments.'


def build_timm(model_name: str, pretrained: bool = False, **model_kwargs: Any) -> TimmNet:
    """Build a timm ViT (DINOv2 included) or Swin that takes images of any size.

    Args:
        model_name: A name timm knows, with or without a weight tag, or ``hf-hub:...``.
        pretrained: Load the weights that timm names (from its cache or over the network).
        **model_kwargs: Arguments of the timm class, such as ``drop_path_rate`` or ``depth``.

    Raises:
        ValueError: Unknown name, neither ViT nor Swin, an argument that timm refuses, or
            ``pretrained`` weights that are not to be had.
    """
    _check_name(model_name)
    # With timm's own head timm checks its weights strictly; without one it only logs what misfits.
    head = {} if pretrained else {'num_classes': 0}
    try:
        kwargs = {**model_kwargs, **head, 'dynamic_img_size': True}
        model = timm.create_model(model_name, pretrained=pretrained, **kwargs)
    except (TypeError, AssertionError, RuntimeError, OSError, ValueError) as error:
        raise ValueError(
            f'timm cannot build model_name={model_name!r} with pretrained={pretrained} and '
            f'{model_kwargs}: {_brief(error)}. It must be a ViT or Swin and know these arguments; '
            'without a network give a local weight file as checkpoint= instead of pretrained=True.'
        ) from error
    if not isinstance(model, TimmNet):
        kind = type(model).__name__
        raise ValueError(f'model_name={model_name!r} is of class {kind}; expected a ViT or Swin.')
    model.patch_embed.dynamic_img_pad = True  # timm's Swin has the code but no argument for it
    return model


def load_weight_file(model: TimmNet, checkpoint: str | Path) -> None:
    """Fill every weight of a headless timm net from a file; position embeddings are resized.

    Args:
        model: What :func:`build_timm` gave.
        checkpoint: ``.safetensors``, ``.npz`` (JAX, ViT only) or ``torch.save`` file. No code in
            it is run. Weights of a classification head are skipped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or misses weights, or has others than the net.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint={str(checkpoint)!r} is not a file; check the path.')
    if path.suffix == '.npz':
        _load_npz(model, path)
    else:
        _load_state(model, path)


def _check_name(model_name: str) -> None:
    if ':' in model_name or timm.is_model(model_name):
        return
    close = get_close_matches(model_name.split('.')[0], timm.list_models(), n=3)
    raise ValueError(
        f'timm has no model_name={model_name!r}. Close names: {close}; timm.list_models() has all.'
    )


def _brief(error: Exception) -> str:
    lines = [shorten(line, 160, placeholder=' ...') for line in str(error).splitlines()[:4]]
    return ' '.join([type(error).__name__, *lines])


def _load_state(model: TimmNet, path: Path) -> None:
    try:
        state = load_state_dict(str(path))
    except Exception as error:  # what a broken file makes its reader raise is not documented
        raise _unreadable(path, error) from error
    try:
        source = {'state_dict': state}
        load_pretrained(model, source, in_chans=model.in_chans, filter_fn=_to_timm, strict=True)
    except (RuntimeError, AttributeError, TypeError, KeyError) as error:
        misfit = f'checkpoint={str(path)!r} does not fit {type(model).__name__}'
        raise ValueError(f'{misfit}: {_brief(error)} {MISFIT}') from error


def _to_timm(state: dict[str, Tensor], model: TimmNet) -> dict[str, Tensor]:
    family = vision_transformer if isinstance(model, VisionTransformer) else swin_transformer
    state = family.checkpoint_filter_fn(state, model)
    return {key: value for key, value in state.items() if key.split('.')[0] not in HEADS}


def _load_npz(model: TimmNet, path: Path) -> None:
    if not isinstance(model, VisionTransformer):
        raise ValueError(f'{path} is an npz file, which only a ViT can read; give safetensors.')
    for param in model.parameters():  # timm fills what it finds; NaN shows what it did not
        nn.init.constant_(param, float('nan'))
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {m.group() for key in file.files if (m := re.search(r'encoderblock_\d+', key))}
        model.load_pretrained(str(path))
    except Exception as error:  # as above; a missing array is a KeyError
        raise _unreadable(path, error) from error
    unfilled = [name for name, param in model.named_parameters() if torch.isnan(param).any()]
    if unfilled or len(found) > len(model.blocks):
        raise ValueError(
            f'checkpoint={str(path)!r} does not fit {type(model).__name__}: weights not found '
            f'{unfilled[:3]}, blocks {len(found)} for {len(model.blocks)}. {MISFIT}'
        )


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f'checkpoint={str(path)!r} cannot be read as weights ({_brief(error)}). It may be cut off, '
        'hold objects other than tensors, or belong to another net: get the file again.'
    )
