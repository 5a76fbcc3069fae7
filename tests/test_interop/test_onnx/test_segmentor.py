"""A segmentor as plain layers."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from segmentors import ADAPTFORMER, JOINED, PUBLISHED, image, logits, make
from torch import nn
from torch.nn.utils import parametrize

from mmqadapter.interop.onnx.segmentor import PlainSegmentor, stock_trunk
from mmqadapter.taskfile.head_bits import layer_bits, train_quantized

BITS = {'decode_head.*': 2, 'decode_head.conv_seg': 8}


@pytest.mark.parametrize('wrapper', [ADAPTFORMER, PUBLISHED])
def test_folding_changes_no_logit_and_leaves_no_quantizer(wrapper: dict) -> None:
    model = make('mmseg_swin', wrapper)
    train_quantized(model, layer_bits(model, BITS))
    expected = logits(model, image())
    plain = PlainSegmentor(model).eval()
    assert torch.equal(plain(image()), expected)
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    channels = plain.model.decode_head.bottleneck.conv.weight.flatten(1)
    assert all(len(channel.unique()) == 4 for channel in channels)  # 2 bits


def test_no_parameter_requires_a_gradient() -> None:
    plain = PlainSegmentor(make('mmseg_vit', JOINED))
    assert not any(parameter.requires_grad for parameter in plain.parameters())


def test_model_without_logits_per_pixel_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Linear is invalid: expected .* logits .*mmseg's segmentors.*merge"
    ):
        PlainSegmentor(nn.Linear(2, 2))


def test_stock_trunk_computes_in_float32_without_acceleration() -> None:
    backbone = dict(type='mmqadapter.HighwayBackbone', backbone=dict(a=1))
    faster = dict(backbone, trunk=dict(dtype='bfloat16'), fused_attention=True)
    cfg = Config(dict(model=dict(type='EncoderDecoder', backbone=faster), load_from='x.pth'))
    changed = stock_trunk(cfg)
    assert changed.model.backbone.to_dict() == backbone
    assert cfg.model.backbone.trunk.dtype == 'bfloat16'
    assert changed.load_from == 'x.pth'
