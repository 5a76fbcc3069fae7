"""Construction of an optimizer that holds only the parameters that train."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmqadapter.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Constructor of optimizer wrappers that leaves out frozen parameters.

    It takes the same ``paramwise_cfg`` as mmengine's. That one gives every parameter to the
    optimizer if there is no ``paramwise_cfg``, and otherwise warns once per frozen parameter and
    makes a group of each tensor, which keeps optimizers from batching their updates. Here
    parameters with equal settings share a group.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of ``model``."""
        if not self.paramwise_cfg:
            self.paramwise_cfg: dict = {'custom_keys': {}}
        return super().__call__(model)

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: Any = None
    ) -> None:
        """Append the parameter groups of ``module`` to ``params``."""
        if any(parameter.requires_grad for parameter in module.parameters()):
            super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = _merged_groups(params)


def _merged_groups(groups: list[dict]) -> list[dict]:
    """Return one group for all groups of equal settings, in order of first appearance."""
    merged: dict[str, dict] = {}
    for group in groups:
        settings = repr({key: value for key, value in group.items() if key != 'params'})
        merged.setdefault(settings, {**group, 'params': []})['params'].extend(group['params'])
    return list(merged.values())
