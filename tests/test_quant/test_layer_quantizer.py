"""LayerQuantizer: statistics per output channel, exact storage, every kind of layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmqadapter.quant import (
    BITS,
    GaussianQuantizer,
    Layer,
    LayerQuantizer,
    attach_codes,
    clear_codes,
    gaussian_codebook,
    output_dim,
    parametrize_weight,
    stored_codes,
    stored_sizes,
)

ALL = pytest.mark.parametrize('bits', BITS)
LAYERS: dict[str, Callable[[], Layer]] = {
    'linear': lambda: nn.Linear(20, 6),
    'convolution': lambda: nn.Conv2d(5, 6, 3),
    'in groups': lambda: nn.Conv2d(8, 6, 3, groups=2),
    'transposed': lambda: nn.ConvTranspose2d(5, 6, 2),
    'transposed in groups': lambda: nn.ConvTranspose2d(8, 6, 3, groups=2),
}
KINDS = pytest.mark.parametrize('kind', LAYERS)
INPUTS = {'linear': (3, 20), 'convolution': (2, 5, 7, 7), 'transposed': (2, 5, 4, 4)}


def layer_of(kind: str) -> Layer:
    """A layer whose channels differ in mean and spread."""
    layer = LAYERS[kind]()
    with torch.no_grad():
        nn.init.normal_(layer.weight, 0.1, 0.3)
        layer.weight.mul_(
            torch.rand(layer.weight.shape[:2]).add(0.5)[(...,) + (None,) * (layer.weight.ndim - 2)]
        )
    return layer


@ALL
@KINDS
def test_the_packed_weight_is_the_one_that_the_layer_computes_with(kind: str, bits: int) -> None:
    layer = layer_of(kind)
    latent, quantizer = layer.weight.detach().clone(), LayerQuantizer(bits, output_dim(layer))
    parametrize_weight(layer, 'weight', quantizer)
    assert torch.equal(quantizer.pack(latent).decode(), layer.weight)


@ALL
@pytest.mark.parametrize('kind', INPUTS)
def test_a_layer_with_the_decoded_weight_gives_the_same_output(kind: str, bits: int) -> None:
    trained, x = layer_of(kind), torch.randn(INPUTS[kind])
    quantizer = LayerQuantizer(bits, output_dim(trained))
    packed = quantizer.pack(trained.weight)
    plain = LAYERS[kind]()
    plain.load_state_dict({'weight': packed.decode(), 'bias': trained.bias})
    parametrize_weight(trained, 'weight', quantizer)
    assert torch.equal(trained(x), plain(x))


@ALL
@KINDS
def test_value_is_the_nearest_level_of_each_output_channel(kind: str, bits: int) -> None:
    layer = layer_of(kind)
    packed = LayerQuantizer(bits, output_dim(layer)).pack(layer.weight)
    levels = gaussian_codebook(bits)[0].numpy()
    axis = 1 if 'transposed' in kind else 0
    weight = np.moveaxis(layer.weight.detach().double().numpy(), axis, 0)
    decoded = np.moveaxis(packed.decode().numpy(), axis, 0)
    for channel, value in zip(weight, decoded, strict=True):
        mean, std = (np.float64(np.float16(f(channel))) for f in (np.mean, lambda c: c.std(ddof=1)))
        normal = (channel - mean) / std
        expected = levels[np.abs(normal[..., None] - levels).argmin(-1)] * std + mean
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@ALL
@KINDS
def test_codes_take_their_bits_and_statistics_4_bytes_per_channel(kind: str, bits: int) -> None:
    layer = layer_of(kind)
    packed = LayerQuantizer(bits, output_dim(layer)).pack(layer.weight)
    channels = 3 if kind == 'transposed in groups' else 6
    assert packed.codes.nbytes == -(-layer.weight.numel() * bits // 8)
    assert packed.mean.nbytes + packed.std.nbytes == 4 * channels
    sizes = stored_sizes(bits, output_dim(layer), layer.weight.shape)
    assert sizes == (packed.codes.nbytes, 2 * channels)


@ALL
def test_gradient_is_that_of_the_gaussian_quantizer(bits: int) -> None:
    latent, grad = layer_of('transposed').weight.detach(), torch.randn(5, 6, 2, 2)
    weight, reference = (latent.clone().requires_grad_() for _ in range(2))
    LayerQuantizer(bits, output_dim=1)(weight).backward(grad)
    channels_first = GaussianQuantizer(bits, granularity='channel')(reference.transpose(0, 1))
    channels_first.backward(grad.transpose(0, 1))
    torch.testing.assert_close(weight.grad, reference.grad, rtol=2e-2, atol=2e-2)


def test_output_channels_come_first_by_default() -> None:
    assert LayerQuantizer(2).statistics_shape((6, 20)) == (6, 1)
    assert LayerQuantizer(2, 1).statistics_shape((6, 20)) == (1, 20)


def nearly_constant() -> Tensor:
    return 1 + 1e-3 * torch.randn(6, 20)


def test_a_std_within_float16_rounding_of_the_mean_is_refused() -> None:
    GaussianQuantizer(8, granularity='channel').encode(nearly_constant())
    with pytest.raises(ValueError, match=r'shape \(6, 20\) cannot be quantized'):
        LayerQuantizer(8).pack(nearly_constant())


def test_codes_stay_attached_until_the_weight_changes() -> None:
    layer = layer_of('linear')
    packed = LayerQuantizer(4).pack(layer.weight)
    attach_codes(layer, packed)
    assert stored_codes(layer) is None
    layer.weight.data.copy_(packed.decode())
    assert stored_codes(layer) is packed
    assert stored_codes(layer.half()) is packed
    layer.weight.data[0, 0] += 1
    assert stored_codes(layer) is None


def test_weights_train_again_when_their_codes_are_cleared() -> None:
    model = nn.Sequential(layer_of('linear'), nn.ReLU(), layer_of('transposed'), nn.Linear(2, 2))
    for layer in (model[0], model[2]):
        attach_codes(layer, LayerQuantizer(4, output_dim(layer)).pack(layer.weight))
    for layer in (model[0], model[2], model[3]):
        layer.weight.requires_grad_(False)
    clear_codes(model)
    assert model[0].weight.requires_grad and model[2].weight.requires_grad
    assert not model[3].weight.requires_grad  # without codes: it was frozen by the user
    model[0].weight.requires_grad_(False)
    clear_codes(model)
    assert not model[0].weight.requires_grad
