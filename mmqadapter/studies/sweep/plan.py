"""What a sweep file says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmqadapter.engine.runner import load_config
from mmqadapter.studies.sweep.fields import check_keys, rate_list, several, text, whole, yes_or_no
from mmqadapter.studies.sweep.length import Length, read_length
from mmqadapter.studies.sweep.methods import GROUPS, SweepMethod, parse_method, plain_backbone
from mmqadapter.studies.sweep.yaml_file import load_yaml

REQUIRED = ('config', 'metric', 'seeds', 'tuning_seed', 'head_rates', 'rates', 'methods')
# With what each means where it is left out; of the first two a file has one.
OPTIONAL: dict[str, Any] = {
    'iterations': None, 'epochs': None, 'overrides': {}, 'validations': 1, 'processes': 1,
    'samples': 4, 'photos': True,
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked.

    Attributes:
        name: Of the file.
        config: What all trainings share.
        length: Of a training.
        metric: Name of the score in the validation's log, higher is better.
        seeds: Of the trainings that are reported.
        tuning_seed: Of those that choose the rates; none of ``seeds``.
        head_rates: Learning rates to try for neck and head.
        rates: Those for each group of ``GROUPS`` that a method needs.
        methods: By their names.
        validations: How many a reported training has, evenly spaced; the score is the last one.
        processes: How many train one model together, such as the GPUs of a machine.
        samples: Validation images whose predictions the report shows.
        photos: Whether these images themselves are shown; label maps and outlines alone if not.
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
        """Rates to try for the group of a method; None alone where only the head trains."""
        method = self.methods[name]
        if method.group is None:
            return (None,)
        return method.rates or self.rates[method.group]

    def head_rates_of(self, name: str) -> tuple[float, ...]:
        """Rates to try for neck and head of a method."""
        return self.methods[name].head_rates or self.head_rates

    def chosen(self, names: Sequence[str]) -> list[str]:
        """``names``, each once, or all methods where there are none.

        Raises:
            ValueError: A name that is no method of the sweep.
        """
        for name in names:
            if name not in self.methods:
                known = ', '.join(self.methods)
                raise ValueError(f'{name!r} is no method of {self.name}; it has {known}.')
        return list(dict.fromkeys(names)) or list(self.methods)


def read_sweep(path: str | os.PathLike) -> Sweep:
    """The sweep of a file; ``config`` in it is relative to it.

    Raises:
        FileNotFoundError: No such file or config.
        ValueError: It is no YAML, or something in it is missing, unknown or wrong.
    """
    path = Path(path)
    content = load_yaml(path)
    check_keys(path.name, content, REQUIRED, OPTIONAL)
    cfg = _config(path.parent / text('config', content['config']), content.get('overrides') or {})
    more = {name: content.get(name, default) for name, default in OPTIONAL.items()}
    sweep = Sweep(
        name=path.name,
        config=cfg,
        length=read_length(content, cfg),
        metric=text('metric', content['metric']),
        seeds=tuple(whole('seeds', seed, 0) for seed in several('seeds', content['seeds'])),
        tuning_seed=whole('tuning_seed', content['tuning_seed'], 0),
        head_rates=rate_list('head_rates', content['head_rates']),
        rates=_rates(content['rates']),
        methods=_methods(content['methods'], cfg),
        validations=whole('validations', more['validations'], 1),
        processes=whole('processes', more['processes'], 1),
        samples=whole('samples', more['samples'], 0),
        photos=yes_or_no('photos', more['photos']),
    )
    _check_consistency(sweep)
    return sweep


def _config(path: Path, overrides: Any) -> Config:
    if not isinstance(overrides, Mapping):
        raise ValueError(f'overrides={overrides!r} is no mapping of settings to values.')
    try:
        return load_config(path, {str(name): value for name, value in overrides.items()})
    # So a merge tells that a setting is not where an override looks for it.
    except (KeyError, TypeError) as error:
        raise ValueError(f'overrides do not fit {path.name} ({error}).') from error


def _rates(content: Any) -> dict[str, tuple[float, ...]]:
    check_keys('rates', content, (), GROUPS)
    return {group: rate_list(f'rates.{group}', rates) for group, rates in content.items()}


def _methods(entries: Any, cfg: Config) -> dict[str, SweepMethod]:
    net = plain_backbone(cfg)
    methods = [parse_method(entry, net) for entry in several('methods', entries)]
    names = several('methods', [method.name for method in methods])
    return dict(zip(names, methods, strict=True))


def _check_consistency(sweep: Sweep) -> None:
    if sweep.tuning_seed in sweep.seeds:
        raise ValueError(
            f'tuning_seed={sweep.tuning_seed} is one of seeds: rates would be chosen by a score '
            'that is reported; use another.'
        )
    for method in sweep.methods.values():
        if not (method.group is None or method.rates or method.group in sweep.rates):
            raise ValueError(f'rates.{method.group} is missing; {method.name} needs it.')
