"""Choice of learning rates: the head's first, then that of backbone or adapters."""

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
    """Outcome of the tuning.

    Attributes:
        best: The training with the best rates, by method; one that always failed is missing.
        outcomes: Of all trainings.
    """

    best: Mapping[str, Training]
    outcomes: Sequence[Outcome]


def tune(sweep: Sweep, names: Sequence[str], train_all: TrainAll) -> Tuned:
    """Choose rates on the tuning seed, at full length: short trainings favour high rates.

    The head's rate is chosen at the middle rate of the other group, then that at the best head
    rate. Where there is one candidate, nothing is trained.

    Args:
        sweep: The sweep.
        names: Of the methods.
        train_all: Trains several, all told under one title.
    """
    heads, first = _best_of(
        {name: _head_candidates(sweep, name) for name in names}, train_all, 'head rates'
    )
    rates = {
        name: [_candidate(sweep, name, best.head_rate, rate) for rate in sweep.rates_of(name)]
        for name, best in heads.items()
    }
    best, second = _best_of(rates, train_all, 'other rates')
    # The best head rate at the middle rate is in both.
    return Tuned(best, list({outcome.training: outcome for outcome in [*first, *second]}.values()))


def _head_candidates(sweep: Sweep, name: str) -> list[Training]:
    rates = sweep.rates_of(name)
    middle = rates[len(rates) // 2]
    return [_candidate(sweep, name, head, middle) for head in sweep.head_rates_of(name)]


def _candidate(sweep: Sweep, name: str, head_rate: float, rate: float | None) -> Training:
    return Training(TUNE, name, sweep.tuning_seed, sweep.length, head_rate, rate)


def _best_of(
    candidates: Mapping[str, list[Training]], train_all: TrainAll, title: str
) -> tuple[dict[str, Training], list[Outcome]]:
    """The training of the highest score for each method, and all outcomes."""
    open_questions = [one for several in candidates.values() if len(several) > 1 for one in several]
    outcomes = train_all(title, open_questions) if open_questions else []
    scores = {outcome.training: outcome.score for outcome in outcomes}
    best = {}
    for name, several in candidates.items():
        first = max(several, key=lambda training: scores.get(training, -math.inf))
        if len(several) == 1 or scores[first] > -math.inf:
            best[name] = first
    return best, outcomes
