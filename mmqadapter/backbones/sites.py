"""Sites: where an adapter enters a block, through hooks on the block's children.

A site is a plain object whose hooks are bound methods, so that ``copy.deepcopy`` of a wrapped
backbone (EMA) copies site, adapter and hook together. A site holds a tensor only between two
children of one block, because activation checkpointing recomputes children but not block hooks.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmqadapter.adapters import LoRA, ParallelConvAdapter
from mmqadapter.adapters.base import Adapter
from mmqadapter.backbones.block_plan import block_channels
from mmqadapter.backbones.branches import hook_branch
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.projections import Projection, find_projections
from mmqadapter.backbones.select import find_child


class BranchSite:
    """Adapter on the output of a branch, before its residual sum: branch + A(branch)."""

    branch: str

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        hook_branch(block, family, self.branch, self._add)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output + self.adapter(output)


class AttentionBranchSite(BranchSite):
    """Adapter on the attention branch."""

    branch = 'attn_branch'


class MLPBranchSite(BranchSite):
    """Adapter on the MLP branch."""

    branch = 'mlp_branch'


class OutputSite(BranchSite):
    """Adapter on the output of a block of convolutions: y + A(y)."""

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        # Before other hooks, which read what the block gives to the next one.
        block.register_forward_hook(self._add, prepend=True)


class ConvolutionSite:
    """Adapter beside a convolution inside a block: conv(x) + A(x)."""

    def __init__(self, adapter: ParallelConvAdapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        _convolution(block, family).register_forward_hook(self._add)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return self.adapter.beside(args[0], output)


def convolution_shape(adapter: Adapter, block: nn.Module, family: BlockFamily) -> dict[str, Any]:
    """Return the arguments of an adapter beside the convolution that a row names."""
    layer = _convolution(block, family)
    return {
        'channels': layer.in_channels,
        'outputs': layer.out_channels,
        'stride': layer.stride[0],
        'dilation': layer.dilation[0],
    }


def _convolution(block: nn.Module, family: BlockFamily) -> Any:
    layer = find_child(block, family.conv)
    if not hasattr(layer, 'in_channels') or not hasattr(layer, 'dilation'):
        raise ValueError(
            f'ParallelConvAdapter is invalid for {type(block).__name__} of {family.name}, which '
            f'has no convolution {family.conv}: use ConvAdapter or AdaptFormer.'
        )
    return layer


class DelayedSite:
    """Base of sites that read a tensor at one child of a block and add to another child's output.

    Subclasses register a hook that sets ``held`` and one that calls :meth:`_take`.
    """

    def __init__(self, adapter: Adapter, block: nn.Module, family: BlockFamily) -> None:
        self.adapter = adapter
        self.held: Tensor | None = None
        self._register(block, family)
        block.register_forward_hook(self._forget, always_call=True)

    def _register(self, block: nn.Module, family: BlockFamily) -> None:
        raise NotImplementedError

    def _hold_input(self, module: nn.Module, args: tuple) -> None:
        self.held = args[0]

    def _take(self) -> Tensor:
        held, self.held = self.held, None
        assert held is not None, 'the end of an MLP before its start'
        return held

    def _forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.held = None  # a block that raised did not come to `_take`


class ParallelMLPSite(DelayedSite):
    """Adapter beside the MLP: reads the stream before the MLP's norm, adds to the block."""

    def _register(self, block: nn.Module, family: BlockFamily) -> None:
        self._listen(block, family)
        hook_branch(block, family, 'mlp_end', self._add)

    def _listen(self, block: nn.Module, family: BlockFamily) -> None:
        block.get_submodule(family.mlp_in).register_forward_pre_hook(self._hold_input)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output + self.adapter(self._take())


class NormedParallelMLPSite(ParallelMLPSite):
    """Adapter beside the MLP that reads what the MLP reads: the stream after the MLP's norm."""

    def _listen(self, block: nn.Module, family: BlockFamily) -> None:
        if family.mlp:
            block.get_submodule(family.mlp).register_forward_pre_hook(self._hold_input)
        else:
            block.get_submodule(family.mlp_in).register_forward_hook(self._hold_output)

    def _hold_output(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.held = output


class AttentionStreamSite(DelayedSite):
    """Adapter on the stream after attention, s + A(s); the MLP reads the sum.

    The block's shortcut was read before, so that A(s) is added once more behind the MLP.
    """

    def _register(self, block: nn.Module, family: BlockFamily) -> None:
        block.get_submodule(family.mlp_in).register_forward_pre_hook(self._enter)
        hook_branch(block, family, 'mlp_end', self._add)

    def _enter(self, module: nn.Module, args: tuple) -> tuple:
        self.held = self._change(args[0])
        return (args[0] + self.held,)

    def _change(self, stream: Tensor) -> Tensor:
        return self.adapter(stream)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output + self._take()


class AddedBranchSite(AttentionStreamSite):
    """Adapter on an attention branch that no module returns: on what the stream has gained."""

    def _register(self, block: nn.Module, family: BlockFamily) -> None:
        block.get_submodule(family.attn_in).register_forward_pre_hook(self._hold_input)
        super()._register(block, family)

    def _change(self, stream: Tensor) -> Tensor:
        return self.adapter(stream - self._take().view_as(stream))


def attention_branch_site(adapter: Adapter, block: nn.Module, family: BlockFamily) -> object:
    """Return the site on the attention branch, for either way of ending it."""
    site = AddedBranchSite if family.attn_in else AttentionBranchSite
    return site(adapter, block, family)


class MLPStreamSite(DelayedSite):
    """Adapter on the stream after the MLP, s + A(s)."""

    def _register(self, block: nn.Module, family: BlockFamily) -> None:
        block.get_submodule(family.mlp_in).register_forward_pre_hook(self._hold_input)
        # Before other hooks, since an AttentionStreamSite adds to this output what is in the held
        # stream already.
        hook_branch(block, family, 'mlp_branch', self._add, prepend=True)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return output + self.adapter(self._take() + output)


class OutputProjectionSite:
    """LoRA beside a linear projection to one or more of q, k and v."""

    def __init__(self, adapter: LoRA, projection: Projection) -> None:
        self.adapter, self.part = adapter, projection.part
        projection.layer.register_forward_hook(self._add)

    def _add(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return self.adapter(args[0], output, part=self.part)


class WeightProjectionSite:
    """LoRA on the weight of a projection that is not called: the net reads its weight.

    For the length of a call of the reader, an instance attribute shadows the frozen parameter;
    the parameter itself, its key and its place stay as they are.
    """

    def __init__(self, adapter: LoRA, projection: Projection, reader: nn.Module) -> None:
        self.adapter, self.projection = adapter, projection
        reader.register_forward_pre_hook(self._shadow)
        reader.register_forward_hook(self._restore, always_call=True)

    def _shadow(self, module: nn.Module, args: tuple) -> None:
        layer, name = self.projection.layer, self.projection.parameter
        weight = layer._parameters[name]
        assert weight is not None, 'q, k and v of different widths have no fused weight'
        layer.__dict__[name] = self.adapter.merge(weight, part=self.projection.part)

    def _restore(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.projection.layer.__dict__.pop(self.projection.parameter, None)


def projection_sites(adapter: LoRA, block: nn.Module, family: BlockFamily) -> None:
    """Tie LoRA to the projections of a block.

    Raises:
        ValueError: They are not of the widths that LoRA has.
    """
    channels, projections = block_channels(block, family), find_projections(block, family)
    shapes = [tuple(projection.weight.shape) for projection in projections]
    if shapes != [(len(projection.part) * channels, channels) for projection in projections]:
        raise ValueError(
            f'LoRA is invalid for {type(block).__name__}: its projections to q, k and v have '
            f'weights of {shapes}, expected {channels} channels each; leave it out with `blocks`, '
            'or use AdaptFormer.'
        )
    for projection in projections:
        if projection.reader is None:
            OutputProjectionSite(adapter, projection)
        else:
            WeightProjectionSite(adapter, projection, projection.reader)


def projection_parts(adapter: LoRA, block: nn.Module, family: BlockFamily) -> list[str]:
    """Return what the projections of a block return, for which hooks call LoRA."""
    return [projection.part for projection in find_projections(block, family)]
