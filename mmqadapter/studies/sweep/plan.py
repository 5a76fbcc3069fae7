"""Plan of a sweep: the checked content of a sweep file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmqadapter.engine.precision import check_precision, set_mixed_precision
from mmqadapter.engine.runner import load_config
from mmqadapter.studies.sweep.fields import (
    boolean,
    check_keys,
    distinct_list,
    integer,
    rate_list,
    text,
)
from mmqadapter.studies.sweep.length import Length, read_length
from mmqadapter.studies.sweep.methods import GROUPS, SweepMethod, parse_method, plain_backbone
from mmqadapter.studies.sweep.yaml_file import load_yaml
from mmqadapter.utils.shipped import find_sweep

REQUIRED = ('config', 'metric', 'seeds', 'tuning_seed', 'head_rates', 'rates', 'methods')
# With their defaults; exactly one of the first two has to be set.
OPTIONAL: dict[str, Any] = {
    'iterations': None, 'epochs': None, 'overrides': {}, 'amp': False, 'validations': 1,
    'processes': 1, 'samples': 4, 'photos': True,
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """Plan of a sweep.

    Attributes:
        name: Name of the sweep file.
        config: Config that all trainings start from; in mixed precision if the file says so.
        length: Length of a training.
        metric: Name of the score in the log of the validation; higher is better.
        seeds: Seeds of the trainings that are reported.
        tuning_seed: Seed of the trainings that choose the learning rates; not one of ``seeds``.
        head_rates: Learning rates to try for neck and head.
        rates: Learning rates to try for each group of ``GROUPS`` that a method needs.
        methods: Methods by name.
        validations: Maximum number of validations of a reported training, evenly spaced; the last
            one is the score.
        processes: Number of processes that train one model together, such as the GPUs of a machine.
        samples: Number of validation images whose predictions the report shows.
        photos: Show the images themselves; if False, only label maps and outlines.
    """

    name: str
    config: Config
    length: Length
    metric: str
    seeds: tuple[int, ...]
    tuning_seed: int
    head_rates: tuple[float, ...]
    rates: Mapping[str, tuple[float, ...]]
    methods: Mapping[str, SweepMethod]
    validations: int
    processes: int
    samples: int
    photos: bool

    def rates_of(self, name: str) -> tuple[float | None, ...]:
        """Return the rates to try for the group of a method; (None,) if only the head trains."""
        method = self.methods[name]
        if method.group is None:
            return (None,)
        return method.rates or self.rates[method.group]

    def head_rates_of(self, name: str) -> tuple[float, ...]:
        """Return the rates to try for neck and head of a method."""
        return self.methods[name].head_rates or self.head_rates

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Return ``names`` without repetitions, or the names of all methods if it is empty.

        Raises:
            ValueError: The sweep has no method of such a name.
        """
        for name in names:
            if name not in self.methods:
                known = ', '.join(self.methods)
                raise ValueError(
                    f'method {name!r} is invalid: expected one of {self.name}: {known}.'
                )
        return list(dict.fromkeys(names)) or list(self.methods)


def read_sweep(path: str | os.PathLike) -> Sweep:
    """Return the plan of a sweep file.

    ``config`` in it is a path relative to the file, or the name of a shipped config.

    Args:
        path: Path of the file, or the name of a shipped one, such as ``camvid``.

    Raises:
        FileNotFoundError: The file or its config does not exist.
        ValueError: The file is not valid YAML, or a key or value in it is invalid.
    """
    path = find_sweep(path)
    content = load_yaml(path)
    try:
        return _make_sweep(path, content)
    except ValueError as error:
        raise ValueError(f'{path.name}: {error}') from error


def _make_sweep(path: Path, content: Any) -> Sweep:
    check_keys('the file', content, REQUIRED, OPTIONAL)
    values = {**OPTIONAL, **content}
    config = text('config', values['config'])
    beside = path.parent / config
    cfg = _load_config(beside if beside.exists() else Path(config), values['overrides'] or {})
    if boolean('amp', values['amp']):
        set_mixed_precision(cfg)
        check_precision(cfg)
    sweep = Sweep(
        name=path.name,
        config=cfg,
        length=read_length(content, cfg),
        metric=text('metric', values['metric']),
        seeds=tuple(integer('seeds', seed, 0) for seed in distinct_list('seeds', values['seeds'])),
        tuning_seed=integer('tuning_seed', values['tuning_seed'], 0),
        head_rates=rate_list('head_rates', values['head_rates']),
        rates=_parse_rates(values['rates']),
        methods=_parse_methods(values['methods'], cfg),
        validations=integer('validations', values['validations'], 1),
        processes=integer('processes', values['processes'], 1),
        samples=integer('samples', values['samples'], 0),
        photos=boolean('photos', values['photos']),
    )
    _check_consistency(sweep)
    return sweep


def _load_config(path: Path, overrides: Any) -> Config:
    if not isinstance(overrides, Mapping):
        raise ValueError(f'overrides={overrides!r} is invalid: expected a mapping of settings.')
    try:
        return load_config(path, {str(name): value for name, value in overrides.items()})
    # What a merge raises if a parent of a setting is not a mapping.
    except (KeyError, TypeError) as error:
        raise ValueError(f'overrides do not fit {path.name}: {error}.') from error


def _parse_rates(content: Any) -> dict[str, tuple[float, ...]]:
    check_keys('rates', content, (), GROUPS)
    return {group: rate_list(f'rates.{group}', rates) for group, rates in content.items()}


def _parse_methods(entries: Any, cfg: Config) -> dict[str, SweepMethod]:
    net = plain_backbone(cfg)
    methods = [_parse_method(entry, net) for entry in distinct_list('methods', entries)]
    names = distinct_list('methods', [method.name for method in methods])
    return dict(zip(names, methods, strict=True))


def _parse_method(entry: Any, net: dict[str, Any]) -> SweepMethod:
    if isinstance(entry, str):
        return parse_method(entry, net)
    name = entry.get('name') if isinstance(entry, Mapping) else entry
    try:
        return parse_method(entry, net)
    except ValueError as error:
        raise ValueError(f'method {name!r}: {error}') from error


def _check_consistency(sweep: Sweep) -> None:
    if sweep.tuning_seed in sweep.seeds:
        raise ValueError(
            f'tuning_seed={sweep.tuning_seed} is invalid: expected a seed that is not in seeds, so '
            'that rates are not chosen by a score that is reported.'
        )
    for method in sweep.methods.values():
        if not (method.group is None or method.rates or method.group in sweep.rates):
            raise ValueError(f'rates.{method.group} is missing: method {method.name!r} needs it.')
