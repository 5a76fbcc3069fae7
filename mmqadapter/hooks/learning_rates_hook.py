"""Log the learning rate and weight decay of each part of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.table import Table
from torch import nn

from mmqadapter.registry import HOOKS
from mmqadapter.utils.optimizers import optimizers
from mmqadapter.utils.sharding import as_built, is_sharded
from mmqadapter.utils.tables import table_text
from mmqadapter.utils.tuned_backbone import TunedBackbone

MOST_ROWS = 4  # of one part; more, as layer-wise decay makes them, are merged into one
Groups = Iterable[dict]


@dataclass(frozen=True)
class Row:
    """Settings that the parameters of a row share; None for those that the optimizer lacks."""

    part: str
    rate: float | None
    decay: float | None


@HOOKS.register_module()
class LearningRatesHook(Hook):
    """Hook that logs, before the first step, which parts of the model train at which rate.

    The table has a row for each part (adapters, trunk, neck, heads) and each pair of learning rate
    and weight decay in it, with its number of tensors and of parameters. The rates are those from
    which schedules start, so without warm-up.
    """

    def before_train(self, runner: Runner) -> None:
        """Log the table."""
        groups = [g for opt in optimizers(runner.optim_wrapper) for g in opt.param_groups]
        tensors, parameters = count_by_rate(runner.model, groups)
        runner.logger.info(_table(tensors, parameters))


def count_by_rate(model: nn.Module, groups: Groups) -> tuple[Counter[Row], Counter[Row]]:
    """Count the tensors and the parameters in the groups of an optimizer.

    Every process has to call this if the model is sharded.
    """
    settings = {id(p): _settings(group) for group in groups for p in group['params']}
    tensors: Counter[Row] = Counter()
    parameters: Counter[Row] = Counter()
    with as_built(model) as built:
        wrappers = [f'{n}.' for n, m in built.named_modules() if isinstance(m, TunedBackbone)]
        for name, parameter in built.named_parameters():
            if id(parameter) in settings:
                row = Row(_part(name, wrappers), *settings[id(parameter)])
                tensors[row] += 1
                parameters[row] += parameter.numel()
    if is_sharded(model):
        parameters = sum(all_gather_object(parameters), Counter())
    return tensors, parameters


def _settings(group: dict) -> tuple[float | None, float | None]:
    # A schedule with a warm-up has already lowered `lr`.
    return group.get('initial_lr', group.get('lr')), group.get('weight_decay')


def _part(name: str, wrappers: Iterable[str]) -> str:
    """Return the child of a wrapper (trunk or adapters) or of the model that has a parameter."""
    wrapper = next((path for path in wrappers if name.startswith(path)), '')
    return wrapper + name[len(wrapper) :].partition('.')[0]


def _table(tensors: Counter[Row], parameters: Counter[Row]) -> str:
    columns = ('part', 'learning rate', 'weight decay', 'tensors', 'parameters')
    table = Table(*columns, title='Learning rates')
    for rows in _merged(tensors):
        table.add_row(
            rows[0].part,
            _span(row.rate for row in rows),
            _span(row.decay for row in rows),
            f'{sum(tensors[row] for row in rows):,}',
            f'{sum(parameters[row] for row in rows):,}',
        )
    return table_text(table)


def _merged(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows of a part one by one, or all in one list if they are many."""
    by_part: dict[str, list[Row]] = {}
    for row in rows:
        by_part.setdefault(row.part, []).append(row)
    for of_part in by_part.values():
        yield from [of_part] if len(of_part) > MOST_ROWS else [[row] for row in of_part]


def _span(values: Iterable[float | None]) -> str:
    known = sorted({float(value) for value in values if value is not None})
    return ' to '.join(f'{value:g}' for value in dict.fromkeys([*known[:1], *known[-1:]])) or '-'
