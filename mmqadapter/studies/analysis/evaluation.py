"""The metric of a model as its weights are now, by mmengine's test loop."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from tempfile import TemporaryDirectory

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmqadapter.engine.runner import testing_runner
from mmqadapter.studies.analysis.sources import Source

# The metric of a study where nothing is said, in order of preference.
PREFERRED = ('mIoU', 'coco/segm_mAP', 'coco/bbox_mAP', 'pascal_voc/mAP')
Metrics = dict[str, float]


class Evaluation:
    """Test data and test evaluator of a config, used again and again on one model.

    Args:
        runner: Has the model with its weights.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def model(self) -> nn.Module:
        """The model whose weights may be changed between calls."""
        return self._runner.model

    def __call__(self) -> Metrics:
        """What the evaluator says of the weights that the model has now."""
        with redirect_stdout(io.StringIO()):  # pycocotools tells of each of its steps
            found = self._runner.test()
        return {name: float(value) for name, value in found.items()}


@contextmanager
def evaluation(source: Source) -> Iterator[Evaluation]:
    """Evaluation of a source; nothing is logged and nothing stays on the disk.

    Raises:
        FileNotFoundError: A file or a data root that does not exist.
        ValueError: The config tests nothing, or the weights do not fit.
    """
    with TemporaryDirectory() as folder:
        yield Evaluation(
            testing_runner(_silent(source.cfg, folder), source.file, trust=source.trust)
        )


def score_of(metrics: Mapping[str, float], name: str) -> float:
    """A metric; 0 where COCO's evaluator gives none, because a detector finds nothing at all."""
    return metrics.get(name, 0.0)


def score_name(metrics: Mapping[str, float], asked: str | None) -> str:
    """Which metric a study is about: the one asked for, or the usual one.

    Raises:
        ValueError: The evaluator does not give it, or nothing at all.
    """
    if not metrics:
        raise ValueError('the evaluator gives no metric: the model finds nothing in the test data.')
    if asked is None:
        return next((name for name in PREFERRED if name in metrics), next(iter(metrics)))
    if asked not in metrics:
        raise ValueError(f'score={asked!r} is not evaluated; there are {", ".join(metrics)}.')
    return asked


def _silent(cfg: Config, folder: str) -> Config:
    """Without hooks: an averaging one would put its copy of the weights in the place of ours."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.log_level, cfg.custom_hooks = folder, 'ERROR', []
    cfg.visualizer = None  # a config's own may report to a server
    cfg.default_hooks = dict(logger=None, checkpoint=None, param_scheduler=None, timer=None)
    return cfg
