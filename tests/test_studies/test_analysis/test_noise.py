from __future__ import annotations

import pytest
import torch
from torch import nn

from mmqadapter.studies.analysis.noise import check_sigmas, noise, scores_under_noise
from mmqadapter.studies.analysis.perturbation import Perturbation

GENERATOR = torch.Generator().manual_seed(0)
WEIGHTS = {
    'small': 1e-3 * torch.randn(300, 300, generator=GENERATOR),
    'large': 7 + 40 * torch.randn(300, 300, generator=GENERATOR),
}


def test_noise_has_the_deviation_of_each_matrix() -> None:
    drawn = noise(WEIGHTS, 3)
    for name, weight in WEIGHTS.items():
        assert float(drawn[name].std() / weight.std()) == pytest.approx(1, abs=0.02)
        assert abs(float(drawn[name].mean() / weight.std())) < 0.02


def test_scores_without_noise_are_the_plain_one_and_weights_come_back() -> None:
    weight = nn.Parameter(torch.randn(8, 8))
    before, moved = weight.detach().clone(), Perturbation({'weight': weight})
    score = lambda: float(weight.detach().abs().sum())  # noqa: E731
    plain = score()
    found = list(scores_under_noise(score, moved, [0.0, 0.5, 1.0], 2, seed=0))
    assert [sigma for sigma, _ in found] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]
    assert found[0][1] == found[1][1] == plain
    assert len({value for sigma, value in found if sigma}) == 4
    assert torch.equal(weight, before)


def test_a_repeat_keeps_its_direction_from_size_to_size() -> None:
    weight = nn.Parameter(torch.randn(8, 8))
    start, places = weight.detach().clone(), []
    look = lambda: places.append(weight.detach() - start) or 0.0  # noqa: E731
    list(scores_under_noise(look, Perturbation({'weight': weight}), [0.5, 1.0], 1, seed=4))
    torch.testing.assert_close(places[1], 2 * places[0])


@pytest.mark.parametrize(
    ('sigmas', 'message'),
    [
        ([], 'sigmas are missing'),
        ([0.1, -0.5], 'sigma=-0.5 is no size of noise'),
        ([float('nan')], 'sigma=nan'),
        ([float('inf')], 'sigma=inf'),
    ],
)
def test_noise_of_no_size_is_refused(sigmas: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sigmas(sigmas)
