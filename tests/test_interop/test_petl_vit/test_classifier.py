"""Linear layer with a packed weight."""

from __future__ import annotations

import torch

from mmqadapter.interop.petl_vit import PackedLinear
from mmqadapter.quant import GaussianQuantizer, pack


def test_packed_linear_computes_with_the_decoded_weight() -> None:
    weight, quantizer = torch.randn(5, 16), GaussianQuantizer(1)
    encoded = quantizer.encode(weight)
    layer = PackedLinear(16, 5)
    layer.codes.copy_(pack(encoded.codes, 1))
    layer.statistics.copy_(torch.cat([encoded.mean, encoded.std]).view(-1))
    x = torch.randn(3, 16)
    assert torch.equal(layer.weight, quantizer(weight))
    assert torch.equal(layer(x), x @ quantizer(weight).T)
    assert sum(t.nbytes for t in layer.state_dict().values()) == 5 * 16 // 8 + 8
    assert not list(layer.parameters()) and '16, 5, bits=1' in repr(layer)
