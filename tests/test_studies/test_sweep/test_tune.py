from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sweeps import FakeTrainer, Silent

from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.local import LocalQueue
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.training import Training
from mmqadapter.studies.sweep.tune import Tuned, tune


def run_tuning(sweep, trainer: Callable, names: list[str]) -> Tuned:
    return tune(sweep, names, LocalQueue(trainer, [ResourceSlot(1)] * 2, Silent()))


def test_the_head_rate_is_tuned_first_then_the_rate_at_the_best_head_rate(make_sweep) -> None:
    trainer = FakeTrainer(lambda t: -abs(t.head_rate - 0.1) - abs((t.rate or 0) - 0.001))
    tuned = run_tuning(make_sweep(), trainer, ['frozen', 'adaptformer'])
    best = tuned.best['adaptformer']
    assert (best.head_rate, best.rate, best.seed, best.length) == (0.1, 0.001, 7, Length(20))
    assert tuned.best['frozen'].head_rate == 0.1 and tuned.best['frozen'].rate is None
    tried = [(t.head_rate, t.rate) for t in trainer.trained if t.method == 'adaptformer']
    assert sorted(tried[:2]) == [(0.01, 0.01), (0.1, 0.01)]  # at the middle rate
    assert sorted(tried[2:]) == [(0.1, 0.001), (0.1, 0.01), (0.1, 0.1)]
    assert len(tuned.outcomes) == 2 + 4  # the training of both stages counts once


def test_a_single_candidate_is_not_trained(make_sweep) -> None:
    trainer = FakeTrainer(lambda t: 1.0)
    sweep = make_sweep(head_rates=[0.5], rates={'backbone': [0.25], 'adapters': [0.25]})
    assert run_tuning(sweep, trainer, ['full']).best['full'].rate == 0.25
    assert not trainer.trained


def test_failed_candidates_and_scores_of_nan_lose(make_sweep) -> None:
    def score(training: Training) -> float | None:
        if training.method == 'full' or training.head_rate == 0.1:
            return None
        return float('nan') if training.rate == 0.1 else -1.0

    tuned = run_tuning(make_sweep(), FakeTrainer(score), ['full', 'adaptformer'])
    assert tuned.best.keys() == {'adaptformer'}
    assert tuned.best['adaptformer'].head_rate == 0.01
    assert tuned.best['adaptformer'].rate in (0.001, 0.01)


def test_an_interruption_cancels_trainings_that_have_not_begun(make_sweep) -> None:
    def slow(training: Training) -> float:
        time.sleep(0.02)  # 40 s for all
        return 1.0

    trainer = FakeTrainer(slow)

    class Interrupted(Silent):
        def ended(self, outcome) -> None:
            raise KeyboardInterrupt

    queue = LocalQueue(trainer, [ResourceSlot(1)], Interrupted())
    with pytest.raises(KeyboardInterrupt):
        queue(
            'title', [Training('tune', 'full', seed, Length(1), 0.1, 0.1) for seed in range(2000)]
        )
    assert len(trainer.trained) < 2000
