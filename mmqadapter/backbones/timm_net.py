"""Build a timm net and load its weights, strictly, from a local file or through timm."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
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
MISFIT = 'Use the weight file of this model_name, or change model_name or its arguments.'


def build_timm(model_name: str, pretrained: bool = False, **model_kwargs: Any) -> TimmNet:
    """Build a timm ViT (DINOv2 included) or Swin that takes images of any size.

    Args:
        model_name: Name of a timm model, with or without a weight tag, or ``hf-hub:...``.
        pretrained: Load timm's own weights, from its cache or over the network.
        **model_kwargs: Arguments of the timm class, such as ``drop_path_rate`` or ``depth``.

    Raises:
        ValueError: Unknown name, neither ViT nor Swin, an argument that timm does not accept, or
            ``pretrained`` weights that timm cannot load.
    """
    _check_name(model_name)
    # timm loads strictly if the net has timm's own head; without a head it only logs misfits.
    head = {} if pretrained else {'num_classes': 0}
    try:
        kwargs = {**model_kwargs, **head, 'dynamic_img_size': True}
        model = timm.create_model(model_name, pretrained=pretrained, **kwargs)
    except (TypeError, AssertionError, RuntimeError, OSError, ValueError) as error:
        if 'dynamic_img_size' in str(error):  # not an argument of the user's
            raise _unsupported(model_name, 'a net of one image size') from error
        offline = '; without a network give checkpoint=<file> instead' if pretrained else ''
        raise ValueError(
            f'model_name={model_name!r} with pretrained={pretrained} and {model_kwargs} is '
            f'invalid: timm cannot build it ({_brief(error)}){offline}.'
        ) from error
    if not isinstance(model, TimmNet):
        raise _unsupported(model_name, type(model).__name__)
    model.patch_embed.dynamic_img_pad = True  # timm's Swin has no argument for it
    return model


def load_weight_file(model: TimmNet, checkpoint: str | Path) -> None:
    """Load all weights of a headless timm net from a file; position embeddings are resized.

    Args:
        model: Net from :func:`build_timm`.
        checkpoint: ``.safetensors``, ``.npz`` (JAX, ViT only) or ``torch.save`` file, which is read
            without running code. Weights of a classification head are skipped.

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
        _load_state(model, path)


def _check_name(model_name: str) -> None:
    """Check by timm's registry, before anything is built, that a name stands for a ViT or Swin."""
    if not isinstance(model_name, str):
        raise ValueError(
            f'model_name={model_name!r} is invalid: expected the name of a timm model, such as '
            "'vit_tiny_patch16_224'."
        )
    if ':' in model_name:  # on a hub: its class is known once it is built
        return
    if not timm.is_model(model_name):
        raise ValueError(
            f'model_name={model_name!r} is invalid: timm does not know it; similar names: '
            f'{_similar(model_name)}.'
        )
    entry = timm.model_entrypoint(model_name)
    if not _may_build(entry):
        raise _unsupported(model_name, _class_name(entry))


def _may_build(entry: Callable[..., Any]) -> bool:
    """Return whether a function of timm's registry builds a ViT or Swin, as far as it says."""
    cls = inspect.signature(entry).return_annotation
    if isinstance(cls, type) and cls is not inspect.Signature.empty:
        return issubclass(cls, TimmNet)
    modules = (vision_transformer.__name__, swin_transformer.__name__)
    return entry.__module__ in modules or not entry.__module__.startswith('timm.models.')


def _class_name(entry: Callable[..., Any]) -> str:
    cls = inspect.signature(entry).return_annotation
    return entry.__module__ if cls is inspect.Signature.empty else cls.__name__


def _unsupported(model_name: str, kind: str) -> ValueError:
    return ValueError(
        f'model_name={model_name!r} is invalid: timm builds {kind}; expected a ViT or Swin, such '
        f'as {_similar(model_name)}.'
    )


def _similar(model_name: str) -> str:
    """Return names of supported models, those that contain ``model_name`` if there are any."""
    name = model_name.split('.')[0]
    known = [n for n in timm.list_models() if _may_build(timm.model_entrypoint(n))]
    longer = [n for n in known if name in n]
    return ', '.join(get_close_matches(name, longer or known, n=3, cutoff=0))


def _brief(error: Exception) -> str:
    lines = [shorten(line, 160, placeholder=' ...') for line in str(error).splitlines()[:4]]
    return ' '.join([type(error).__name__, *lines])


def _load_state(model: TimmNet, path: Path) -> None:
    try:
        state = load_state_dict(str(path))
    except Exception as error:  # the errors of timm's readers for broken files are undocumented
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
