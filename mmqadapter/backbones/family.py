"""A row of the table of backbone families."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from mmqadapter.backbones.acceleration import FusedModules

PAGE = 'see the docs page "Adding a backbone"'
REGEXES = ('blocks', 'block', 'qkv', 'behind', 'stages', 'merging')
PATCH_AXES = ['channel', 'column', 'row']


@dataclass(frozen=True)
class BlockFamily:
    """Module names of a family of backbones whose blocks add branches to a residual stream.

    Names from ``attn_branch`` to ``qkv`` are relative to a block, all others to the trunk. The
    block's own forward must call these children through ``__call__``, inside the part that
    activation checkpointing recomputes.

    Attributes:
        name: Name of the family in messages.
        classes: Qualified names of the nets it covers: the trunk itself or its child ``model``.
        blocks: Regex of the blocks' full names; group 1 is the number that ``out_indices`` counts.
            A net without ``out_indices`` returns an output for each number. Outputs before the
            first block, such as of a stem, are passed on as they are.
        block: Regex of the class names of the blocks. Some nets of these classes can be built of
            other blocks (norm behind the branch, parallel branches), which the row does not
            describe.
        first_output: What ``out_indices`` calls the output of blocks whose group 1 is 0.
        stage_ends: Attribute of the net that lists the last block of each output, where group 1
            counts blocks and ``out_indices`` counts stages.
        attn_branch: Child whose output is the attention branch before its residual sum, (B, L, C).
            The same name as ``mlp_branch`` for a module that both branches call; '' where no module
            returns the branch.
        attn_in: Child whose input is the stream before attention, where ``attn_branch`` is '': the
            branch is then what the stream has gained before ``mlp_in``. A block that has neither is
            of one branch, which counts as its MLP.
        mlp_in: Child whose input is the residual stream after attention, (B, L, C). '' for blocks
            of convolutions, which may change the width and grid of their input: all adapters then
            have one site, the output of the block, and no other name from ``attn_branch`` to
            ``qkv`` is read.
        mlp_branch: Child whose output is the MLP branch before its residual sum, (B, L, C).
        mlp_end: Last child of the MLP branch; it may have added the residual.
        mlp: Child that computes the MLP, without norm and residual; '' if there is none, or if it
            mixes tokens.
        qkv: Regex of the projections: a fused one (an ``nn.Linear``, or an
            ``nn.MultiheadAttention`` that holds it), q and kv, or q, k and v, in this order.
        split_bias: Parameter of the block that is the bias of q alone. In a block that has it, the
            net joins the biases itself and reads the weight of ``qkv`` without calling it.
        scaled_shortcut: The block scales the stream before it adds a branch.
        behind: Regex of parameters behind an output: they are used only if a later output follows
            the one that group 1 counts, or (without a group) if the last block reaches an output.
        stages: Regex of parameters of whole stages, in nets that run beyond the last output; group
            1 as in ``blocks``.
        resized: Regexes of parameters that loading resizes to the image size; left out of the
            fingerprint.
        conv: Convolution inside a block that :class:`~mmqadapter.adapters.ParallelConvAdapter` is
            beside; '' for none. As in ``channels``, of several names separated by ``|`` the first
            counts that a block has.
        channels: Child that tells C; '' for ``mlp_in``.
        channels_first: Tensors of four axes are maps (B, C, H, W).
        map_norms: Norms of outputs take maps (B, C, H, W).
        grid: Patch embedding, or convolution, whose output has the grid (H, W), ``{}`` for the
            number of the block; of several names separated by ``|`` the first that the net has. ''
            where a child of each block gets the grid as an argument, or gets tokens
            (B, H, W, C).
        block_grid: That child; '' for ``attn_branch``, or ``mlp_in`` in a block of one branch.
        output_norm: Norm of each output; ``{}`` stands for the number that ``out_indices`` counts.
        end_norm: Norm behind the net's last block only. A net may lack either of these norms.
        neck: Module that makes each output map of the stream as a map (B, C, H, W), frozen.
        pooled_norm: Norm of the mean over the tokens of an output, for ``out_type='avg_featmap'``.
            A net may lack this norm or the neck.
        fused_maps: The net joins the streams of its stages behind their last blocks. A highway is
            added to the maps that it returns, one for each stage.
        normed_stream: The next stage reads what ``output_norm`` returns.
        merging: Regex of the modules between stages; '' for a net of one stage.
        merging_steps: Children of such a module ('' for itself), which it has to register in
            execution order: norms and one linear step, an ``nn.Linear`` on patches of 2 x 2 tokens
            or an ``nn.Conv2d``. Where steps are of another kind, and so not linear, a highway needs
            ``downsample='low-rank'``.
        merging_pads: The merging fills up an odd grid with zeros by a function before its
            convolution.
        patch_order: Order in which a merging lays out 2 x 2 tokens, from slow to fast.
        any_tokens: Blocks take any number of tokens (B, L, C), whatever the grid, so that prompts
            can join them.
        float16: Its blocks compute in float16. Cosine attention divides by norms that round to 0.
        fused: Attention classes and their fused replacements; empty where the net uses
            ``scaled_dot_product_attention`` by itself.
    """

    name: str
    classes: tuple[str, ...]
    blocks: str
    block: str
    attn_branch: str = ''
    mlp_in: str = ''
    mlp_branch: str = ''
    mlp_end: str = ''
    mlp: str = ''
    attn_in: str = ''
    qkv: str = ''
    first_output: int = 0
    stage_ends: str = ''
    split_bias: str = ''
    scaled_shortcut: bool = False
    behind: str = '$'
    stages: str = '$'
    resized: tuple[str, ...] = ()
    conv: str = ''
    channels: str = ''
    channels_first: bool = False
    map_norms: bool = False
    grid: str = ''
    block_grid: str = ''
    output_norm: str = ''
    end_norm: str = ''
    neck: str = ''
    pooled_norm: str = ''
    fused_maps: bool = False
    normed_stream: bool = False
    merging: str = ''
    merging_steps: tuple[str, ...] = ('norm', 'reduction')
    merging_pads: bool = False
    patch_order: str = ''
    any_tokens: bool = False
    float16: bool = True
    fused: FusedModules = ()

    def __post_init__(self) -> None:
        """Check the fields that are wrong for any net.

        Raises:
            ValueError: Not a regex, no group 1, or an order that is none.
        """
        of_row = f'in the row {self.name!r} of the block table is invalid'
        for field in (*REGEXES, 'resized'):
            value = getattr(self, field)
            for regex in value if isinstance(value, tuple) else (value,):
                try:
                    groups = re.compile(regex).groups
                except re.error as error:
                    text = f'{field}={regex!r} {of_row}: expected a regex, but {error}; {PAGE}.'
                    raise ValueError(text) from error
                if field == 'blocks' and not groups:
                    raise ValueError(
                        f'blocks={regex!r} {of_row}: expected a group, (\\d+), for the number that '
                        f'out_indices counts; {PAGE}.'
                    )
        if self.patch_order and sorted(self.patch_order.split()) != PATCH_AXES:
            raise ValueError(
                f'patch_order={self.patch_order!r} {of_row}: expected the words channel, column '
                f'and row, from slow to fast; {PAGE}.'
            )

    @property
    def branches(self) -> int:
        """Number of branches of a block that adapters and taps tell apart."""
        return 2 if self.attn_branch or self.attn_in else 1

    @property
    def whole_blocks(self) -> bool:
        """True if adapters and taps sit on the outputs of blocks, not on their branches."""
        return not self.mlp_in

    @property
    def norms_on_maps(self) -> bool:
        """True if what follows the stream takes maps (B, C, H, W) instead of tokens."""
        return self.map_norms or bool(self.neck)


def is_block(family: BlockFamily, module: nn.Module) -> bool:
    """Return whether a module is of a class that ``block`` names, or of an accelerated subclass."""
    return any(re.fullmatch(family.block, c.__name__) for c in type(module).__mro__)
