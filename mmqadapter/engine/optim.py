"""Optimiser over what trains, and nothing else."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmqadapter.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor (same ``paramwise_cfg``) without the frozen parameters.

    The stock one hands every parameter to the optimiser where there is no ``paramwise_cfg``, warns
    once per frozen parameter where there is one, and makes a group of each tensor, which keeps
    optimisers from batching their updates. Here equal settings share a group.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser wrapper of ``model``."""
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
            params[:] = _merged(params)


def _merged(groups: list[dict]) -> list[dict]:
    """Groups of equal settings joined, in order of first appearance."""
    merged: dict[str, dict] = {}
    for group in groups:
        settings = repr({key: value for key, value in group.items() if key != 'params'})
        merged.setdefault(settings, {**group, 'params': []})['params'].extend(group['params'])
    return list(merged.values())
