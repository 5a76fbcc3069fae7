"""Tiny timm nets with trained LoRA, and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter import save_task
from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.backbones.timm_net import build_timm

# Every block contributes to an output.
NETS: dict[str, dict[str, Any]] = {
    'timm_vit': dict(
        model_name='vit_tiny_patch16_224',
        img_size=64,
        embed_dim=16,
        depth=3,
        num_heads=2,
        out_indices=(0, 2),
    ),
    'dinov2': dict(
        model_name='vit_small_patch14_reg4_dinov2',
        img_size=56,
        embed_dim=16,
        depth=2,
        num_heads=2,
    ),
    'timm_swin': dict(
        model_name='swin_tiny_patch4_window7_224',
        img_size=64,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
    ),
}
BITS = {'1 bit': dict(type='GaussianQuantizer', bits=1), 'float': None}


def net_of(family: str) -> dict[str, Any]:
    """Return arguments of ``TimmBackbone``."""
    return dict(NETS[family])


def timm_net(family: str) -> Any:
    """Build timm's own net, in eval mode."""
    kwargs = {k: v for k, v in net_of(family).items() if k != 'out_indices'}
    return build_timm(**kwargs).eval()


def trunk_file(family: str, folder: Path) -> str:
    """Save the weights of a trunk, so that every load gives the same trunk."""
    torch.manual_seed(5)
    path, net = folder / f'{family}.pth', timm_net(family)
    with torch.no_grad():
        for parameter in net.parameters():  # small LayerScales would hide the effect of LoRA
            parameter.add_(torch.randn_like(parameter) * 0.2)
    torch.save(net.state_dict(), path)
    return str(path)


def adapted(family: str, checkpoint: str | None = None, **changes: Any) -> AdaptedBackbone:
    """Build the net with perturbed LoRA."""
    adapter = {k: changes.pop(k) for k in ('rank', 'targets', 'scale') if k in changes}
    backbone = {'type': 'mmqadapter.TimmBackbone', **net_of(family), 'checkpoint': checkpoint}
    lora = {'type': 'LoRA', 'rank': 2, 'scale': 0.3, **adapter}
    wrapped = AdaptedBackbone(backbone, lora, **changes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in wrapped.adapters.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return wrapped.eval()


def task_of(wrapped: nn.Module, folder: Path) -> Path:
    save_task(wrapped, folder / 'lora.task.safetensors')
    return folder / 'lora.task.safetensors'


def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


def matrices(wrapped: AdaptedBackbone) -> list[Tensor]:
    """Return the weights that the adapters compute with, in stored order."""
    layers = [m for m in wrapped.adapters.modules() if isinstance(m, nn.Linear)]
    return [layer.weight.detach() for layer in layers]
