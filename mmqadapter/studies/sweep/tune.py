"""Tuning of learning rates: first that of the head, then that of backbone or adapters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.training import TUNE, Training

TrainAll = Callable[[str, Sequence[Training]], list[Outcome]]


@dataclass(frozen=True)
class Tuned:
    """Result of the tuning.

    Attributes:
        best: Training with the best rates, by method; without methods that always failed.
        outcomes: Outcomes of all trainings.
    """

    best: Mapping[str, Training]
    outcomes: Sequence[Outcome]


def tune(sweep: Sweep, names: Sequence[str], train_all: TrainAll) -> Tuned:
    """Choose learning rates on the tuning seed, at full length: short trainings favor high rates.

    The head rate is chosen at the middle rate of the method's group, then the rate of the group at
    the best head rate. A single candidate is not trained.

    Args:
        sweep: Plan of the sweep.
        names: Names of the methods.
        train_all: Function that runs trainings under one title.
    """
    head_candidates = {name: _head_candidates(sweep, name) for name in names}
    best_heads, head_outcomes = _select_best(head_candidates, train_all, 'head rates')
    candidates = {
        name: [_candidate(sweep, name, best.head_rate, rate) for rate in sweep.rates_of(name)]
        for name, best in best_heads.items()
    }
    best, outcomes = _select_best(candidates, train_all, 'other rates')
    # Both have the training with the best head rate and the middle rate.
    distinct = {outcome.training: outcome for outcome in [*head_outcomes, *outcomes]}
    return Tuned(best, list(distinct.values()))


def _head_candidates(sweep: Sweep, name: str) -> list[Training]:
    rates = sweep.rates_of(name)
    middle = rates[len(rates) // 2]
    return [_candidate(sweep, name, head, middle) for head in sweep.head_rates_of(name)]


def _candidate(sweep: Sweep, name: str, head_rate: float, rate: float | None) -> Training:
    return Training(TUNE, name, sweep.tuning_seed, sweep.length, head_rate, rate)


def _select_best(
    candidates: Mapping[str, list[Training]], train_all: TrainAll, title: str
) -> tuple[dict[str, Training], list[Outcome]]:
    """Return the candidate with the highest score of each method, and all outcomes."""
    trainings = [training for group in candidates.values() if len(group) > 1 for training in group]
    outcomes = train_all(title, trainings) if trainings else []
    scores = {outcome.training: outcome.score for outcome in outcomes}
    best = {}
    for name, group in candidates.items():
        winner = max(group, key=lambda training: scores.get(training, -math.inf))
        if len(group) == 1 or scores[winner] > -math.inf:
            best[name] = winner
    return best, outcomes
