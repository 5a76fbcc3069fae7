"""Mixed precision: the wrapper that fits the machine, and what is refused."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmqadapter.engine.precision import check_precision, set_mixed_precision
from mmqadapter.engine.runner import training_runner


def on(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr('mmqadapter.engine.precision.get_device', lambda: device)


def config(kind: str = 'OptimWrapper', **options) -> Config:
    return Config(dict(optim_wrapper=dict(type=kind), **options))


def test_steps_on_a_cpu_compute_in_bfloat16_and_train_float32() -> None:
    layer = nn.Linear(8, 4)
    wrapper = OPTIM_WRAPPERS.build(
        dict(
            type='mmqadapter.CpuAmpOptimWrapper',
            optimizer=torch.optim.SGD(layer.parameters(), lr=1.0),
            accumulative_counts=2,
        )
    )
    before, images = layer.weight.detach().clone(), torch.randn(3, 8)
    for step in range(2):
        with wrapper.optim_context(layer):
            output = layer(images)
        assert output.dtype == torch.bfloat16
        wrapper.update_params(output.sum())
        assert torch.equal(layer.weight, before) == (step == 0)  # the second one updates
    assert layer.weight.dtype == torch.float32
    assert torch.allclose(before - layer.weight, images.sum(0).expand(4, 8), atol=0.05)
    assert layer(images).dtype == torch.float32


@pytest.mark.parametrize(
    ('device', 'kind', 'loss_scale'),
    [('cpu', 'mmqadapter.CpuAmpOptimWrapper', None), ('cuda', 'AmpOptimWrapper', 'dynamic')],
)
def test_amp_takes_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, device: str, kind: str, loss_scale: str | None
) -> None:
    on(monkeypatch, device)
    cfg = config()
    set_mixed_precision(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.get('loss_scale')) == (kind, loss_scale)
    check_precision(cfg)


def test_amp_on_a_cpu_takes_back_the_options_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, 'cpu')
    cfg = Config(dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16', loss_scale=8.0)))
    set_mixed_precision(cfg)
    assert dict(cfg.optim_wrapper) == dict(type='mmqadapter.CpuAmpOptimWrapper')


@pytest.mark.parametrize(
    ('device', 'kind', 'scope', 'message'),
    [
        ('cpu', 'mmengine.AmpOptimWrapper', 'mmseg', 'AmpOptimWrapper.* needs a GPU.*leave --amp'),
        ('cuda', 'CpuAmpOptimWrapper', 'mmseg', 'without a GPU; set .AmpOptimWrapper'),
        ('cpu', 'mmqadapter.CpuAmpOptimWrapper', 'mmdet', "detector needs a GPU.*'bfloat16'"),
    ],
)
def test_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, kind: str, scope: str, message: str
) -> None:
    on(monkeypatch, device)
    with pytest.raises(ValueError, match=message):
        check_precision(config(kind, default_scope=scope))


def test_a_training_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, 'cpu')
    cfg = config(default_scope='mmdet', work_dir='none')
    with pytest.raises(ValueError, match='mixed precision of a detector'):
        training_runner(cfg, amp=True)
