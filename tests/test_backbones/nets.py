"""Bare and wrapped tiny nets with equal weights, and blocks with adapters written out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from tiny_backbones import fitting
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import AdaptFormer, Mona
from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone

ADAPTERS: dict[str, dict[str, Any]] = {
    'adaptformer': dict(type='AdaptFormer', width=4, dropout=0.0, scale=0.5),
    'adaptformer-normed': dict(type='NormedAdaptFormer', width=4, dropout=0.0, scale=0.5),
    'sequential': dict(type='SequentialAdapter', width=4, scale='learned'),
    'conv': dict(type='ConvAdapter', width=4, kernel_size=(3, 5), scale='learned'),
    'mona': dict(type='Mona', width=4, dropout=0.0),
    'lora': dict(type='LoRA', rank=2, scale=2.0),
    'lora-qkv': dict(type='LoRA', rank=2, targets='qkv', scale='learned'),
}
# Adapters that have no site in the blocks of a net.
WITHOUT_SITE = {
    'convnext_tiny': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'mmseg.MSCAN': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'mmdet.ResNet': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'tiny_caformer': ('lora', 'lora-qkv', 'adaptformer-normed', 'mona'),
    'mmpretrain.ConvNeXt': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'mmpretrain.PoolFormer': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'vit_base_patch16_xp_224': ('lora', 'lora-qkv'),
    'tiny_vit_5m_224': ('lora', 'lora-qkv'),
    'sam2_hiera_tiny': ('lora', 'lora-qkv'),
    'maxvit_tiny_tf_224': ('lora', 'lora-qkv'),
    'coatnet_0_rw_224': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'davit_tiny': ('adaptformer-normed',),
    'tiny_focalnet': ('lora', 'lora-qkv', 'adaptformer-normed'),
    'mambaout_tiny': ('lora', 'lora-qkv'),
    'tiny_gcvit': ('lora', 'lora-qkv'),
    'edgenext_xx_small': ('lora', 'lora-qkv', 'adaptformer-normed'),
}
ONE_BIT = dict(type='GaussianQuantizer', bits=1)


@torch.no_grad()
def randomize(module: nn.Module, std: float = 0.2) -> None:
    """Move every parameter, those that start at 0, 1 or 1e-5 included."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * std)


def bare(cfg: dict) -> nn.Module:
    """The net alone, frozen, in eval mode; equal configs give equal weights.

    Frozen, since rounding in PyTorch's matrix products depends on ``requires_grad``.
    """
    torch.manual_seed(0)
    net = MODELS.build(ConfigDict(cfg))
    randomize(net)
    net.eval()  # not chained: some nets return None
    return net.requires_grad_(False)


def wrap(cfg: dict, adapter: str = 'adaptformer', **kwargs: Any) -> AdaptedBackbone:
    """``bare(cfg)`` with adapters as they start."""
    require_site(cfg, adapter)
    torch.manual_seed(0)
    wrapped = AdaptedBackbone(cfg, ADAPTERS[adapter], **kwargs)
    wrapped.load_state_dict(bare(cfg).state_dict(), strict=False)
    return wrapped


def has_site(cfg: dict, adapter: str) -> bool:
    """Whether all blocks of a net have the sites of an adapter."""
    return adapter not in WITHOUT_SITE.get(cfg.get('model_name', cfg['type']), ())


def require_site(cfg: dict, adapter: str) -> None:
    """Skip a test of an adapter that has no site in the blocks of a net."""
    if not has_site(cfg, adapter):
        pytest.skip(f'these blocks have no site for {adapter}')


def trained(cfg: dict, adapter: str = 'adaptformer', **kwargs: Any) -> AdaptedBackbone:
    """``bare(cfg)`` with adapters that have moved."""
    wrapped = wrap(cfg, adapter, **kwargs)
    randomize(wrapped.adapters)
    return wrapped


def images(height: int = 64, width: int = 64) -> Tensor:
    """Two random images, the same ones each time."""
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))


def images_for(cfg: dict, height: int, width: int) -> Tensor:
    """``images`` of this size, or of the one size that the net takes."""
    return images(*fitting(cfg, (height, width)))


def equal(first: Iterable[Tensor], second: Iterable[Tensor]) -> bool:
    """Whether maps agree bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def backward(net: nn.Module) -> dict[str, Tensor | None]:
    """Gradients of a loss on all maps, by parameter name."""
    # Weighted, since the plain sum of a normalised map does not depend on the input.
    maps = net(images())
    loss = sum((m * torch.linspace(0, 1, m.numel()).view_as(m)).sum() for m in maps)
    loss.backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def segmentor(backbone: dict, **kwargs: Any) -> nn.Module:
    """Segmentor on the last map (16 channels)."""
    head = dict(type='FCNHead', in_channels=16, channels=4, num_convs=1, in_index=-1)
    cfg = dict(
        type='mmseg.EncoderDecoder',
        backbone=backbone,
        decode_head=dict(**head, num_classes=3, norm_cfg=dict(type='GN', num_groups=2)),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
        _scope_='mmseg',
        **kwargs,
    )
    return MODELS.build(ConfigDict(cfg))


def detector(backbone: dict) -> nn.Module:
    """Detector on both maps."""
    net = backbone.get('backbone', backbone)
    net = net.get('arch', net)
    names = ('embed_dims', 'embed_dim', 'dims', 'channels', 'base_channels')
    width = next(net[name] for name in names if name in net)
    channels = [width if isinstance(width, int) else width[0], 16]
    cfg = dict(
        type='mmdet.RetinaNet',
        backbone=backbone,
        neck=dict(type='FPN', in_channels=channels, out_channels=8, num_outs=2),
        bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8),
        _scope_='mmdet',
    )
    return MODELS.build(ConfigDict(cfg))


def block_by_hand(
    block: nn.Module,
    adapters: nn.ModuleDict,
    places: tuple[int, int],
    x: Tensor,
    *grid: Any,
    **kwargs: Any,
) -> Tensor:
    """Stream after a bare ``block`` with bottleneck adapters, by the papers' formulas.

    ``places`` is the token grid of a plain ViT; that of another block is in its arguments.
    """
    if kind(block) in WHOLE:
        return adapted_output(WHOLE[kind(block)](block, x), adapters)
    assert kind(block) in BRANCHES, f'write {kind(block)} out in BRANCHES or WHOLE of nets.py'
    attn, mlp = BRANCHES[kind(block)]
    first, second = SHORTCUTS.get(kind(block), (_same, _same))
    if kind(block) == 'mscan.MSCABlock':  # tokens outside, maps inside
        x, places, grid = x.transpose(1, 2).unflatten(2, grid), grid, ()
    maps = x.ndim == 4 and kind(block) in ON_MAPS
    if 'BEiT' in kind(block):  # position biases, or None
        grid = ()
    if grid and x.ndim == 3:
        places = grid[0] if len(grid) == 1 else grid

    def change(adapter: Any, x: Tensor, by_hand: Any, *args: Any) -> Tensor:
        if maps:
            x = x.permute(0, 2, 3, 1)
        branch = by_hand(adapter, x, *args, x.shape[1:3] if x.ndim == 4 else places)
        return branch.permute(0, 3, 1, 2) if maps else branch

    if attn is not None:
        branch = attn(block, x, *grid, **kwargs)
        if 'attn_branch' in adapters:
            branch = branch + change(adapters['attn_branch'], branch, bottleneck_by_hand, F.gelu)
        x = BETWEEN.get(kind(block), _same)(block, first(block, x) + branch, *grid)
    if 'attn_stream' in adapters:
        x = x + change(adapters['attn_stream'], x, mona_by_hand)
    branch = mlp(block, x, places)
    if 'mlp_branch' in adapters:
        branch = branch + change(adapters['mlp_branch'], branch, bottleneck_by_hand, F.gelu)
    if 'mlp_parallel' in adapters:
        branch = branch + change(adapters['mlp_parallel'], x, bottleneck_by_hand, F.relu)
    if 'mlp_parallel_normed' in adapters:
        normed = _mlp_input(block, x)
        branch = branch + bottleneck_by_hand(
            adapters['mlp_parallel_normed'], normed, F.relu, places
        )
    x = second(block, x) + branch
    x = x + change(adapters['mlp_stream'], x, mona_by_hand) if 'mlp_stream' in adapters else x
    x = end_of_block(block, x)
    return x.flatten(2).transpose(1, 2) if kind(block) == 'mscan.MSCABlock' else x


def adapted_output(y: Tensor, adapters: nn.ModuleDict) -> Tensor:
    """Maps (B, C, H, W) that a block of convolutions returns, with what its adapter adds."""
    if 'output' not in adapters:
        return y
    adapter, tokens = adapters['output'], y.permute(0, 2, 3, 1)
    if isinstance(adapter, Mona):
        change = mona_by_hand(adapter, tokens, y.shape[2:])
    else:
        activation = F.relu if isinstance(adapter, AdaptFormer) else F.gelu
        change = bottleneck_by_hand(adapter, tokens, activation, y.shape[2:])
    return y + change.permute(0, 3, 1, 2)


def end_of_block(block: Any, x: Tensor) -> Tensor:
    """The stream as a block returns it: some of Swin V2 CR norm it."""
    return block.norm3(x) if 'XCA' not in kind(block) and hasattr(block, 'norm3') else x


def _same(block: nn.Module, x: Tensor, *grid: Any) -> Tensor:
    return x


def _mlp_input(block: Any, x: Tensor) -> Tensor:
    """What the MLP reads of the stream."""
    if any(part in type(block).__name__ for part in ('V2', 'Post')):
        return x  # its norm is behind the MLP
    norms = ('ln2', 'norm2', 'mlp.norm', 'in_norm', 'norm')
    modules = dict(block.named_modules())
    return next(modules[name] for name in norms if name in modules)(x)


@torch.no_grad()
def merge_lora(net: nn.Module, wrapped: FrozenBackbone) -> None:
    """Change the weights of a bare ``net`` as the LoRA of ``wrapped`` changes its outputs."""
    for name, adapters in wrapped.adapters.items():
        slots = dict(zip('qkv', _qkv_weights(net.get_submodule(_dotted(net, name))), strict=True))
        lora = adapters['qkv']
        for target, product in lora.products.items():
            change = lora.scale(product.up.weight @ product.down.weight)
            for slot, rows in zip(target, change.chunk(len(target)), strict=True):
                slots[slot] += rows


def _dotted(net: nn.Module, name: str) -> str:
    return next(n for n, _ in net.named_modules() if n.replace('.', '_') == name)


def _qkv_weights(block: nn.Module) -> tuple[Tensor, ...]:
    """Weights to q, k and v: views of a fused weight, or separate ones."""
    parameters = dict(block.attn.named_parameters())
    fused = ('w_msa.qkv.weight', 'attn.in_proj_weight', 'qkv.weight')
    if whole := [parameters[name] for name in fused if name in parameters]:
        return whole[0].chunk(3)
    if 'kv.weight' in parameters:
        return (parameters['q.weight'], *parameters['kv.weight'].chunk(2))
    return tuple(parameters[f'{part}_proj.weight'] for part in 'qkv')


def bottleneck_by_hand(adapter: Any, x: Tensor, activation: Any, places: tuple[int, int]) -> Tensor:
    """What an adapter adds to tokens (B, L, C) or (B, H, W, C), convolutions included."""
    hidden = activation(F.linear(x, adapter.down.weight, adapter.down.bias))
    if adapter.spatial:
        hidden = _mixed(adapter.mixing, hidden, places)
    change = F.linear(hidden, adapter.up.weight, adapter.up.bias)
    return change * adapter.scale(torch.ones(()))


def mona_by_hand(adapter: Any, x: Tensor, places: tuple[int, int]) -> Tensor:
    """What Mona adds to the stream."""
    norm = adapter.norm
    normed = F.layer_norm(x, x.shape[-1:], norm.norm.weight, norm.norm.bias)
    hidden = adapter.down(normed * norm.normed_scale + x * norm.plain_scale)
    hidden = _mixed(adapter.mixing, hidden, places)
    return adapter.up(F.gelu(hidden + adapter.projector(hidden)))


def _mixed(mixing: Any, x: Tensor, places: tuple[int, int]) -> Tensor:
    flat, (height, width) = x.flatten(1, -2), places
    leading, maps = flat[:, : -height * width], flat[:, -height * width :]
    maps = maps.unflatten(1, (height, width))
    parts = [_convolved(c, maps) for c in mixing.convolutions]
    maps = maps + sum(parts) / len(parts)
    return torch.cat([leading, maps.flatten(1, 2)], 1).view_as(x)


def _convolved(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """Depthwise, as shifted copies of maps (B, H, W, r), weighted and added up."""
    size, (height, width) = convolution.kernel_size[0], maps.shape[1:3]
    around = F.pad(maps, (0, 0, *4 * [size // 2]))
    shifts = [(i, j) for i in range(size) for j in range(size)]
    weight = convolution.weight[:, 0]
    added = [weight[:, i, j] * around[:, i : i + height, j : j + width] for i, j in shifts]
    return torch.stack(added).sum(0) + convolution.bias


def _packed_attention(block: nn.Module, x: Tensor) -> Tensor:
    attention = block.attn.attn
    packed = F.linear(block.ln1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (
        p.unflatten(2, (attention.num_heads, -1)).transpose(1, 2) for p in packed.chunk(3, 2)
    )
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
    return attention.out_proj((weights @ v).transpose(1, 2).flatten(2))


def _scaled(gamma: Tensor | None, branch: Tensor) -> Tensor:
    """A branch times a layer scale that is a bare parameter, or left out."""
    return branch if gamma is None else gamma * branch


def _within_windows(module: Any, size: int, x: Tensor) -> Tensor:
    """``module`` on each window of maps (B, H, W, C), which zeros fill up to whole windows."""
    (height, width), output = x.shape[1:3], torch.zeros_like(x)
    for top in range(0, height, size):
        for left in range(0, width, size):
            window = x[:, top : top + size, left : left + size]
            rows, columns = window.shape[1:3]
            padded = F.pad(window, (0, 0, 0, size - columns, 0, size - rows))
            output[:, top : top + size, left : left + size] = module(padded)[:, :rows, :columns]
    return output


def _sam_attention(block: Any, x: Tensor) -> Tensor:
    normed = block.norm1(x)
    if not block.window_size:
        return block.ls1(block.attn(normed))
    return block.ls1(_within_windows(block.attn, block.window_size, normed))


def _window_attention(block: Any, x: Tensor) -> Tensor:
    normed = block.ln1(x)
    if not block.window_size:
        return block.attn(normed)
    return _within_windows(block.attn, block.window_size, normed)


def _plain_attention(attention: Any, x: Tensor) -> Tensor:
    packed = attention.qkv(x).unflatten(2, (3, attention.num_heads, -1))
    q, k, v = packed.permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
    return attention.gamma1(attention.proj((weights @ v).transpose(1, 2).flatten(2)))


def _mmpretrain_convnext(block: Any, x: Tensor) -> Tensor:
    dw = block.depthwise_conv
    mixed = F.conv2d(x, dw.weight, dw.bias, padding=3, groups=len(dw.weight)).permute(0, 2, 3, 1)
    normed = F.layer_norm(mixed, mixed.shape[-1:], block.norm.weight, block.norm.bias, 1e-6)
    branch = block.pointwise_conv2(F.gelu(block.pointwise_conv1(normed)))
    return _scaled(block.gamma, branch).permute(0, 3, 1, 2)


def _convnext(block: Any, x: Tensor) -> Tensor:
    if hasattr(block, 'depthwise_conv'):
        return _mmpretrain_convnext(block, x)
    dw = block.conv_dw
    mixed = F.conv2d(x, dw.weight, dw.bias, padding=3, groups=len(dw.weight)).permute(0, 2, 3, 1)
    mean, var = mixed.mean(-1, keepdim=True), mixed.var(-1, correction=0, keepdim=True)
    normed = (mixed - mean) / (var + block.norm.eps).sqrt() * block.norm.weight + block.norm.bias
    hidden = F.gelu(F.linear(normed, block.mlp.fc1.weight, block.mlp.fc1.bias))
    if hasattr(block.mlp, 'grn'):
        norms = hidden.square().sum((1, 2), keepdim=True).sqrt()
        response = norms / (norms.mean(-1, keepdim=True) + block.mlp.grn.eps)
        hidden = hidden + block.mlp.grn.bias + block.mlp.grn.weight * hidden * response
    branch = F.linear(hidden, block.mlp.fc2.weight, block.mlp.fc2.bias)
    return _scaled(block.gamma, branch).permute(0, 3, 1, 2)


def _normed(x: Tensor, norm: Any) -> Tensor:
    """Batch norm with the statistics that it holds."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def _basic_block(block: Any, x: Tensor) -> Tensor:
    conv, stride = block.conv1, block.conv1.stride
    branch = F.relu(_normed(F.conv2d(x, conv.weight, None, stride, padding=1), block.bn1))
    branch = _normed(F.conv2d(branch, block.conv2.weight, padding=1), block.bn2)
    if block.downsample is not None:
        down, norm = block.downsample
        x = _normed(F.conv2d(x, down.weight, stride=stride), norm)
    return F.relu(branch + x)


def _edgenext_convolutions(block: Any, x: Tensor) -> Tensor:
    dw = block.conv_dw
    mixed = F.conv2d(x, dw.weight, dw.bias, dw.stride, dw.padding, groups=len(dw.weight))
    branch = _scaled(block.gamma, block.mlp(block.norm(mixed.permute(0, 2, 3, 1))))
    return (mixed if block.shortcut_after_dw else x) + branch.permute(0, 3, 1, 2)


def _edgenext_split(block: Any, x: Tensor) -> Tensor:
    """Convolutions of some channels, attention between channels and an MLP, as one branch."""
    *first, last = x.chunk(len(block.convs) + 1, 1)
    parts: list[Tensor] = []
    for conv, part in zip(block.convs, first, strict=True):
        parts.append(conv(part + parts[-1] if parts else part))
    tokens = _tokens_of(torch.cat((*parts, last), 1))
    if block.pos_embd is not None:
        tokens = tokens + _tokens_of(block.pos_embd((len(x), *x.shape[2:])))
    packed = block.xca.qkv(block.norm_xca(tokens)).unflatten(2, (3, block.xca.num_heads, -1))
    q, k, v = packed.permute(2, 0, 3, 4, 1)
    q, k = (p / p.norm(dim=-1, keepdim=True) for p in (q, k))
    weights = torch.softmax(q @ k.mT * block.xca.temperature, -1)
    attended = block.xca.proj((weights @ v).flatten(1, 2).transpose(1, 2))
    tokens = tokens + block.gamma_xca * attended
    return x + _maps_of(_scaled(block.gamma, block.mlp(block.norm(tokens))), x)


def _tokens_of(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _maps_of(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, like.shape[2:])


def _attention_on_windows(block: Any, size: int, x: Tensor) -> Tensor:
    """Attention of a block on each window of (B, H, W, C), which it takes as tokens."""
    return _within_windows(lambda w: block.attn(w.flatten(1, 2)).view_as(w), size, x)


def _davit_attention(block: Any, x: Tensor) -> Tensor:
    x = block.cpe1(x)
    normed = block.norm1(_tokens_of(x))
    if not hasattr(block, 'window_size'):
        return _maps_of(block.attn(normed), x)
    windows = _maps_of(normed, x).permute(0, 2, 3, 1)
    return _attention_on_windows(block, block.window_size[0], windows).permute(0, 3, 1, 2)


def _hiera_attention(block: Any, x: Tensor) -> Tensor:
    """Attention on whole windows, which may pool them."""
    normed, (size, _) = block.norm1(x), block.window_size
    if not size:
        return block.attn(normed)
    rows = [[block.attn(w) for w in row.split(size, 2)] for row in normed.split(size, 1)]
    return torch.cat([torch.cat(row, 2) for row in rows], 1)


def _hiera_shortcut(block: Any, x: Tensor) -> Tensor:
    if block.dim == block.dim_out:
        return x
    wide = block.proj(block.norm1(x))
    pooled = wide.permute(0, 3, 1, 2) if block.pool is None else block.pool(wide.movedim(-1, 1))
    return pooled.permute(0, 2, 3, 1)


def _gated_convolution(block: Any, x: Tensor) -> Tensor:
    gate, whole, mixed = block.fc1(block.norm(x)).split(block.split_indices, -1)
    mixed = block.conv(mixed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return block.ls(block.fc2(block.act(gate) * torch.cat((whole, mixed), -1)))


def _parallel_branches(block: Any, x: Tensor) -> Tensor:
    hidden, q, k, v = block.in_proj(block.in_norm(x)).split(block.in_split, -1)
    q, k, v = (p.unflatten(2, (block.num_heads, -1)).transpose(1, 2) for p in (q, k, v))
    weights = torch.softmax(block.q_norm(q) @ block.k_norm(k).mT * block.scale, -1)
    attended = (weights @ v).transpose(1, 2).flatten(2)
    hidden = F.gelu(hidden if block.mlp_bias is None else hidden + block.mlp_bias)
    return block.ls(block.attn_out_proj(attended) + block.mlp_out_proj(hidden))


def _pyramid(norm: str, branch: str) -> Any:
    """A branch of mmcv's modules, which add what they are given as ``identity``."""
    return lambda block, x, grid: getattr(block, branch)(
        getattr(block, norm)(x), grid, identity=torch.zeros(())
    )


# Branches before their residual sums, by module and class of block; None for a missing one. The
# MLP's are called with the grid as well.
BRANCHES: dict[str, tuple[Any, Any]] = {
    'swin.SwinBlock': (
        lambda block, x, grid: block.attn(block.norm1(x), grid),
        lambda block, x, grid: block.ffn.layers(block.norm2(x)),
    ),
    'vit.TransformerEncoderLayer': (
        _packed_attention,
        lambda block, x, grid: block.ffn.layers(block.ln2(x)),
    ),
    'vision_transformer.Block': (
        lambda block, x, **kwargs: block.ls1(block.attn(block.norm1(x), **kwargs)),
        lambda block, x, grid: block.ls2(block.mlp(block.norm2(x))),
    ),
    'eva.EvaBlock': (
        lambda block, x, **kwargs: _scaled(block.gamma_1, block.attn(block.norm1(x), **kwargs)),
        lambda block, x, grid: _scaled(block.gamma_2, block.mlp(block.norm2(x))),
    ),
    'beit.Block': (
        lambda block, x, **kwargs: _scaled(block.gamma_1, block.attn(block.norm1(x), **kwargs)),
        lambda block, x, grid: _scaled(block.gamma_2, block.mlp(block.norm2(x))),
    ),
    'beit.BEiTTransformerEncoderLayer': (
        lambda block, x, *args: block.gamma_1 * block.attn(block.ln1(x)),
        lambda block, x, grid: block.gamma_2 * block.ffn.layers(block.ln2(x)),
    ),
    'vision_transformer.TransformerEncoderLayer': (
        lambda block, x: _plain_attention(block.attn, block.ln1(x)),
        lambda block, x, grid: block.ffn.gamma2(block.ffn.layers(block.ln2(x))),
    ),
    'vit_sam.TransformerEncoderLayer': (
        _window_attention,
        lambda block, x, grid: block.ffn.layers(block.ln2(x)),
    ),
    'swin_transformer.SwinBlock': (
        lambda block, x, grid: block.attn(block.norm1(x), grid),
        lambda block, x, grid: block.ffn.layers(block.norm2(x)),
    ),
    'swin_transformer_v2.SwinBlockV2': (
        lambda block, x, grid: block.norm1(block.attn(x, grid)),
        lambda block, x, grid: block.norm2(block.ffn.layers(x)),
    ),
    'poolformer.PoolFormerBlock': (
        lambda block, x: block.layer_scale_1[:, None, None] * block.token_mixer(block.norm1(x)),
        lambda block, x, grid: block.layer_scale_2[:, None, None] * block.mlp(block.norm2(x)),
    ),
    'vision_transformer_sam.Block': (
        _sam_attention,
        lambda block, x, grid: block.ls2(block.mlp(block.norm2(x))),
    ),
    'mit.TransformerEncoderLayer': (_pyramid('norm1', 'attn'), _pyramid('norm2', 'ffn')),
    'pvt.PVTEncoderLayer': (_pyramid('norm1', 'attn'), _pyramid('norm2', 'ffn')),
    'pvt_v2.Block': (
        lambda block, x, grid: block.attn(block.norm1(x), grid),
        lambda block, x, grid: block.mlp(block.norm2(x), grid),
    ),
    'vision_transformer_relpos.RelPosBlock': (
        lambda block, x, **kwargs: block.ls1(block.attn(block.norm1(x), **kwargs)),
        lambda block, x, grid: block.ls2(block.mlp(block.norm2(x))),
    ),
    'cait.LayerScaleBlock': (
        lambda block, x: block.gamma_1 * block.attn(block.norm1(x)),
        lambda block, x, grid: block.gamma_2 * block.mlp(block.norm2(x)),
    ),
    'twins.Block': (
        lambda block, x, grid: block.attn(block.norm1(x), grid),
        lambda block, x, grid: block.mlp(block.norm2(x)),
    ),
    'twins.GSAEncoderLayer': (
        lambda block, x, grid: block.attn(block.norm1(x), grid, identity=0.0),
        lambda block, x, grid: block.ffn.layers(block.norm2(x)),
    ),
    'twins.LSAEncoderLayer': (
        lambda block, x, grid: block.attn(block.norm1(x), grid),
        lambda block, x, grid: block.ffn.layers(block.norm2(x)),
    ),
    'mscan.MSCABlock': (
        lambda block, x: block.layer_scale_1[:, None, None] * block.attn(block.norm1(x)),
        lambda block, x, grid: block.layer_scale_2[:, None, None] * block.mlp(block.norm2(x)),
    ),
    'metaformer.MetaFormerBlock': (
        lambda block, x: block.layer_scale1(block.token_mixer(block.norm1(x))),
        lambda block, x, grid: block.layer_scale2(block.mlp(block.norm2(x))),
    ),
    'swin_transformer_v2_cr.SwinTransformerV2CrBlock': (
        lambda block, x: block.norm1(block._shifted_window_attn(x)),
        lambda block, x, grid: block.norm2(block.mlp(x)),
    ),
    'vision_transformer.ResPostBlock': (
        lambda block, x: block.norm1(block.attn(x)),
        lambda block, x, grid: block.norm2(block.mlp(x)),
    ),
    'vision_transformer.ParallelScalingBlock': (
        None,
        lambda block, x, grid: _parallel_branches(block, x),
    ),
    'eva.EvaBlockPostNorm': (
        lambda block, x, **kwargs: block.norm1(block.attn(x, **kwargs)),
        lambda block, x, grid: block.norm2(block.mlp(x)),
    ),
    'tiny_vit.TinyVitBlock': (
        lambda block, x: _attention_on_windows(block, block.window_size, x),
        lambda block, x, grid: block.mlp(x),
    ),
    'hieradet_sam2.MultiScaleBlock': (
        _hiera_attention,
        lambda block, x, grid: block.mlp(block.norm2(x)),
    ),
    'maxxvit.PartitionAttentionCl': (
        lambda block, x: block._partition_attn(block.norm1(x)),
        lambda block, x, grid: block.mlp(block.norm2(x)),
    ),
    'maxxvit.TransformerBlock2d': (
        lambda block, x: block.attn(block.norm1(x)),
        lambda block, x, grid: block.mlp(block.norm2(x)),
    ),
    'davit.SpatialBlock': (
        _davit_attention,
        lambda block, x, grid: _maps_of(block.mlp(block.norm2(_tokens_of(x))), x),
    ),
    'davit.ChannelBlock': (
        _davit_attention,
        lambda block, x, grid: _maps_of(block.mlp(block.norm2(_tokens_of(x))), x),
    ),
    'focalnet.FocalNetBlock': (
        lambda block, x: block.ls1(block.modulation(block.norm1(x))),
        lambda block, x, grid: block.ls2(block.mlp(block.norm2(x))),
    ),
    'mambaout.GatedConvBlock': (None, lambda block, x, grid: _gated_convolution(block, x)),
    'gcvit.GlobalContextVitBlock': (
        lambda block, x, query: block.ls1(block._window_attn(block.norm1(x), query)),
        lambda block, x, grid: block.ls2(block.mlp(block.norm2(x))),
    ),
    'xcit.XCABlock': (
        lambda block, x, *grid: block.gamma1 * block.attn(block.norm1(x)),
        lambda block, x, grid: block.gamma2 * block.mlp(block.norm2(x)),
    ),
    'convnext.ConvNeXtBlock': (None, lambda block, x, grid: _convnext(block, x)),
    'swin_transformer_v2.SwinTransformerV2Block': (
        lambda block, x: block.norm1(block._attn(x)),
        lambda block, x, grid: block.norm2(block.mlp(x)),
    ),
    'swin_transformer.SwinTransformerBlock': (
        lambda block, x: block._attn(block.norm1(x)),
        lambda block, x, grid: block.mlp(block.norm2(x)),
    ),
}


# Blocks whose outputs adapters change, by module and class of block.
WHOLE: dict[str, Any] = {
    'resnet.BasicBlock': _basic_block,
    'edgenext.ConvBlock': _edgenext_convolutions,
    'edgenext.SplitTransposeBlock': _edgenext_split,
}
# Blocks whose streams of four axes are maps (B, C, H, W).
ON_MAPS = (
    'convnext.ConvNeXtBlock', 'mscan.MSCABlock', 'metaformer.MetaFormerBlock',
    'poolformer.PoolFormerBlock', 'maxxvit.TransformerBlock2d', 'davit.SpatialBlock',
    'davit.ChannelBlock', 'focalnet.FocalNetBlock', *WHOLE,
)  # fmt: skip
# What blocks do to the stream between their two branches.
BETWEEN: dict[str, Any] = {
    'tiny_vit.TinyVitBlock': lambda block, x: block.local_conv(x.movedim(-1, 1)).movedim(1, -1),
    'davit.SpatialBlock': lambda block, x: block.cpe2(x),
    'davit.ChannelBlock': lambda block, x: block.cpe2(x),
    'xcit.XCABlock': lambda block, x, *grid: (
        x + block.gamma3 * block.local_mp(block.norm3(x), *grid)
    ),
}
# The stream as blocks add each branch to it, where they scale it.
SHORTCUTS: dict[str, tuple[Any, Any]] = {
    'metaformer.MetaFormerBlock': (
        lambda block, x: block.res_scale1(x),
        lambda block, x: block.res_scale2(x),
    ),
    'hieradet_sam2.MultiScaleBlock': (_hiera_shortcut, lambda block, x: x),
    'maxxvit.TransformerBlock2d': (lambda block, x: block.shortcut(x), lambda block, x: x),
    'davit.SpatialBlock': (lambda block, x: block.cpe1(x), lambda block, x: x),
    'davit.ChannelBlock': (lambda block, x: block.cpe1(x), lambda block, x: x),
}


def kind(module: nn.Module) -> str:
    """Key of a block in ``BRANCHES``."""
    return f'{type(module).__module__.rpartition(".")[2]}.{type(module).__name__}'


def is_block(module: nn.Module) -> bool:
    """Whether a module of a bare net is a block."""
    return kind(module) in BRANCHES or kind(module) in WHOLE
