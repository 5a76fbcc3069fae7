"""Which entries of a model's state are the frozen trunk's and therefore never change."""

from __future__ import annotations

from torch import nn

from mmqadapter.accounting import tuned_backbone


def frozen_keys(model: nn.Module) -> set[str]:
    """State dict keys of the trunk but for what trains in it; none for a bare backbone.

    Buffers count as frozen: the trunk stays in eval mode.
    """
    backbone = tuned_backbone(model)
    if backbone is None:
        return set()
    name = next(name for name, module in model.named_modules() if module is backbone)
    prefix = f'{name}.trunk.' if name else 'trunk.'
    state = backbone.trunk.state_dict(keep_vars=True)
    return {prefix + key for key, tensor in state.items() if not tensor.requires_grad}


def trainable_keys(model: nn.Module) -> list[str]:
    """Names of the parameters that training changes."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
