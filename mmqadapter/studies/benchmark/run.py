"""The benchmark: build the methods, let them take turns, put together what they cost."""

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
from mmqadapter.studies.report.header import make_header
from mmqadapter.studies.report.settings import Settings

Report = dict[str, Any]


def run_benchmark(
    cfg: Config, methods: Sequence[Method], settings: Settings, observe: Callable[[Report], None]
) -> Report:
    """Measure each method on the model of a config.

    The machine's memory has to hold the models of all methods: on a GPU they wait there for their
    turn (see :func:`.rounds.schedule_rounds`). All are built before the first one is
    measured, so that a method that does not fit the backbone is told at once. A method that runs
    out of memory is a row with a ``note`` that says so.

    Args:
        cfg: A config of mmdet or mmseg, its backbone wrapped by one of ours or not.
        methods: What to compare.
        settings: How to measure.
        observe: Is given the report after each turn, as far as it is known.

    Returns:
        ``header`` and ``rows``.

    Raises:
        FileNotFoundError: Real data are asked for and are not there.
        ValueError: A method or a config that cannot be measured.
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

    def tell() -> Report:
        report = {'header': header, 'rows': make_rows(candidates)}
        observe(report)
        return report

    tell()
    rounds = schedule_rounds(settings.device, settings.steps, settings.warm_up)
    for number, round_ in enumerate(rounds):
        for candidate in in_order(candidates, number):
            candidate.measure(round_, partial(start, batches=batches))
            tell()
    if settings.memory_limit is not None:
        for candidate in candidates:
            candidate.leave()
            candidate.max_batch = find_max_batch(candidate.model, start, source, settings)
            tell()
    return tell()


def build_candidates(cfg: Config, methods: Sequence[Method], seed: int) -> list[Candidate]:
    """Models of the methods, all with the same weights of trunk, neck and head.

    Args:
        cfg: Result of :func:`mmqadapter.studies.benchmark.model.plain_config`.
        methods: What to build.
        seed: Of the weights.

    Raises:
        ValueError: A method does not fit the backbone.
    """
    builder = ModelBuilder(cfg, seed)
    candidates = []
    for method in methods:
        print_log(f'{method.name} is being built.', logger='current')
        model = builder.build(method)
        candidates.append(Candidate(method, model, count_sizes(model, builder.plain_bytes)))
    return candidates
