"""GaussianQuantizer: value, gradient, encoding, and refusal of weights without spread."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmqadapter.quant import BITS, Encoded, GaussianQuantizer, gaussian_codebook
from mmqadapter.quant.quantizer import _codebook

ALL = pytest.mark.parametrize('bits', BITS)
BOTH = pytest.mark.parametrize('granularity', ['tensor', 'channel'])
SHAPE = (6, 50)


def weight(shape: tuple[int, ...] = SHAPE) -> Tensor:
    """A matrix with a mean that is not zero."""
    return 0.3 * torch.randn(shape) + 0.1


def rows(value: Tensor, granularity: str) -> list[Tensor]:
    """Return the parts that share one mean and std."""
    return list(value) if granularity == 'channel' else [value]


def reference(latent: Tensor, bits: int, granularity: str, criterion: str = 'l1') -> Tensor:
    """The published quantizer, written down plainly in float64."""
    levels, _ = gaussian_codebook(bits, criterion)
    dims = (1,) if granularity == 'channel' else (0, 1)
    mean, std = latent.mean(dims, keepdim=True), latent.std(dims, keepdim=True)
    normal = (latent - mean) / (std + 1e-5)
    nearest = levels[(normal.detach()[..., None] - levels).abs().argmin(-1)]
    return (normal + (nearest - normal).detach()) * std + mean


@ALL
@BOTH
@pytest.mark.parametrize('criterion', ['l1', 'l2'])
def test_value_is_the_nearest_level(bits: int, granularity: str, criterion: str) -> None:
    latent = weight()
    value = GaussianQuantizer(bits, criterion, granularity)(latent)
    expected = reference(latent.double(), bits, granularity, criterion)
    torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-6)


@ALL
@BOTH
def test_value_is_exactly_level_times_std_plus_mean(bits: int, granularity: str) -> None:
    latent, quantizer = weight(), GaussianQuantizer(bits, granularity=granularity)
    encoded, levels = quantizer.encode(latent), gaussian_codebook(bits)[0].float()
    expected = levels[encoded.codes.long()] * encoded.std + encoded.mean
    assert torch.equal(quantizer(latent), expected)
    assert torch.equal(quantizer.decode(encoded), expected)


@ALL
@BOTH
def test_at_most_two_to_the_bits_values(bits: int, granularity: str) -> None:
    value = GaussianQuantizer(bits, granularity=granularity)(weight((8, 400)))
    assert all(len(part.unique()) <= 2**bits for part in rows(value, granularity))


@ALL
@BOTH
@pytest.mark.parametrize('size', [1.0, 1e-5], ids=['usual', 'as small as epsilon'])
def test_gradient_is_the_published_one(bits: int, granularity: str, size: float) -> None:
    latent, grad = (size * weight()).requires_grad_(), torch.randn(SHAPE)
    GaussianQuantizer(bits, granularity=granularity)(latent).backward(grad)
    twin = latent.detach().double().requires_grad_()
    reference(twin, bits, granularity).backward(grad.double())
    assert latent.grad is not None and twin.grad is not None
    torch.testing.assert_close(latent.grad.double(), twin.grad, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize('shape', [(5, 30), (30,), (4, 3, 3, 3)])
def test_any_shape_of_weight(shape: tuple[int, ...]) -> None:
    latent, quantizer = weight(shape), GaussianQuantizer(2)
    encoded = quantizer.encode(latent)
    assert (encoded.codes.dtype, encoded.codes.shape) == (torch.uint8, latent.shape)
    assert encoded.mean.dtype == encoded.std.dtype == torch.float32
    assert tuple(encoded.std.shape) == quantizer.statistics_shape(latent.shape)
    assert torch.equal(quantizer(latent), quantizer.decode(encoded))


@BOTH
def test_statistics_are_mean_and_unbiased_std(granularity: str) -> None:
    latent, quantizer = weight(), GaussianQuantizer(1, granularity=granularity)
    encoded = quantizer.encode(latent)
    parts = rows(latent, granularity)
    assert quantizer.statistics_count(latent.shape) == len(parts)
    torch.testing.assert_close(encoded.mean.flatten(), torch.stack([p.mean() for p in parts]))
    torch.testing.assert_close(encoded.std.flatten(), torch.stack([p.std() for p in parts]))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_weights_stay_half(dtype: torch.dtype) -> None:
    latent = weight().to(dtype)
    value = GaussianQuantizer(1)(latent)
    assert value.dtype == dtype
    assert torch.equal(value, GaussianQuantizer(1)(latent.float()).to(dtype))


def test_8_bits_make_no_tensor_larger_than_the_weight() -> None:
    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            parts = out if isinstance(out, (tuple, list)) else [out]
            self.numel = max([self.numel, *(p.numel() for p in parts if isinstance(p, Tensor))])
            return out

    latent, quantizer = weight((40, 50)).requires_grad_(), GaussianQuantizer(8)
    with Largest() as seen:
        quantizer(latent).sum().backward()
    assert seen.numel == latent.numel()


@BOTH
def test_latent_of_a_stored_matrix_keeps_every_code_at_1_bit(granularity: str) -> None:
    quantizer = GaussianQuantizer(1, granularity=granularity)
    encoded = quantizer.encode(weight())
    again = quantizer.encode(quantizer.latent(encoded))
    assert torch.equal(again.codes, encoded.codes)
    torch.testing.assert_close(again.mean, encoded.mean)
    torch.testing.assert_close(again.std, encoded.std)


@ALL
@BOTH
def test_latent_of_a_stored_matrix_gives_nearly_its_value(bits: int, granularity: str) -> None:
    quantizer = GaussianQuantizer(bits, granularity=granularity)
    encoded = quantizer.encode(weight((16, 500)))
    value, again = quantizer.decode(encoded), quantizer(quantizer.latent(encoded))
    assert (value - again).abs().mean() < 0.01 * encoded.std.mean()
    torch.testing.assert_close(again.mean(), value.mean(), rtol=1e-3, atol=1e-4)


def test_a_folded_quantizer_gives_what_was_stored_whatever_the_latent_weight() -> None:
    quantizer = GaussianQuantizer(2)
    encoded = quantizer.encode(weight())
    quantizer.fold(encoded, weight())
    assert torch.equal(quantizer(torch.zeros(SHAPE)), quantizer.decode(encoded))
    assert quantizer.encode(torch.zeros(SHAPE)) is encoded
    quantizer.fold(None, weight())
    assert not torch.equal(quantizer(weight() + 1), quantizer.decode(encoded))


def test_a_folded_quantizer_gives_the_dtype_of_its_weight() -> None:
    quantizer = GaussianQuantizer(2)
    encoded = quantizer.encode(weight())
    quantizer.fold(encoded, weight().half())
    assert torch.equal(quantizer(weight().half()), quantizer.decode(encoded).half())


def test_a_stored_matrix_is_decoded_on_its_own_device() -> None:
    encoded = Encoded(*(torch.ones(SHAPE, device='meta') for _ in range(3)))
    for use in (GaussianQuantizer(2).decode, GaussianQuantizer(2).latent):
        assert use(encoded).device.type == 'meta'


BROKEN = {
    'constant': torch.full(SHAPE, 0.7),
    'zero': torch.zeros(SHAPE),
    'NaN': weight().index_fill(1, torch.tensor([3]), float('nan')),
    'inf': weight().index_fill(1, torch.tensor([3]), float('inf')),
    'one entry': torch.ones(1, 1),
    'rounding only': 1000 + 1e-4 * torch.randn(SHAPE),
}


@pytest.mark.parametrize('kind', BROKEN)
@BOTH
def test_a_weight_without_spread_is_refused(kind: str, granularity: str) -> None:
    quantizer = GaussianQuantizer(1, granularity=granularity).eval()
    for use in (quantizer, quantizer.encode):
        with pytest.raises(
            ValueError, match='cannot be quantized: .* constant, NaN or inf'
        ) as error:
            use(BROKEN[kind])
        assert 'Initialize it with random values; if this happened during training,' in str(
            error.value
        )
        assert "granularity='channel' needs two or more weights per output channel." in str(
            error.value
        )


def test_one_constant_channel_is_refused() -> None:
    latent = weight()
    latent[2] = 0.5
    GaussianQuantizer(1)(latent)
    with pytest.raises(ValueError, match=r'shape \(6, 50\) cannot be quantized'):
        GaussianQuantizer(1, granularity='channel').encode(latent)


@pytest.mark.parametrize('kind', BROKEN)
@BOTH
def test_in_training_a_weight_without_spread_is_nan(kind: str, granularity: str) -> None:
    value = GaussianQuantizer(1, granularity=granularity)(BROKEN[kind])
    assert value.isnan().all()


def test_in_training_one_constant_channel_alone_is_nan() -> None:
    latent = weight()
    latent[2] = 0.5
    broken = GaussianQuantizer(1, granularity='channel')(latent).isnan()
    assert broken[2].all() and broken.sum() == 50


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (dict(bits=3), 'bits=3 is invalid: expected one of 1, 2, 4, 8; use 32 for float adapters'),
        (dict(bits=32), 'bits=32 is invalid'),
        (dict(bits=1, criterion='max'), "criterion='max' is invalid: expected one of"),
        (dict(bits=1, granularity='row'), "granularity='row' is invalid: expected one of"),
    ],
)
def test_unknown_settings_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        GaussianQuantizer(**arguments)


def test_settings_show_in_print() -> None:
    text = repr(GaussianQuantizer(4, granularity='channel'))
    assert text == "GaussianQuantizer(bits=4, criterion='l1', granularity='channel')"


def test_training_after_a_first_use_in_inference_mode() -> None:
    _codebook.cache_clear()
    quantizer, weight = GaussianQuantizer(1), nn.Parameter(torch.randn(4, 3))
    with torch.inference_mode():
        quantizer(weight)
    quantizer(weight).square().sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize('bits', BITS)
def test_small_weights_are_stored_as_they_train(bits: int) -> None:
    """Weights so small that the epsilon in the division matters."""
    quantizer, weight = GaussianQuantizer(bits), torch.randn(64, 64) * 3e-5
    assert torch.equal(quantizer.decode(quantizer.encode(weight)), quantizer(weight))


def test_activation_memory_is_a_byte_per_weight_besides_the_weights() -> None:
    saved: list[Tensor] = []
    weight = nn.Parameter(torch.randn(8, 6))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        GaussianQuantizer(4)(weight)
    large = [tensor for tensor in saved if tensor.numel() >= weight.numel()]
    assert sorted(str(tensor.dtype) for tensor in large) == ['torch.float32', 'torch.uint8']


def test_a_folded_quantizer_adds_nothing_to_checkpoints() -> None:
    quantizer, weight = GaussianQuantizer(1), torch.randn(4, 3)
    quantizer.fold(quantizer.encode(weight), weight)
    assert quantizer.state_dict() == {} and torch.equal(quantizer(weight), quantizer(weight + 1))


def test_impossible_codes_and_statistics_are_refused() -> None:
    quantizer = GaussianQuantizer(2, granularity='channel')
    valid = quantizer.encode(torch.randn(3, 8))
    quantizer.check(valid)
    codes, std = valid.codes.clone(), valid.std.clone()
    codes[1], std[2] = 2, 0
    for bad in (Encoded(codes, valid.mean, valid.std), Encoded(valid.codes, valid.mean, std)):
        with pytest.raises(
            ValueError, match='^a quantized weight that does not vary is invalid: expected a pos'
        ):
            quantizer.check(bad)
