"""A row of the table of backbone families."""

from __future__ import annotations

from dataclasses import dataclass

from mmqadapter.backbones.acceleration import FusedModules


@dataclass(frozen=True)
class BlockFamily:
    """Module names of a family of pre-norm transformer backbones.

    Names from ``attn_branch`` to ``qkv`` are relative to a block, all others to the trunk. The
    block's own forward must call these children through ``__call__``, inside the part that
    activation checkpointing recomputes.

    Attributes:
        name: Name of the family in messages.
        classes: Qualified names of the nets it covers: the trunk itself or its child ``model``.
        blocks: Regex of the blocks' full names; group 1 is the number that ``out_indices`` counts.
        block: Class name of the blocks. Some nets of these classes can be built of other blocks
            (norm behind the branch, parallel branches), which the row does not describe.
        attn_branch: Child whose output is the attention branch before its residual sum, (B, L, C).
        mlp_in: Child whose input is the residual stream after attention, (B, L, C).
        mlp_branch: Child whose output is the MLP branch before its residual sum, (B, L, C).
        mlp_end: Last child of the MLP branch; it may have added the residual.
        mlp: Child that computes the MLP, without norm and residual.
        qkv: Regex of the projections: a fused one (an ``nn.Linear``, or an
            ``nn.MultiheadAttention`` that holds it), q and kv, or q, k and v, in this order.
        split_bias: Parameter of the block that is the bias of q alone. In a block that has it, the
            net joins the biases itself and reads the weight of ``qkv`` without calling it.
        behind: Regex of parameters behind an output: they are used only if a later output follows
            the one that group 1 counts, or (without a group) if the last block reaches an output.
        resized: Parameters that loading resizes to the image size; left out of the fingerprint.
        grid: Patch embedding whose output has the grid (H, W); '' where the attention branch of
            each block gets the grid as an argument, or gets tokens (B, H, W, C).
        output_norm: Norm of each output; ``{}`` stands for the number that ``out_indices`` counts.
        end_norm: Norm behind the net's last block only. A net may lack either of these norms.
        merging: Regex of the patch mergings between stages, with children ``norm`` and
            ``reduction``; '' for a net of one stage.
        patch_order: Order in which a merging lays out 2 x 2 tokens, from slow to fast.
        fused: Attention classes and their fused replacements; empty where the net uses
            ``scaled_dot_product_attention`` by itself.
    """

    name: str
    classes: tuple[str, ...]
    blocks: str
    block: str
    attn_branch: str
    mlp_in: str
    mlp_branch: str
    mlp_end: str
    mlp: str
    qkv: str
    split_bias: str = ''
    behind: str = '$'
    resized: tuple[str, ...] = ()
    grid: str = ''
    output_norm: str = ''
    end_norm: str = ''
    merging: str = ''
    patch_order: str = ''
    fused: FusedModules = ()
