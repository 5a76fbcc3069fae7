"""What a row of the block table says of a family of backbones."""

from __future__ import annotations

from dataclasses import dataclass

from mmqadapter.backbones.acceleration import FusedModules


@dataclass(frozen=True)
class BlockFamily:
    """Module names of a family of pre-norm transformer backbones.

    Names from ``attn_branch`` to ``qkv`` are relative to a block, all others to the trunk. The
    former must be called through ``__call__`` by the block's own forward, inside what activation
    checkpointing recomputes.

    Attributes:
        name: What messages call the family.
        classes: Qualified names of the nets it covers; the trunk itself or its child ``model``.
        blocks: Regex of the blocks' full names; group 1 is what ``out_indices`` counts.
        block: Class name of the blocks. A net may be built of others (norm behind the branch,
            branches side by side), where these names mean something else or nothing.
        attn_branch: Gives the attention branch before its residual sum, (B, L, C).
        mlp_in: Its input is the stream after attention, (B, L, C).
        mlp_branch: Gives the MLP branch before its residual sum, (B, L, C).
        mlp_end: Last child that ends the MLP branch; may have added the residual.
        mlp: What computes the MLP, its norm and residual aside.
        qkv: Fused projection: an ``nn.Linear``, or an ``nn.MultiheadAttention`` that packs it.
        behind: Regex of parameters behind an output: used only if a later output follows the one
            that group 1 counts, or (no group) if the last block reaches an output.
        resized: Parameters that loading fits to the image size; left out of the fingerprint.
        grid: Patch embedding whose output has the grid (H, W); '' where the attention branch of
            each block is told it, or gets tokens (B, H, W, C).
        output_norm: Norm of each output; ``{}`` stands for what ``out_indices`` counts.
        end_norm: Norm behind the net's last block alone. A net may lack either of these.
        merging: Regex of the patch mergings between stages, with children ``norm`` and
            ``reduction``; '' for a net of one stage.
        patch_order: How a merging lays out 2 x 2 tokens, from slow to fast.
        other_outputs: Arguments of the net that change what its outputs are.
        fused: Classes of modules that compute attention, and what computes it in fewer kernels;
            none where the net uses ``scaled_dot_product_attention`` by itself.
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
    behind: str = '$'
    resized: tuple[str, ...] = ()
    grid: str = ''
    output_norm: str = ''
    end_norm: str = ''
    merging: str = ''
    patch_order: str = ''
    other_outputs: tuple[str, ...] = ()
    fused: FusedModules = ()
