from __future__ import annotations

import logging

import pytest
from mmengine.config import Config

from mmqadapter.engine.config_keys import check_overrides, read_settings

CFG = Config(dict(model=dict(), max_iters=2000, classes=('a',), train_cfg=dict(max_iters=2000)))


@pytest.mark.parametrize(
    ('name', 'near'),
    [
        ('train_dataloder.batch_size', "'train_dataloader'"),
        ('optim_wraper.optimizer.lr', "'optim_wrapper'"),
        ('clases', "'classes'"),
        ('xyzzy', 'see the config'),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(name: str, near: str) -> None:
    key = name.split('.')[0]
    with pytest.raises(ValueError, match=f'--cfg-options {key}=... is invalid: .*{near}'):
        check_overrides(CFG, [name])


@pytest.mark.parametrize(
    ('name', 'remedy'), [('max_iters', 'use --max-iters'), ('classes', 'override the settings')]
)
def test_a_variable_of_the_file_changes_nothing_and_a_warning_says_so(
    name: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = []
    monkeypatch.setattr(
        'mmqadapter.engine.config_keys.print_log',
        lambda message, logger, level: messages.append((message, level)),
    )
    check_overrides(CFG, [name, 'train_cfg.max_iters'])
    ((message, level),) = messages
    assert message.startswith(f'--cfg-options {name}=... changes nothing') and remedy in message
    assert level == logging.WARNING


@pytest.mark.parametrize(
    'name',
    ['load_from', 'randomness.seed', 'auto_scale_lr.enable', 'resume', 'sync_bn', 'strategy.type',
     'work_dir', 'custom_imports', 'tta_model.type', 'find_unused_parameters', 'launcher'],
)  # fmt: skip
def test_settings_that_a_run_reads_may_be_new(name: str) -> None:
    check_overrides(Config({}), [name])
    assert name.split('.')[0] in read_settings()
