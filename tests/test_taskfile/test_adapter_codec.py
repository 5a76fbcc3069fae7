"""Adapters as tensors: layout, sizes, refusal of those of other adapters, published weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmqadapter.adapters import build_adapter
from mmqadapter.quant import quantized_weights, unpack
from mmqadapter.taskfile.adapter_codec import (
    CODES,
    FLOATS,
    STATISTICS,
    check_adapter_tensors,
    decode_adapters,
    encode_adapters,
)

BLOCKS = 3
ALL_BITS = pytest.mark.parametrize('bits', [1, 2, 4, 8, 32])


def adapters(
    bits: int = 1,
    granularity: str = 'tensor',
    channels: int = 16,
    blocks: int = BLOCKS,
    **config: Any,
) -> nn.ModuleDict:
    """Return adapters of some blocks, with random values in all parameters."""
    adapter = dict(type='AdaptFormer', width=3) | config
    quantizer = dict(type='GaussianQuantizer', bits=bits, granularity=granularity)
    built = [build_adapter(adapter, quantizer, channels=channels) for _ in range(blocks)]
    for parameter in nn.ModuleList(built).parameters():
        nn.init.normal_(parameter)
    return nn.ModuleDict({str(i): nn.ModuleDict({'mlp_parallel': a}) for i, a in enumerate(built)})


def run(module: nn.ModuleDict, x: Tensor) -> list[Tensor]:
    return [block['mlp_parallel'](x) for block in module.eval().values()]


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_sizes_are_codes_and_8_bytes_a_matrix(bits: int) -> None:
    encoded = encode_adapters(adapters(bits))
    assert encoded.keys() == {CODES, STATISTICS}
    assert encoded[CODES].nbytes == BLOCKS * 2 * (16 * 3 * bits // 8)
    assert encoded[STATISTICS].nbytes == BLOCKS * 2 * 8


def test_a_matrix_ends_with_a_whole_byte() -> None:
    encoded = encode_adapters(adapters(1, channels=5, blocks=1))
    assert encoded[CODES].nbytes == 2 * 2  # 15 codes in two bytes, twice


def test_per_channel_statistics_take_8_bytes_a_channel() -> None:
    encoded = encode_adapters(adapters(1, 'channel', channels=16, blocks=1))
    assert encoded[STATISTICS].nbytes == 8 * (3 + 16)


def test_float_adapters_are_one_tensor_in_module_order() -> None:
    module = adapters(32, bias=True)
    encoded = encode_adapters(module)
    assert encoded.keys() == {FLOATS}
    assert torch.equal(encoded[FLOATS], nn.utils.parameters_to_vector(module.parameters()))


def test_scale_and_biases_of_quantized_adapters_stay_float() -> None:
    module = adapters(1, bias=True, scale='learned')
    assert encode_adapters(module)[FLOATS].numel() == BLOCKS * (3 + 16 + 1)


def test_first_bytes_are_codes_mean_and_std_of_the_first_matrix() -> None:
    module = adapters(2)
    encoded = encode_adapters(module)
    _, _, latent = next(iter(quantized_weights(module)))
    codes = unpack(encoded[CODES][: 48 * 2 // 8], 2, 48)
    normal = ((latent - latent.mean()) / latent.std()).flatten()
    expected = np.searchsorted([-0.8217, 0, 0.8217], normal.detach().numpy())
    assert codes.tolist() == expected.tolist()
    torch.testing.assert_close(encoded[STATISTICS][:2], torch.stack([latent.mean(), latent.std()]))


@ALL_BITS
@pytest.mark.parametrize('granularity', ['tensor', 'channel'])
def test_decoded_adapters_give_the_same_output_bit_for_bit(bits: int, granularity: str) -> None:
    settings: dict = dict(bits=bits, granularity=granularity, bias=True, scale='learned')
    trained, fresh, x = adapters(**settings), adapters(**settings), torch.randn(7, 16)
    expected, encoded = run(trained, x), encode_adapters(trained)
    check_adapter_tensors(fresh, encoded)
    decode_adapters(fresh, encoded, trainable=False)
    assert all(torch.equal(a, b) for a, b in zip(run(fresh, x), expected, strict=True))
    again = encode_adapters(fresh)
    assert all(torch.equal(again[name], tensor) for name, tensor in encoded.items())


def test_decoded_weights_have_the_dtype_of_the_model() -> None:
    encoded = encode_adapters(adapters(1))
    fresh = adapters(1).double()
    decode_adapters(fresh, encoded, trainable=False)
    assert all(y.dtype == torch.float64 for y in run(fresh, torch.randn(7, 16).double()))


def test_a_copy_of_folded_adapters_is_folded() -> None:
    module, x = adapters(1), torch.randn(7, 16)
    encoded = encode_adapters(module)
    decode_adapters(module, encoded, trainable=False)
    twin = copy.deepcopy(module)
    assert all(torch.equal(a, b) for a, b in zip(run(twin, x), run(module, x), strict=True))
    assert torch.equal(encode_adapters(twin)[CODES], encoded[CODES])


def test_trainable_weights_keep_their_codes_at_1_bit() -> None:
    trained, fresh = adapters(1), adapters(1)
    encoded = encode_adapters(trained)
    decode_adapters(fresh, encoded, trainable=True)
    assert torch.equal(encode_adapters(fresh)[CODES], encoded[CODES])
    assert all(p.requires_grad for p in fresh.parameters())


@pytest.mark.parametrize(
    ('other', 'name'),
    [
        (dict(blocks=2), 'codes'),
        (dict(bits=2), 'codes'),
        (dict(bits=32), 'codes'),
        (dict(granularity='channel'), 'statistics'),
        (dict(bias=True), 'floats'),
        (dict(scale='learned'), 'floats'),
    ],
)
def test_tensors_of_other_adapters_are_refused(other: dict, name: str) -> None:
    encoded = encode_adapters(adapters(**other))
    with pytest.raises(
        ValueError, match=f"adapter tensor '{name}' has .* need .*; build the model with"
    ):
        check_adapter_tensors(adapters(), encoded)


def test_a_tensor_of_another_dtype_is_refused() -> None:
    encoded = encode_adapters(adapters())
    encoded[CODES] = encoded[CODES].to(torch.int8)
    with pytest.raises(ValueError, match=r"'codes' has .* of torch\.int8, .* of torch\.uint8"):
        check_adapter_tensors(adapters(), encoded)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_nan_and_inf_in_float_weights_are_refused(value: float) -> None:
    module = adapters(1, scale='learned')
    name = next(n for n, p in module.named_parameters() if n.startswith('1.') and 'scale' in n)
    encoded = encode_adapters(module)
    module.get_parameter(name).data.fill_(value)
    with pytest.raises(ValueError, match=f'adapter weight {name!r} holds NaN or inf: .* lower the'):
        encode_adapters(module)
    encoded[FLOATS][0] = value
    with pytest.raises(ValueError, match="adapter tensor 'floats' holds NaN or inf: the training"):
        check_adapter_tensors(module, encoded)


@pytest.mark.parametrize(('name', 'width'), [('cifar-bit1-dim32', 32), ('dtd-bit1-dim1', 1)])
def test_published_adapters_load_and_compute(real_data: Path, name: str, width: int) -> None:
    content = (real_data / 'petl_vit' / 'adaptformer' / f'{name}.bin').read_bytes()
    layout = np.dtype([('codes', 'u1', 768 * width // 8), ('statistics', '<f4', 2)])
    matrices = np.frombuffer(content, layout, 24)
    module = adapters(1, channels=768, blocks=12, width=width)
    encoded = {name: torch.tensor(matrices[name].reshape(-1)) for name in (CODES, STATISTICS)}
    check_adapter_tensors(module, encoded)
    decode_adapters(module, encoded, trainable=False)
    x = torch.randn(4, 768)
    for block, (down, up) in zip(run(module, x), matrices.reshape(12, 2), strict=True):
        hidden = np.maximum(x.numpy() @ numpy_weight(down).reshape(width, 768).T, 0)
        expected = hidden @ numpy_weight(up).reshape(768, width).T
        np.testing.assert_allclose(block.detach(), expected, rtol=1e-4, atol=1e-5)


def numpy_weight(matrix: np.void) -> np.ndarray:
    """Return the weight of a stored 1-bit matrix, decoded without the code under test."""
    mean, std = matrix['statistics']
    return 0.67448975 * std * (2.0 * np.unpackbits(matrix['codes'], bitorder='little') - 1) + mean


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('codes', lambda codes: torch.full_like(codes, 255)),
        ('codes', torch.zeros_like),
        ('statistics', lambda values: -values.abs()),
        ('statistics', torch.zeros_like),
    ],
)
def test_a_constant_matrix_is_refused(name, change) -> None:
    """Saving never writes one, and its latent weight would be NaN."""
    adapter = build_adapter(
        dict(type='AdaptFormer', width=4), dict(type='GaussianQuantizer', bits=1), channels=8
    )
    encoded = encode_adapters(adapter)
    check_adapter_tensors(adapter, encoded)
    with pytest.raises(ValueError, match='does not vary'):
        check_adapter_tensors(adapter, {**encoded, name: change(encoded[name])})
