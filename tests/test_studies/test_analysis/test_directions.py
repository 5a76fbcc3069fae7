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


def test_filter_norms_are_those_of_the_weights() -> None:
    direction = filter_normalized(WEIGHTS, 0)
    for name, weight in WEIGHTS.items():
        assert direction[name].shape == weight.shape
        torch.testing.assert_close(norms(direction[name]), norms(weight))


def test_a_scaled_net_gets_the_scaled_direction() -> None:
    # The purpose of the normalization (arXiv 1712.09913, sec. 4): scaling changes nothing.
    scaled = {name: 3 * weight for name, weight in WEIGHTS.items()}
    direction, scaled_direction = (filter_normalized(w, 5) for w in (WEIGHTS, scaled))
    for name in WEIGHTS:
        torch.testing.assert_close(scaled_direction[name], 3 * direction[name])


def test_key_determines_the_direction_and_generators_are_untouched() -> None:
    state = torch.get_rng_state()
    first, repeated = filter_normalized(WEIGHTS, 1, 2), filter_normalized(WEIGHTS, 1, 2)
    backwards = filter_normalized(dict(reversed(WEIGHTS.items())), 1, 2)
    other = filter_normalized(WEIGHTS, 1, 3)
    for name in WEIGHTS:
        assert torch.equal(first[name], repeated[name])
        assert torch.equal(first[name], backwards[name])
        assert not torch.equal(first[name], other[name])
    assert torch.equal(state, torch.get_rng_state())


def test_gaussian_has_mean_0_and_deviation_1() -> None:
    (drawn,) = gaussian({'weight': torch.zeros(200, 200)}, 7).values()
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
