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


def test_score_without_noise_is_the_plain_one_and_weights_are_restored() -> None:
    weight = nn.Parameter(torch.randn(8, 8))
    before, perturbation = weight.detach().clone(), Perturbation({'weight': weight})
    score = lambda: float(weight.detach().abs().sum())  # noqa: E731
    plain = score()
    scores = list(scores_under_noise(score, perturbation, [0.0, 0.5, 1.0], 2, seed=0))
    assert [sigma for sigma, _ in scores] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]
    assert scores[0][1] == scores[1][1] == plain
    assert len({value for sigma, value in scores if sigma}) == 4
    assert torch.equal(weight, before)


def test_repeat_scales_the_same_noise() -> None:
    weight = nn.Parameter(torch.randn(8, 8))
    start, changes = weight.detach().clone(), []
    record = lambda: changes.append(weight.detach() - start) or 0.0  # noqa: E731
    list(scores_under_noise(record, Perturbation({'weight': weight}), [0.5, 1.0], 1, seed=4))
    torch.testing.assert_close(changes[1], 2 * changes[0])


@pytest.mark.parametrize(
    ('sigmas', 'message'),
    [
        ([], r'sigmas=\[\] is invalid: expected one or more'),
        ([0.1, -0.5], 'sigma=-0.5 is invalid: expected a finite number of 0 or more'),
        ([float('nan')], 'sigma=nan is invalid'),
        ([float('inf')], 'sigma=inf is invalid'),
    ],
)
def test_invalid_size_of_noise_is_refused(sigmas: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sigmas(sigmas)
