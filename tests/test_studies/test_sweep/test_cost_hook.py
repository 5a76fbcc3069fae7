"""Configs and results of version 0.1.0, whose cost hook and figures had other names."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmqadapter.studies.sweep.config_equivalence import equivalent_measurement
from mmqadapter.studies.sweep.cost_hook import COST_HOOK, FORMER_NAME, with_one_cost_hook
from mmqadapter.studies.sweep.length import Length
from mmqadapter.studies.sweep.outcome import collect, read_result
from mmqadapter.studies.sweep.resources import ResourceSlot
from mmqadapter.studies.sweep.trainer import Trainer
from mmqadapter.studies.sweep.training import SEED, TIME, Training, training_config

TIMED = Training(TIME, 'full', 0, Length(4), 0.1, 0.01)
OLD = {
    'trainable_parameters': 30,
    'trainable_backbone.trunk': 0,
    'trainable_backbone.adapters': 10,
    'trainable_decode_head': 20,
    'task_bytes_adapters': 5,
    'task_bytes_file': 99,
    'step_seconds': 0.5,
}
NEW = {
    'trainable_params': 30,
    'trainable_backbone_params': 10,
    'trainable_params_by_part': {'backbone.trunk': 0, 'backbone.adapters': 10, 'decode_head': 20},
    'adapter_bytes': 5,
    'task_bytes': 99,
    'step_seconds': 0.5,
}
OTHER: dict[str, Any] = {'type': 'mmqadapter.FiniteLossHook'}
FORMER: dict[str, Any] = {'type': FORMER_NAME}
PRESENT: dict[str, Any] = {'type': COST_HOOK, 'interval': 5}


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ([], []),
        ([OTHER], [OTHER]),
        ([FORMER, OTHER], [{'type': COST_HOOK}, OTHER]),
        ([PRESENT, OTHER], [PRESENT, OTHER]),
        ([OTHER, FORMER, PRESENT], [OTHER, PRESENT]),
        ([PRESENT, FORMER, OTHER], [PRESENT, OTHER]),
    ],
)
def test_one_hook_is_left_under_its_present_name(before: list, after: list) -> None:
    assert with_one_cost_hook(before) == after


@pytest.mark.parametrize('hooks', [[FORMER], [FORMER, PRESENT]])
def test_a_training_has_one_cost_hook(make_sweep, hooks: list) -> None:
    cfg = training_config(make_sweep(overrides={'custom_hooks': hooks}), TIMED)
    kinds = [hook.type for hook in cfg.custom_hooks]
    assert kinds.count(COST_HOOK) == 1 and FORMER_NAME not in kinds


def test_a_timed_training_measures_the_same_under_both_names(make_sweep) -> None:
    present = training_config(make_sweep(), TIMED)
    former = copy.deepcopy(present)
    (hook,) = (hook for hook in former.custom_hooks if hook.type == COST_HOOK)
    hook.type = FORMER_NAME
    slower = copy.deepcopy(present)
    slower.log_level = 'DEBUG'
    texts = [cfg.pretty_text for cfg in (present, former, slower)]
    assert equivalent_measurement(texts[0], texts[1]) and texts[0] != texts[1]
    assert not equivalent_measurement(texts[0], texts[2])
    assert not equivalent_measurement('a = f()', 'a = g()')


@pytest.mark.parametrize('stored', [OLD, NEW])
def test_a_result_is_read_whichever_version_wrote_it(tmp_path: Path, stored: dict) -> None:
    path = tmp_path / 'result.json'
    path.write_text(json.dumps({**stored, 'score': 40.0}))
    assert read_result(path) == {**NEW, 'score': 40.0}


@pytest.mark.parametrize('stored', [OLD, NEW])
@pytest.mark.parametrize('known', [False, True])
def test_a_summary_is_read_whichever_version_wrote_it(
    tmp_path: Path, stored: dict, known: bool
) -> None:
    """A whole model had no size in the summary of version 0.1.0, and a sharded one has none now."""
    size_key = 'task_bytes' if stored is NEW else 'task_bytes_file'
    figures = stored if known else {**stored, size_key: None}
    (tmp_path / 'summary.json').write_text(json.dumps(figures))
    torch.save({'state_dict': {'weight': torch.ones(3)}}, tmp_path / 'iter_4.pth')
    (tmp_path / '1/vis_data').mkdir(parents=True)
    line = json.dumps({'step': 4, 'mIoU': 40.0})
    (tmp_path / '1/vis_data/scalars.json').write_text(line)
    result = collect(tmp_path, 'mIoU', Training(SEED, 'full', 0, Length(4), 0.1, 0.01))
    assert result.items() >= {**NEW, 'task_bytes': 99 if known else 12, 'score': 40}.items()


def test_a_finished_training_of_version_0_1_0_is_not_repeated(make_sweep, tmp_path: Path) -> None:
    """Its config lists both names, its result has the old keys, and its script may not run."""
    folder = tmp_path / 'runs' / TIMED.name
    folder.mkdir(parents=True)
    cfg = training_config(make_sweep(), TIMED)
    cfg.custom_hooks.insert(1, dict(type=FORMER_NAME))
    (folder / 'config.py').write_text(Config(cfg.to_dict()).pretty_text)
    (folder / 'result.json').write_text(json.dumps({**OLD, 'score': None}))
    trainer = Trainer(make_sweep(), tmp_path / 'runs', ['no/such/script.py'])
    outcome = trainer(TIMED, ResourceSlot(1))
    assert outcome.failure is None and outcome.result == {**NEW, 'score': None}
