"""The part of a model that a task file holds, without the adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from torch import Tensor, nn

from mmqadapter.quant import Layer, latent_of
from mmqadapter.utils.model_wrapping import unwrap_model
from mmqadapter.utils.tuned_backbone import TunedBackbone, trained_in_trunk, tuned_backbone


@dataclass(frozen=True)
class TaskState:
    """View of a model's task: built once per operation, and handed to every step of it.

    The tensors are those of the model, not copies. A view is outdated once parameters are replaced
    or begin to train; adding and removing parametrizations does neither.

    Attributes:
        model: The model without wrappers; its names are those of task files.
        backbone: The wrapped backbone in it.
        tensors: What training changes outside the adapters (neck, head, running statistics, what
            trains in the trunk), by name in the state dict; the latent value of a quantized weight.
        layers: Linear and (transposed) convolutional layers whose weight is among ``tensors``,
            by name.
    """

    model: nn.Module
    backbone: TunedBackbone
    tensors: dict[str, Tensor]
    layers: dict[str, Layer]

    @classmethod
    def of(cls, model: nn.Module) -> TaskState:
        """Return the task state of ``model``, which may be wrapped (DDP, average, compiled).

        Raises:
            ValueError: ``model`` has no wrapped backbone.
        """
        model = unwrap_model(model)
        backbone = find_backbone(model)
        tensors = _task_tensors(model, backbone)
        return cls(model, backbone, tensors, _layers_of(model, tensors))

    def tied_names(self) -> dict[str, str]:
        """Return the first name of a tensor by each of its further names."""
        first: dict[int, str] = {}
        names = {name: first.setdefault(id(t), name) for name, t in self.tensors.items()}
        return {name: stored for name, stored in names.items() if name != stored}

    def layer_of_weight(self) -> dict[int, Layer]:
        """Return the layers by the ``id`` of their weight in ``tensors``; tied weights have one."""
        return {id(latent_of(layer, 'weight')): layer for layer in self.layers.values()}


def find_backbone(model: nn.Module) -> TunedBackbone:
    """Return the wrapped backbone of ``model``.

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


def _task_tensors(model: nn.Module, backbone: TunedBackbone) -> dict[str, Tensor]:
    excluded = {id(p) for p in backbone.adapters.parameters()}
    trained = trained_in_trunk(backbone.trunk, backbone.trainable_names).keys()
    trunk = backbone.trunk.state_dict(keep_vars=True)
    excluded |= {id(tensor) for name, tensor in trunk.items() if name not in trained}
    state = model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if id(tensor) not in excluded}


def _layers_of(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Layer]:
    changed = {id(tensor) for tensor in tensors.values()}
    layers = {n: m for n, m in model.named_modules() if isinstance(m, get_args(Layer))}
    return {n: m for n, m in layers.items() if id(latent_of(m, 'weight')) in changed}
