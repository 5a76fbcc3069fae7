"""Content of the training checkpoints of a tuned model: all that trains, and the trunk's identity.

The frozen trunk is left out. A mark in the checkpoint says which trunk and settings it needs.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from mmqadapter.taskfile.head_bits import KEY, trained_bits
from mmqadapter.taskfile.task import plain
from mmqadapter.utils.tuned_backbone import trained_in_trunk, tuned_backbone

MARKER = 'mmqadapter'
VERSION = 1


def mark_checkpoint(model: nn.Module, checkpoint: dict) -> None:
    """Note trunk and tuning config of the wrapped backbone, if there is one, in ``checkpoint``."""
    backbone = tuned_backbone(model)
    if backbone is not None:
        checkpoint[MARKER] = dict(
            version=VERSION,
            fingerprint=backbone.fingerprint,
            tuning=plain(backbone.tuning_config),
        )


def drop_frozen(model: nn.Module, checkpoint: dict) -> None:
    """Remove the frozen trunk from ``checkpoint``, from both sets of weights of an EMA hook."""
    for key in frozen_keys(model):
        checkpoint['state_dict'].pop(key, None)
        checkpoint.get('ema_state_dict', {}).pop(f'module.{key}', None)


def frozen_keys(model: nn.Module) -> set[str]:
    """Return the state dict keys of the trunk's frozen tensors; none without a wrapped backbone.

    Buffers count as frozen: the trunk stays in eval mode.
    """
    backbone: Any = tuned_backbone(model)
    if backbone is None:
        return set()
    name = next(name for name, module in model.named_modules() if module is backbone)
    prefix = f'{name}.trunk.' if name else 'trunk.'
    trained = trained_in_trunk(backbone.trunk, backbone.trainable_names)
    return {prefix + key for key in backbone.trunk.state_dict().keys() - trained}


def check_fits(model: nn.Module, checkpoint: dict) -> None:
    """Check that a marked checkpoint fits the model; one without a mark passes.

    Raises:
        ValueError: The checkpoint has a newer version, belongs to another trunk, or lacks a
            parameter that trains.
    """
    marker = checkpoint.get(MARKER)
    if marker is None:
        return
    if marker['version'] > VERSION:
        raise ValueError(
            f'The checkpoint has version {marker["version"]}, this package reads up to {VERSION}: '
            'update mmqadapter.'
        )
    backbone = tuned_backbone(model)
    trunk = 'no frozen trunk' if backbone is None else backbone.fingerprint
    if trunk != marker['fingerprint']:
        raise ValueError(
            f'The checkpoint was trained on the trunk {marker["fingerprint"]}, the model has '
            f'{trunk}: use the config and the pretrained weights of that training.'
        )
    check_complete(model, checkpoint['state_dict'])


def check_tuning(model: nn.Module, checkpoint: dict) -> None:
    """Check that the model has the adapters that a marked checkpoint was trained with.

    This is for resuming and predicting. A new training that starts from a checkpoint may change
    the adapters.

    Raises:
        ValueError: The model has another tuning config.
    """
    stored = checkpoint.get(MARKER, {}).get('tuning')
    backbone = tuned_backbone(model)
    if stored is None or backbone is None:
        return
    if stored != (config := plain(backbone.tuning_config)):
        raise ValueError(
            f'The checkpoint was trained with the tuning config {stored}, the model has {config}: '
            'use the config of that training.'
        )


def check_bits(model: nn.Module, checkpoint: dict) -> None:
    """Check that a training with a quantized head does not resume in float.

    Raises:
        ValueError: The checkpoint was trained with a quantized head, and nothing quantizes the
            head of ``model``.
    """
    saved = checkpoint.get(KEY)
    if saved and not trained_bits(model):
        name, bits = next(iter(saved.items()))
        raise ValueError(
            f'The checkpoint was trained with QuantizeTaskHook ({len(saved)} layer(s), such as '
            f'{name!r} at {bits} bits), this config has no such hook and would continue in float: '
            'resume with the QuantizeTaskHook that it was trained with, or start a float training '
            'from the checkpoint with load_from and without resuming.'
        )


def check_complete(model: nn.Module, state: dict) -> None:
    """Check that ``state`` has all parameters of the model that train.

    Raises:
        ValueError: One is missing.
    """
    tensors = model.state_dict(keep_vars=True)  # these have the names of checkpoints
    missing = [name for name, t in tensors.items() if t.requires_grad and name not in state]
    if missing:
        raise ValueError(
            f'The checkpoint lacks {len(missing)} trainable parameter(s) of the model, such as '
            f'{missing[:3]}: use the config that it was trained with.'
        )
