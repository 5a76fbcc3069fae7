"""Evaluation of a model with its present weights, by mmengine's test loop."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmqadapter.engine.runner import testing_runner
from mmqadapter.studies.analysis.sources import Source

# Default metrics of a study, in order of preference.
PREFERRED = ('mIoU', 'coco/segm_mAP', 'coco/bbox_mAP', 'pascal_voc/mAP')
Metrics = dict[str, float]


class Evaluation:
    """Test data and test evaluator of a config, for repeated use on one model.

    Args:
        runner: Runner that has the model with its weights.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def model(self) -> nn.Module:
        """The model, whose weights may be changed between calls."""
        return self._runner.model

    def __call__(self) -> Metrics:
        """Evaluate the model with its present weights."""
        with redirect_stdout(io.StringIO()):  # pycocotools prints each of its steps
            metrics = self._runner.test()
        return {name: float(value) for name, value in metrics.items()}


@contextmanager
def evaluation(source: Source) -> Iterator[Evaluation]:
    """Set up the evaluation of a source; nothing is logged, and no file remains on the disk.

    Raises:
        FileNotFoundError: A file or a data root does not exist.
        ValueError: The config has no test set-up, or the weights do not fit.
    """
    with TemporaryDirectory() as folder:
        yield Evaluation(
            testing_runner(_silent(source.cfg, folder), source.file, trust=source.trust)
        )


def metric_value(metrics: Mapping[str, float], name: str) -> float:
    """Return a metric; 0 if COCO's evaluator left it out because nothing was detected."""
    return metrics.get(name, 0.0)


def choose_metric(metrics: Mapping[str, float], requested: str | None) -> str:
    """Return the name of the metric of a study: the requested or the usual one.

    Raises:
        ValueError: The evaluator does not compute it, or computes no metric at all.
    """
    if not metrics:
        raise ValueError('the evaluator gives no metric: the model finds nothing in the test data.')
    if requested is None:
        return next((name for name in PREFERRED if name in metrics), next(iter(metrics)))
    if requested not in metrics:
        raise ValueError(f'score={requested!r} is invalid: expected one of {", ".join(metrics)}.')
    return requested


def _silent(cfg: Config, folder: str) -> Config:
    """Return a config without hooks: EMA's would replace the weights by its averages."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.log_level, cfg.custom_hooks = folder, 'ERROR', []
    # That of the config may report to a server, and mmengine gives all runners of one second the
    # visualizer of the first, whose folder may be gone.
    cfg.visualizer = dict(type='mmengine.Visualizer', name=Path(folder).name)
    cfg.default_hooks = dict(logger=None, checkpoint=None, param_scheduler=None, timer=None)
    return cfg
