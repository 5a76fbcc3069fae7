"""Name the trainable parameters that get no gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmqadapter.registry import HOOKS
from mmqadapter.utils.sharding import as_built

MOST_NAMES = 4  # modules in a message


@HOOKS.register_module()
class MissingGradientHook(Hook):
    """Hook that names trainable parameters without a gradient after the first backward pass.

    Such a parameter does not train. An example is the output norm of a highway for a map that no
    head reads. DDP without ``find_unused_parameters`` stops in the next step, without names. With
    gradient accumulation, the passes of the first update count together.

    A parameter that only some images reach, such as that of a class, may be named without need.
    """

    def before_train(self, runner: Runner) -> None:
        """Wait for the first backward pass; nothing is done after it."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper) or isinstance(wrapper, OptimWrapperDict):
            return
        backward = wrapper.backward

        def first_backward(loss: Tensor, **kwargs: Any) -> None:
            backward(loss, **kwargs)
            if wrapper.should_update():
                vars(wrapper).update(backward=backward)
                _check(runner)

        vars(wrapper).update(backward=first_backward)


def _check(runner: Runner) -> None:
    """Name what has no gradient.

    Raises:
        ValueError: There is such a parameter, and DDP would stop because of it.
    """
    names = without_gradient(runner.model)
    if not names:
        return
    message = f'no gradient reached {compressed(names)} in the first step'
    remedy = 'set find_unused_parameters=True'
    if any('.adapters.' in name for name in names):
        remedy = f'leave maps that no head reads out of out_indices of the backbone, or {remedy}'
    if stops_without_gradient(runner.model):
        raise ValueError(f'{message}, so DDP would stop in the next one: {remedy}.')
    runner.logger.warning(f'{message}, so it does not train. For DDP, {remedy}.')


def without_gradient(model: nn.Module) -> list[str]:
    """Return the names of the trainable parameters that have no gradient."""
    with as_built(model) as built:
        trained = [(name, p) for name, p in built.named_parameters() if p.requires_grad]
    # A shard may be empty: the process then holds nothing of the parameter.
    return [name for name, p in trained if p.grad is None and p.numel()]


def stops_without_gradient(model: nn.Module) -> bool:
    """Return whether DDP expects a gradient for each trainable parameter in each step."""
    replicas = [m for m in model.modules() if isinstance(m, DistributedDataParallel)]
    return any(not (m.find_unused_parameters or m.static_graph) for m in replicas)


def compressed(names: Iterable[str]) -> str:
    """Return a short list of parameters, where those of one module are one entry."""
    by_module: dict[str, list[str]] = {}
    for name in names:
        by_module.setdefault(name.rpartition('.')[0], []).append(name)
    parts = [f'{m} ({len(n)} tensors)' if n[1:] else n[0] for m, n in by_module.items()]
    more = f' and {len(parts) - MOST_NAMES} more modules' if len(parts) > MOST_NAMES else ''
    return ', '.join(parts[:MOST_NAMES]) + more
