"""Bits by number and by regex, and models that compute with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from quantized_models import BITS_OF, PATTERNS, Net, images, make, out, train
from torch import nn

from mmqadapter.quant import gaussian_codebook, parametrized_weights
from mmqadapter.taskfile.head_bits import (
    check_head_bits,
    check_spread,
    layer_bits,
    train_quantized,
    trained_bits,
)

FROZEN = dict(type='mmqadapter.FrozenBackbone', train='partial-1')


@pytest.fixture
def net(tiny_timm_vit: Callable[..., dict]) -> Net:
    return make(tiny_timm_vit)


class TestPatterns:
    """The last regex that matches a whole name decides."""

    def test_the_last_match_decides_and_16_without_a_match(self, net: Net) -> None:
        assert layer_bits(net, PATTERNS) == BITS_OF
        first = {'head.classify': 8, 'head.*': 4}
        assert layer_bits(net, first) == dict.fromkeys(BITS_OF, 4) | {'neck.up': 16}

    def test_a_pattern_has_to_match_the_whole_name(self, net: Net) -> None:
        assert layer_bits(net, {'neck.*': 1})['head.bottleneck'] == 16
        assert layer_bits(net, {'.*neck.*': 1})['head.bottleneck'] == 1

    def test_16_bits_are_allowed(self, net: Net) -> None:
        assert layer_bits(net, {'head.*': 16}) == dict.fromkeys(BITS_OF, 16)

    def test_one_number_is_for_all_layers(self, net: Net) -> None:
        assert layer_bits(net, 2) == dict.fromkeys(BITS_OF, 2)

    def test_trained_layers_of_the_trunk_are_included_and_frozen_ones_are_not(
        self, tiny_timm_vit: Callable[..., dict]
    ) -> None:
        names = set(layer_bits(make(tiny_timm_vit, wrapper=FROZEN), 4)) - set(BITS_OF)
        assert 'backbone.trunk.model.blocks.2.mlp.fc1' in names
        assert all('blocks.2.' in name for name in names)

    @pytest.mark.parametrize(
        ('bits', 'text'),
        [
            (
                {'decode_head.*': 4},
                r"'decode_head\.\*' matches no .* as 'neck\.up' or 'head\.classify'\.$",
            ),
            ({'head.norm': 4}, 'matches no linear or convolutional layer'),
            ({'backbone.*': 4}, 'matches no linear or convolutional layer'),
            ({'head.*': 3}, r"\{'head\.\*': 3\} is invalid: expected 1, 2, 4, 8 or 16 bits"),
            ({'head.*': 32}, 'expected 1, 2, 4, 8 or 16'),
            ({'head.*': 17}, 'expected 1, 2, 4, 8 or 16'),
            ({'head.(': 4}, r"'head\.\(' is not a regular expression"),
            ({}, r'head_bits=\{\} is invalid, no layer is named: expected bits by regex'),
            (5, 'head_bits=5 is invalid: expected 32 or 16 for .*, or 8, 4, 2 or 1'),
            ('8', "head_bits='8' is invalid"),
        ],
    )
    def test_refused(self, net: Net, bits: Any, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            layer_bits(net, bits)

    def test_numbers_and_regexes_are_checked_without_a_model(self) -> None:
        check_head_bits({'anything.*': 4})
        with pytest.raises(ValueError, match='is not a regular expression'):
            check_head_bits({'*': 4})

    def test_a_model_without_such_layers(self, net: Net) -> None:
        alone = nn.Sequential(net.backbone)
        with pytest.raises(ValueError, match=r'outside the frozen trunk; the model has none\.$'):
            layer_bits(alone, {'head.*': 4})

    def test_a_model_without_a_wrapped_backbone_is_refused(self) -> None:
        with pytest.raises(ValueError, match='Sequential has no wrapped backbone'):
            layer_bits(nn.Sequential(nn.Linear(2, 2)), 4)


class TestTraining:
    """The values that a model computes with while it trains."""

    def test_a_channel_has_no_more_values_than_its_bits_can_encode(self, net: Net) -> None:
        train_quantized(net, layer_bits(net, PATTERNS))
        train(net)
        assert trained_bits(net) == BITS_OF
        for name, bits in BITS_OF.items():
            weight = net.get_submodule(name).weight.detach()
            channels = weight.transpose(0, 1) if name == 'neck.up' else weight
            assert all(len(channel.unique()) <= 2**bits for channel in channels)

    def test_all_other_parameters_have_float16_values_and_buffers_do_not(self, net: Net) -> None:
        train_quantized(net, layer_bits(net, {'head.classify': 1}))
        train(net)
        rest = [net.neck['up'].weight, net.head.norm.weight, net.head.level, net.head.classify.bias]
        for value in (tensor.detach().numpy() for tensor in rest):
            np.testing.assert_array_equal(value, value.astype(np.float16))
        assert trained_bits(net)['neck.up'] == 16
        mean = net.head.norm.running_mean
        assert not torch.equal(mean, mean.half().float())

    def test_adapters_and_trunk_are_not_touched(self, net: Net) -> None:
        before = {n: id(p) for n, p in net.backbone.named_parameters()}
        train_quantized(net, layer_bits(net, 1))
        assert {n: id(p) for n, p in net.backbone.named_parameters()} == before

    def test_every_parameter_trains(self, net: Net) -> None:
        train_quantized(net, layer_bits(net, PATTERNS))
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        train(net)
        for name, parameter in net.named_parameters():
            assert torch.equal(parameter, before[name]) != parameter.requires_grad, name

    def test_mixed_precision(self, net: Net) -> None:
        train_quantized(net, layer_bits(net, PATTERNS))
        with torch.autocast('cpu', torch.bfloat16):
            loss = net.train()(images()).float().square().mean()
        loss.backward()
        trained = [p for p in net.parameters() if p.requires_grad]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
        assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in trained)

    def test_it_can_be_undone(self, net: Net) -> None:
        expected = out(net)
        train_quantized(net, layer_bits(net, 1))
        assert not torch.equal(out(net), expected)
        train_quantized(net, {})
        assert torch.equal(out(net), expected) and trained_bits(net) == {}

    def test_1_bit_of_one_channel(self, net: Net) -> None:
        latent = net.head.classify.weight[2].detach().clone()
        train_quantized(net, {'head.classify': 1})
        level = float(gaussian_codebook(1)[0][1])
        mean, std = (np.float32(np.float16(x)) for x in (latent.mean(), latent.std()))
        expected = torch.where(latent > float(mean), level * std + mean, -level * std + mean)
        torch.testing.assert_close(net.head.classify.weight[2].detach(), expected)

    def test_the_error_for_a_constant_layer_names_it(self, net: Net) -> None:
        train_quantized(net, layer_bits(net, PATTERNS))
        check_spread(net)
        nn.init.zeros_(net.state_dict(keep_vars=True)['head.classify.weight'])
        with pytest.raises(ValueError, match=r'^head\.classify: .* constant.*give this layer 16'):
            check_spread(net)

    def test_a_layer_of_another_model_is_refused(self, net: Net) -> None:
        text = "quantized in 'head.other', which the model does not .* that they were trained"
        with pytest.raises(ValueError, match=text):
            train_quantized(net, {'head.other': 4})

    def test_a_weight_that_an_embedding_shares_is_parametrized_once(self, net: Net) -> None:
        net.names = nn.Embedding(5, 8)
        net.names.weight = net.head.classify.weight
        train_quantized(net, {'head.classify': 4})
        assert [a.module for a in parametrized_weights(net) if a.parameter == 'weight'] == [
            'neck.up', 'head.reduce', 'head.norm', 'head.bottleneck', 'head.classify',
        ]  # fmt: skip
