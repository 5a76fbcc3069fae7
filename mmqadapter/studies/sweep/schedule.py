"""A sweep from its first training to its last: tune, train all seeds, time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.outcome import Outcome
from mmqadapter.studies.sweep.plan import Sweep
from mmqadapter.studies.sweep.training import SEED, TIME, Training
from mmqadapter.studies.sweep.tune import TrainAll, Tuned, tune


@dataclass(frozen=True)
class Results:
    """All outcomes of a sweep.

    Attributes:
        tuned: Choice of rates.
        trained: All seeds of all methods with the best rates.
        timed: A short training of each method, alone on the machine.
    """

    tuned: Tuned
    trained: Sequence[Outcome]
    timed: Mapping[str, Outcome]

    @property
    def failed(self) -> Iterator[Outcome]:
        """Those that gave no result."""
        for outcome in (*self.tuned.outcomes, *self.trained, *self.timed.values()):
            if outcome.result is None:
                yield outcome


def run_sweep(
    sweep: Sweep, names: Sequence[str], train_all: TrainAll, alone: TrainAll, timing_steps: int = 0
) -> Results:
    """Tune the rates of each method, train all seeds with them, then measure step times.

    Args:
        sweep: The sweep.
        names: Of the methods.
        train_all: Trains several, or knows their outcomes already.
        alone: The same, one at a time on this machine.
        timing_steps: Iterations of the timed trainings; 0 leaves them out.
    """
    tuned = tune(sweep, names, train_all)
    finals = [
        replace(best, purpose=SEED, seed=seed)
        for seed in sweep.seeds
        for best in tuned.best.values()
    ]
    trained = train_all('seeds', finals)
    timed = _timings(sweep, tuned.best, timing_steps) if timing_steps else []
    outcomes = alone('step times', timed) if timed else []
    return Results(tuned, trained, {one.training.method: one for one in outcomes})


def _timings(sweep: Sweep, best: Mapping[str, Training], steps: int) -> list[Training]:
    return [
        replace(training, purpose=TIME, seed=sweep.seeds[0], length=Length(steps))
        for training in best.values()
    ]
