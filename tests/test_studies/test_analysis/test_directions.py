from __future__ import annotations

import torch

from mmqadapter.studies.analysis.directions import filter_normalized, gaussian

GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = {
    'linear': torch.randn(4, 7, generator=GENERATOR) * torch.tensor([[1e-3], [1.0], [50.0], [0.0]]),
    'convolution': torch.randn(3, 2, 5, 5, generator=GENERATOR),
}


def norms(weight: torch.Tensor) -> torch.Tensor:
    return weight.flatten(1).norm(dim=1)


def test_each_filter_is_as_long_as_that_of_the_weights() -> None:
    direction = filter_normalized(WEIGHTS, 0)
    for name, weight in WEIGHTS.items():
        assert direction[name].shape == weight.shape
        torch.testing.assert_close(norms(direction[name]), norms(weight))


def test_a_scaled_net_gets_the_scaled_direction() -> None:
    # The point of the normalisation (arXiv 1712.09913, sec. 4): scaling a filter changes nothing.
    scaled = {name: 3 * weight for name, weight in WEIGHTS.items()}
    one, other = (filter_normalized(weights, 5) for weights in (WEIGHTS, scaled))
    for name in WEIGHTS:
        torch.testing.assert_close(other[name], 3 * one[name])


def test_the_key_decides_and_the_generators_stay() -> None:
    state = torch.get_rng_state()
    first, again = filter_normalized(WEIGHTS, 1, 2), filter_normalized(WEIGHTS, 1, 2)
    backwards = filter_normalized(dict(reversed(WEIGHTS.items())), 1, 2)
    other = filter_normalized(WEIGHTS, 1, 3)
    for name in WEIGHTS:
        assert torch.equal(first[name], again[name]) and torch.equal(first[name], backwards[name])
        assert not torch.equal(first[name], other[name])
    assert torch.equal(state, torch.get_rng_state())


def test_gaussian_has_mean_0_and_deviation_1() -> None:
    (drawn,) = gaussian({'weight': torch.zeros(200, 200)}, 7).values()
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
