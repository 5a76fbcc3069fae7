"""Table of the sites: the places in a block where an adapter can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.layer_sites import layer_names, layer_outputs, layer_sites
from mmqadapter.backbones.prompt_sites import PromptSite
from mmqadapter.backbones.sites import (
    AttentionStreamSite,
    ConvolutionSite,
    MLPBranchSite,
    MLPStreamSite,
    NormedParallelMLPSite,
    OutputSite,
    ParallelMLPSite,
    attention_branch_site,
    convolution_shape,
    projection_parts,
    projection_sites,
)


def no_arguments(adapter: Any, block: nn.Module, family: BlockFamily) -> dict[str, Any]:
    """Return no arguments: the channels of a block are enough."""
    return {}


def one_part(adapter: Any, block: nn.Module, family: BlockFamily) -> Sequence[str]:
    """Return the one part of an adapter that hooks call without a name."""
    return ('',)


@dataclass(frozen=True)
class Site:
    """A row of the table. Its functions take an adapter, a block and the block's family.

    Attributes:
        tie: Ties an adapter to a block.
        arguments: Arguments of an adapter that depend on more of a block than its channels.
        parts: What hooks call an adapter for.
        direct: Hooks call the adapter itself, which has an interface of its own; other adapters
            get tokens and, if they are spatial, their grid.
        bypassed: Why hooks do not call an adapter here, and the remedy; of the block's row, if ''.
    """

    tie: Callable[..., object]
    arguments: Callable[..., dict[str, Any]] = no_arguments
    parts: Callable[..., Sequence[str]] = one_part
    direct: bool = False
    bypassed: str = ''


SITES = {
    'attn_branch': Site(attention_branch_site),
    'mlp_branch': Site(MLPBranchSite),
    'attn_stream': Site(AttentionStreamSite),
    'mlp_stream': Site(MLPStreamSite),
    'mlp_parallel': Site(ParallelMLPSite),
    'mlp_parallel_normed': Site(NormedParallelMLPSite),
    'output': Site(OutputSite),
    'conv': Site(ConvolutionSite, convolution_shape, direct=True),
    'qkv': Site(projection_sites, parts=projection_parts, direct=True),
    'layers': Site(
        layer_sites,
        layer_outputs,
        layer_names,
        direct=True,
        bypassed='reads the weights of this layer without calling it; use NormTuning, or an '
        'adapter with other sites.',
    ),
    'prompts': Site(PromptSite, direct=True),
}
