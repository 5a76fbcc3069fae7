"""Run of a benchmark: build the models of all methods and measure them in rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmqadapter.studies.benchmark.batches import Batch, batch_source
from mmqadapter.studies.benchmark.candidate import Candidate
from mmqadapter.studies.benchmark.max_batch import find_max_batch
from mmqadapter.studies.benchmark.memory import require_memory
from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.benchmark.model import ModelBuilder, plain_config
from mmqadapter.studies.benchmark.rounds import in_order, schedule_rounds
from mmqadapter.studies.benchmark.rows import make_rows
from mmqadapter.studies.benchmark.sizes import count_sizes
from mmqadapter.studies.benchmark.training import Training
from mmqadapter.studies.report.files import Report
from mmqadapter.studies.report.header import make_header
from mmqadapter.studies.report.settings import Settings


def run_benchmark(
    cfg: Config, methods: Sequence[Method], settings: Settings, observe: Callable[[Report], None]
) -> Report:
    """Measure each method on the model of a config.

    All models are built first, so that a method that does not fit the backbone is reported at once.
    The machine's memory has to hold all of them: if a GPU is measured, models wait in the machine's
    memory for their round (see :func:`.rounds.schedule_rounds`). A method that runs out of memory
    has a ``note`` in its row.

    Args:
        cfg: Config of mmdet or mmseg; its backbone may be in one of our wrappers.
        methods: Methods to compare.
        settings: Settings of the measurement.
        observe: Function that gets the unfinished report after each round of a method.

    Returns:
        Report with ``header`` and ``rows``.

    Raises:
        FileNotFoundError: ``settings.real_data`` is set and the data do not exist.
        ValueError: A method or the config cannot be measured.
    """
    settings = settings.completed(cfg)
    require_memory(settings.device, settings.memory_limit or 0)
    plain = plain_config(cfg, settings)
    source = batch_source(plain, settings)
    batches = source(settings.batch_size)
    candidates = build_candidates(plain, methods, settings.seed)
    header = make_header(cfg, settings)

    def start(model: Any, batches: list[Batch]) -> Training:
        return Training(model, batches, plain, settings.device, settings.amp)

    def update() -> Report:
        report = {'header': header, 'rows': make_rows(candidates)}
        observe(report)
        return report

    update()
    rounds = schedule_rounds(settings.device, settings.steps, settings.warm_up)
    for index, current_round in enumerate(rounds):
        for candidate in in_order(candidates, index):
            candidate.measure(current_round, partial(start, batches=batches))
            update()
    if settings.memory_limit is not None:
        for candidate in candidates:
            candidate.free_device()
            candidate.max_batch = find_max_batch(candidate.model, start, source, settings)
            update()
    return update()


def build_candidates(cfg: Config, methods: Sequence[Method], seed: int) -> list[Candidate]:
    """Build the models of the methods, all with equal weights of trunk, neck and head.

    Args:
        cfg: Result of :func:`mmqadapter.studies.benchmark.model.plain_config`.
        methods: Methods to build.
        seed: Seed of the weights.

    Raises:
        ValueError: A method does not fit the backbone.
    """
    builder = ModelBuilder(cfg, seed)
    candidates = []
    for method in methods:
        print_log(f'Building {method.name}.', logger='current')
        model = builder.build(method)
        candidates.append(Candidate(method, model, count_sizes(model, builder.plain_bytes)))
    return candidates
