"""One forward of a trunk at next to no cost, to watch what its hooks see."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.backbones.acceleration import stock_forwards
from mmqadapter.backbones.family import BlockFamily

# Tokens of the first image that is tried: every stage of a Swin has another grid, none is square.
GRID = (4, 6)
# For nets that add maps of several resolutions: whole tokens at strides up to 32.
WHOLE_SIZE = (64, 96)
OWN_SIZES = ('img_size', 'pretrain_img_size', 'model.patch_embed.img_size')
USUAL_SIZE = 224
# Attributes of an object and their values during the run.
Change = tuple[Any, str, Any]


class DryRun:
    """Forward of a trunk in which the matrices of its blocks are not used.

    These are nearly all of the arithmetic. Linear layers and attention of a block return tensors
    of the right shape; what the block returns is invented: values that differ from block to block,
    and NaN for blocks that the wrapper takes to reach no output. Everything else (patch embedding,
    mergings, norms) is computed. Afterwards modules, buffers, caches and random states are as
    before.

    Args:
        trunk: A built trunk, with its hooks.
        family: Its row of the table.
        used: Names of the blocks that reach an output.

    Attributes:
        sizes: Shape of what each block returned, by name.
        block: Name of the block that runs now, or ran last.
    """

    def __init__(self, trunk: nn.Module, family: BlockFamily, used: Collection[str]) -> None:
        self.sizes: dict[str, torch.Size] = {}
        self.block = ''
        self._trunk = trunk
        modules = trunk.named_modules()
        blocks = {name: m for name, m in modules if re.fullmatch(family.blocks, name)}
        self._forwards = {**stock_forwards(trunk), **_matrix_forwards(blocks.values())}
        for number, (name, block) in enumerate(blocks.items()):
            scale = float(number + 1) if name in used else torch.nan
            forward = self._forwards.get(block, block.forward)
            half = getattr(block, 'half_dtype', None)
            if half:
                forward = partial(_run_half, half, forward)
            self._forwards[block] = partial(self._run_block, name, scale, forward)

    @torch.no_grad()
    def __call__(self, shape: tuple[int, ...], changes: Iterable[Change] = ()) -> Any:
        """Return the outputs for an image.

        Args:
            shape: (1, channels, H, W).
            changes: Further changes for the run, such as stand-ins for what hooks call.
        """
        forwards = ((module, 'forward', f) for module, f in self._forwards.items())
        image = invent(shape, next(self._trunk.parameters()).device)
        with torch.random.fork_rng(devices=[]), changed([*forwards, *changes]):
            return self._trunk(image)

    def _run_block(
        self, name: str, scale: float, forward: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        self.block = name
        output = forward(*args, **kwargs)
        self.sizes[name] = output.shape
        return invent(output.shape, output.device, scale).to(output.dtype)


def _run_half(dtype: torch.dtype, forward: Callable[..., Tensor], *args: Any, **kw: Any) -> Tensor:
    """Run a stock block whose matrices are in half precision; see ``HalfBlock``."""
    with torch.autocast(args[0].device.type, dtype):
        return forward(*args, **kw).to(args[0].dtype)


def invent(shape: tuple[int, ...], device: torch.device, scale: float = 1.0) -> Tensor:
    """Return values without a pattern that a norm or a permutation of tokens would leave alone."""
    positions = torch.arange(torch.Size(shape).numel(), dtype=torch.float32, device=device)
    return (positions * (0.7 + 0.1 * scale)).sin().view(shape)


def image_shapes(trunk: nn.Module) -> Iterator[tuple[int, ...]]:
    """Yield shapes (1, channels, H, W) of a small image and, for nets of one size, their own."""
    first: Any = next((m for m in trunk.modules() if isinstance(m, nn.Conv2d)), None)
    stride = first.stride[0] if first else 16
    channels = first.in_channels if first else 3
    yield 1, channels, GRID[0] * stride, GRID[1] * stride
    yield 1, channels, *WHOLE_SIZE
    own = next(filter(None, (_attribute(trunk, name) for name in OWN_SIZES)), USUAL_SIZE)
    yield (1, channels, *((own, own) if isinstance(own, int) else own))


def without_hooks(trunk: nn.Module) -> Iterator[Change]:
    """Yield the changes that run a trunk without hooks."""
    for module in trunk.modules():
        yield module, '_forward_hooks', OrderedDict()
        yield module, '_forward_pre_hooks', OrderedDict()


@contextmanager
def changed(changes: Iterable[Change]) -> Iterator[None]:
    """Set attributes of objects themselves, past those of their classes; restore them at exit."""
    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        for owner, name, value in changes:
            own: Any = vars(owner)
            before.append((own, dict(own)))
            own[name] = value
        yield
    finally:
        for own, values in reversed(before):
            own.clear()
            own.update(values)


def _matrix_forwards(blocks: Iterable[nn.Module]) -> dict[nn.Module, Callable[..., Any]]:
    forwards: dict[nn.Module, Callable[..., Any]] = {}
    for module in (module for block in blocks for module in block.modules()):
        for kind, forward in CHEAP_FORWARDS.items():
            if isinstance(module, kind):
                forwards[module] = partial(forward, module)
    return forwards


def _attribute(net: Any, path: str) -> Any:
    for name in path.split('.'):
        net = getattr(net, name, None)
    return net


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return x.new_zeros(*x.shape[:-1], layer.out_features)


def _softmax(softmax: nn.Softmax, x: Tensor) -> Tensor:
    return x


def _attention(
    attention: nn.MultiheadAttention, query: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    return query, None


CHEAP_FORWARDS: dict[type, Callable[..., Any]] = {
    nn.Linear: _linear,
    nn.Softmax: _softmax,
    nn.MultiheadAttention: _attention,
}
