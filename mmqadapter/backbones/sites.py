"""Sites: where an adapter enters a block, by hooks on the block's children.

A site is a plain object that owns hooks as bound methods, so that ``copy.deepcopy`` of a wrapped
backbone (EMA) copies site, adapter and hook together. State lives only between two children of
one block, so that activation checkpointing recomputes it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmqadapter.adapters import LoRA
from mmqadapter.adapters.base import Adapter
from mmqadapter.backbones.block_table import BlockFamily


class BranchSite:
    """Adapter on the output of a branch, before its residual sum: branch + A(branch)."""

    branch: str

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        block.get_submodule(getattr(family, self.branch)).register_forward_hook(self._add)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output + self.adapter(output)


class AttentionBranchSite(BranchSite):
    """After attention."""

    branch = 'attn_branch'


class MLPBranchSite(BranchSite):
    """After the MLP."""

    branch = 'mlp_branch'


class ParallelMLPSite:
    """Adapter beside the MLP: it reads the stream before the MLP's norm, and adds to the block."""

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        self.stream: Tensor | None = None
        self._listen(block.get_submodule(family.mlp_in))
        block.get_submodule(family.mlp_end).register_forward_hook(self._add)
        block.register_forward_hook(self._forget, always_call=True)

    def _listen(self, norm: nn.Module) -> None:
        norm.register_forward_pre_hook(self._remember)

    def _remember(self, module: nn.Module, args: tuple) -> None:
        self.stream = args[0]

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        stream, self.stream = self.stream, None
        return output + self.adapter(stream)

    def _forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.stream = None  # a block that raised has not come to `_add`


class NormedParallelMLPSite(ParallelMLPSite):
    """Adapter beside the MLP that reads what the MLP reads: the stream behind the MLP's norm."""

    def _listen(self, norm: nn.Module) -> None:
        norm.register_forward_hook(self._remember_output)

    def _remember_output(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.stream = output


class AttentionStreamSite:
    """Adapter on the stream after attention, s + A(s); the MLP reads the sum."""

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        self.change: Tensor | None = None
        block.get_submodule(family.mlp_in).register_forward_pre_hook(self._enter)
        block.get_submodule(family.mlp_end).register_forward_hook(self._add)
        block.register_forward_hook(self._forget, always_call=True)

    def _enter(self, module: nn.Module, args: tuple) -> tuple:
        self.change = self.adapter(args[0])
        return (args[0] + self.change,)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        change, self.change = self.change, None
        assert change is not None, 'the end of an MLP before its norm'
        return output + change

    def _forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.change = None  # a block that raised has not come to `_add`


class MLPStreamSite:
    """Adapter on the stream after the MLP, s + A(s)."""

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        self.stream: Tensor | None = None
        block.get_submodule(family.mlp_in).register_forward_pre_hook(self._remember)
        # First, since another site may add to the branch what is in this stream already.
        branch = block.get_submodule(family.mlp_branch)
        branch.register_forward_hook(self._add, prepend=True)
        block.register_forward_hook(self._forget, always_call=True)

    def _remember(self, module: nn.Module, args: tuple) -> None:
        self.stream = args[0]

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        stream, self.stream = self.stream, None
        assert stream is not None, 'an MLP before its norm'
        return output + self.adapter(stream + output)

    def _forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.stream = None  # a block that raised has not come to `_add`


class LinearProjectionSite:
    """LoRA beside a fused linear projection of q, k and v."""

    def __init__(self, adapter: LoRA, projection: nn.Linear) -> None:
        self.adapter = adapter
        projection.register_forward_hook(self._add)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return self.adapter(args[0], output)


class PackedProjectionSite:
    """LoRA inside ``nn.MultiheadAttention``, whose packed weight no child module holds.

    For the length of a call an instance attribute shadows the frozen parameter; the parameter
    itself, its key and its place stay as they are.
    """

    def __init__(self, adapter: LoRA, attention: nn.MultiheadAttention) -> None:
        self.adapter = adapter
        attention.register_forward_pre_hook(self._shadow)
        attention.register_forward_hook(self._restore, always_call=True)

    def _shadow(self, module: nn.Module, args: tuple) -> None:
        weight = module._parameters['in_proj_weight']
        assert weight is not None, 'q, k and v of different widths are not packed'
        module.__dict__['in_proj_weight'] = self.adapter.merge(weight)

    def _restore(self, module: nn.Module, args: tuple, output: Any) -> None:
        module.__dict__.pop('in_proj_weight', None)


def projection_site(adapter: LoRA, block: nn.Module, family: BlockFamily) -> object:
    """Site on the fused projection, for either way of holding it."""
    projection = block.get_submodule(family.qkv)
    if isinstance(projection, nn.MultiheadAttention):
        return PackedProjectionSite(adapter, projection)
    assert isinstance(projection, nn.Linear)
    return LinearProjectionSite(adapter, projection)


# By name, what ties an adapter to a block when it is called with adapter, block and family.
SITES: dict[str, Any] = {
    'attn_branch': AttentionBranchSite,
    'mlp_branch': MLPBranchSite,
    'attn_stream': AttentionStreamSite,
    'mlp_stream': MLPStreamSite,
    'mlp_parallel': ParallelMLPSite,
    'mlp_parallel_normed': NormedParallelMLPSite,
    'qkv': projection_site,
}
