"""Run of a sweep: tune the learning rates, train all seeds, measure step times."""

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
        tuned: Result of the tuning of learning rates.
        trained: Outcomes of all seeds of all methods with the best rates.
        timed: Outcome of a short training alone on the machine, by method.
    """

    tuned: Tuned
    trained: Sequence[Outcome]
    timed: Mapping[str, Outcome]

    @property
    def failed(self) -> Iterator[Outcome]:
        """Outcomes of failed trainings."""
        for outcome in (*self.tuned.outcomes, *self.trained, *self.timed.values()):
            if outcome.result is None:
                yield outcome


def run_sweep(
    sweep: Sweep,
    names: Sequence[str],
    train_all: TrainAll,
    train_alone: TrainAll,
    timing_steps: int = 0,
) -> Results:
    """Tune the rates of each method, train all seeds with them, then measure step times.

    Args:
        sweep: Plan of the sweep.
        names: Names of the methods.
        train_all: Function that runs trainings, in parallel if it can.
        train_alone: Function that runs trainings one at a time on this machine.
        timing_steps: Iterations of the timed trainings; 0 to skip them.
    """
    tuned = tune(sweep, names, train_all)
    trainings = [
        replace(best, purpose=SEED, seed=seed)
        for seed in sweep.seeds
        for best in tuned.best.values()
    ]
    trained = train_all('seeds', trainings)
    timings = _timings(sweep, tuned.best, timing_steps) if timing_steps else []
    timed = train_alone('step times', timings) if timings else []
    return Results(tuned, trained, {outcome.training.method: outcome for outcome in timed})


def _timings(sweep: Sweep, best: Mapping[str, Training], steps: int) -> list[Training]:
    return [
        replace(training, purpose=TIME, seed=sweep.seeds[0], length=Length(steps))
        for training in best.values()
    ]
