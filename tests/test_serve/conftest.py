"""Tasks of tiny models to serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_tasks import write_tasks
from tiny_runs import Run, fresh_globals, instances, semantic

from mmqadapter.serve.predictor import Predictor
from mmqadapter.serve.served_tasks import load_tasks

__all__ = ['fresh_globals', 'instances', 'semantic']
HIGHWAY = """
_base_ = {base!r}
model = dict(backbone=dict(
    _delete_=True, type='mmqadapter.HighwayBackbone', backbone=_base_.model.backbone.backbone,
    adapter=dict(type='ConvAdapter', width=4), cell='JoinedCell', taps='stream'))
"""


@pytest.fixture
def highway_config(semantic: Run, tmp_path: Path) -> str:
    """A segmentor with a highway."""
    config = tmp_path / 'highway.py'
    config.write_text(HIGHWAY.format(base=semantic.config))
    return str(config)


@pytest.fixture
def highway_files(highway_config: str, tmp_path: Path) -> list[Path]:
    """Two tasks of the segmentor with a highway: ``cracks`` and ``rust``."""
    return write_tasks(highway_config, tmp_path, 'cracks', 'rust')


@pytest.fixture
def highway(highway_config: str, highway_files: list[Path]) -> Predictor:
    """A predictor for two tasks that share a run of the trunk."""
    return Predictor(load_tasks(highway_config, highway_files, device='cpu'))


@pytest.fixture
def detector(instances: Run) -> Predictor:
    """A predictor for one task of instance segmentation, called ``last``."""
    return Predictor(load_tasks(instances.config, [instances.task], device='cpu'))


@pytest.fixture
def image(semantic: Run) -> Path:
    """An image of 64 x 64 pixels."""
    return semantic.images / '0.jpg'
