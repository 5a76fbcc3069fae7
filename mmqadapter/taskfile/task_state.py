"""What in a model belongs to its task, adapters aside."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor, nn

from mmqadapter.quant import Layer, latent_of
from mmqadapter.utils.tuned_backbone import trained_in_trunk, tuned_backbone

# What wrappers call their only child.
WRAPPED = ('module', '_orig_mod')


def unwrapped(model: nn.Module) -> nn.Module:
    """``model`` out of what only passes calls on: DDP, an average, ``torch.compile``.

    Its names are those of task files.
    """
    children = dict(model.named_children())
    inner = next((children[name] for name in WRAPPED if [*children] == [name]), None)
    return model if inner is None else unwrapped(inner)


def find_backbone(model: nn.Module) -> Any:
    """The wrapped backbone of ``model``.

    Raises:
        ValueError: There is none.
    """
    backbone = tuned_backbone(model)
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no wrapped backbone, so all of it may have changed; keep '
            'the whole checkpoint, or wrap the backbone (type="mmqadapter.AdaptedBackbone").'
        )
    return backbone


def task_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """State of ``model`` that training changes, adapters aside, by name; latent where quantised.

    Raises:
        ValueError: No wrapped backbone.
    """
    backbone = find_backbone(model)
    left_out = {id(p) for p in backbone.adapters.parameters()}
    trained = trained_in_trunk(backbone.trunk, backbone.trainable_names).keys()
    trunk = backbone.trunk.state_dict(keep_vars=True)
    left_out |= {id(tensor) for name, tensor in trunk.items() if name not in trained}
    state = model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if id(tensor) not in left_out}


def task_layers(model: nn.Module) -> dict[str, Layer]:
    """The linear and (transposed) convolutional layers among it, by name.

    Raises:
        ValueError: No wrapped backbone.
    """
    changed = {id(tensor) for tensor in task_state_dict(model).values()}
    layers = {n: m for n, m in model.named_modules() if isinstance(m, get_args(Layer))}
    return {n: m for n, m in layers.items() if id(latent_of(m, 'weight')) in changed}
