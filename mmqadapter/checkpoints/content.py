"""What a training checkpoint of a tuned model holds: all that trains, and which trunk it needs."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmqadapter.taskfile.head_bits import KEY, trained_bits
from mmqadapter.taskfile.task import plain
from mmqadapter.utils.tuned_backbone import trained_in_trunk, tuned_backbone

MARKER = 'mmqadapter'
VERSION = 1


def mark_checkpoint(model: nn.Module, checkpoint: dict) -> None:
    """Note in ``checkpoint`` trunk and settings of the wrapped backbone, where there is one."""
    backbone = tuned_backbone(model)
    if backbone is not None:
        checkpoint[MARKER] = dict(
            version=VERSION,
            fingerprint=backbone.fingerprint,
            tuning=plain(backbone.tuning_config),
        )


def drop_frozen(model: nn.Module, checkpoint: dict) -> None:
    """Take the frozen trunk out of ``checkpoint``, out of the averaged weights as well."""
    for key in frozen_keys(model):
        checkpoint['state_dict'].pop(key, None)
        checkpoint.get('ema_state_dict', {}).pop(f'module.{key}', None)


def frozen_keys(model: nn.Module) -> set[str]:
    """State dict keys of the trunk but for what trains in it; none for a bare backbone.

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
    """Check a marked checkpoint against the model; one without the mark passes.

    Raises:
        ValueError: a newer version, another trunk, or something that trains is missing.
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
    found = 'no frozen trunk' if backbone is None else backbone.fingerprint
    if found != marker['fingerprint']:
        raise ValueError(
            f'The checkpoint was trained on the trunk {marker["fingerprint"]}, the model has '
            f'{found}: use the config and the pretrained weights of that training.'
        )
    _check_complete(model, checkpoint['state_dict'])


def check_tuning(model: nn.Module, checkpoint: dict) -> None:
    """Check that a marked checkpoint is used with the adapters that it was trained with.

    Starting another training from it is free to change them.

    Raises:
        ValueError: The model has others.
    """
    trained = checkpoint.get(MARKER, {}).get('tuning')
    backbone = tuned_backbone(model)
    if trained is None or backbone is None:
        return
    if trained != (own := plain(backbone.tuning_config)):
        raise ValueError(
            f'The checkpoint was trained with the tuning config {trained}, the model has {own}: '
            'use the config of that training.'
        )


def check_bits(model: nn.Module, checkpoint: dict) -> None:
    """Check that a training at few bits does not resume in float.

    Raises:
        ValueError: The checkpoint was trained at few bits, and nothing quantises ``model``.
    """
    saved = checkpoint.get(KEY)
    if saved and not trained_bits(model):
        name, bits = next(iter(saved.items()))
        raise ValueError(
            f'The checkpoint was trained with QuantizeTaskHook ({len(saved)} layer(s), such as '
            f'{name!r} at {bits} bits), this config has no such hook and would go on in float: '
            'resume with the QuantizeTaskHook that it was trained with, or start a float training '
            'from the checkpoint with load_from and without resuming.'
        )


def _check_complete(model: nn.Module, state: dict) -> None:
    own = model.state_dict(keep_vars=True)  # its names are those of checkpoints
    missing = [name for name, t in own.items() if t.requires_grad and name not in state]
    if missing:
        raise ValueError(
            f'The checkpoint lacks {len(missing)} trainable parameter(s) of the model, such as '
            f'{missing[:3]}: use the config that it was trained with.'
        )
