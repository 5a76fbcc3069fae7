"""A kill between a checkpoint and the end of its validation loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.runner import Runner

from mmqadapter.checkpoints.safe_load import read_pickle

SCORES = {3: 0.5, 6: 0.4}


class KillError(Exception):
    """Stand-in for a kill."""


@METRICS.register_module(force=True)
class ByStep(BaseMetric):
    """Metric with a given score for each step; the validation at ``killed_at`` does not end."""

    def __init__(self, scores: dict[int, float], killed_at: int | None = None) -> None:
        super().__init__(prefix='toy')
        self.by_step, self.killed_at = scores, killed_at

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        step = RUNNER[-1].iter
        VALIDATED.append(step)
        if step == self.killed_at:
            raise KillError
        return {'mIoU': self.by_step[step]}


RUNNER: list[Runner] = []
VALIDATED: list[int] = []


@pytest.fixture(autouse=True)
def note_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    VALIDATED.clear()
    train = Runner.train

    def noted(self: Runner) -> Any:
        RUNNER.append(self)
        return train(self)

    monkeypatch.setattr(Runner, 'train', noted)


def scored(cfg: Config, scores: dict[int, float], killed_at: int | None = None) -> Config:
    cfg.default_hooks.checkpoint.save_best = 'toy/mIoU'
    cfg.val_evaluator = dict(type='ByStep', scores=scores, killed_at=killed_at)
    return cfg


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_pickle(path)['state_dict']


@pytest.mark.parametrize('by_epoch', [False, True])
@pytest.mark.parametrize('killed', [1, 2])
@pytest.mark.parametrize('rising', [False, True])
def test_an_interrupted_validation_runs_after_the_resume(
    tiny, train, tmp_path: Path, saved_tasks, by_epoch: bool, killed: int, rising: bool
) -> None:
    """The best files equal those of an uninterrupted run, also after the last validation."""
    steps = (4, 8) if by_epoch else (3, 6)
    scores = dict(zip(steps, (0.5, 0.6) if rising else (0.5, 0.4), strict=True))
    train(scored(tiny('whole', by_epoch), scores))
    expected = dict(saved_tasks)
    saved_tasks.clear()
    VALIDATED.clear()
    with pytest.raises(KillError):
        train(scored(tiny('killed', by_epoch), scores, steps[killed - 1]))
    last = Path((tmp_path / 'killed/last_checkpoint').read_text())
    VALIDATED.clear()
    train(scored(tiny('killed', by_epoch), scores), last)
    assert VALIDATED == list(steps[killed - 1 :])
    best = [next((tmp_path / name).glob('best_*.pth')) for name in ('whole', 'killed')]
    assert best[0].name == best[1].name
    assert all(torch.equal(weights(best[1])[k], w) for k, w in weights(best[0]).items())
    for name, (state, _) in saved_tasks.items():
        assert all(torch.equal(expected[name][0][key], state[key]) for key in state)


def test_a_validation_with_a_saved_score_is_not_repeated(
    tiny, train, tmp_path: Path, saved_tasks
) -> None:
    train(scored(tiny(), SCORES))
    VALIDATED.clear()
    train(scored(tiny(), SCORES), tmp_path / 'run/iter_3.pth')
    assert VALIDATED == [6]


@pytest.mark.parametrize('name', ['iter_2.pth', 'iter_5.pth'])
def test_between_validations_none_is_due(
    tiny, train, tmp_path: Path, saved_tasks, name: str
) -> None:
    cfg = scored(tiny(), SCORES)
    cfg.default_hooks.checkpoint.interval = 1
    train(cfg)
    VALIDATED.clear()
    train(scored(tiny(), SCORES), tmp_path / 'run' / name)
    assert VALIDATED == ([3, 6] if name == 'iter_2.pth' else [6])


def test_a_kill_before_the_best_task_file_leaves_the_score_new(
    tiny, train, tmp_path: Path, saved_tasks, monkeypatch
) -> None:
    """If the score were saved first, the task file would never catch up with it."""
    rising = {3: 0.5, 6: 0.6}
    written = 'mmqadapter.hooks.task_checkpoint_hook.save_task'
    with monkeypatch.context() as patch:

        def killed(model: Any, path: Path, **kwargs: Any) -> None:
            raise KillError

        patch.setattr(written, killed)
        with pytest.raises(KillError):
            train(scored(tiny(), rising))
    assert not saved_tasks
    train(scored(tiny(), rising), tmp_path / 'run/iter_3.pth')
    assert VALIDATED == [3, 3, 6]
    state = weights(next((tmp_path / 'run').glob('best_*iter_6.pth')))
    best = saved_tasks['best.task.safetensors'][0]
    assert torch.equal(best['head.weight'], state['head.weight'])
