"""Distributed runs without a GPU: the process group, the wrapper, and refused settings."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
import torch
from mmengine.config import Config

from mmqadapter.engine import distributed
from mmqadapter.engine.distributed import prepare_cpu


@pytest.fixture
def group(monkeypatch) -> mock.Mock:
    """Stand-in for ``init_process_group``, in a process that torchrun started, without a GPU."""
    init = mock.Mock()
    monkeypatch.setattr(torch.distributed, 'init_process_group', init)
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cpu')
    monkeypatch.setenv('RANK', '0')
    return init


def config(norm: object = 'GN', launcher: str = 'pytorch', **options: object) -> Config:
    heads = [dict(type='Head'), dict(type='Head', norm_cfg=dict(type=norm))]
    return Config(dict(launcher=launcher, model=dict(type='Net', heads=heads), **options))


def test_gloo_and_no_device_ids(group):
    cfg = config(find_unused_parameters=True, env_cfg=dict(dist_cfg=dict(timeout=60)))
    prepare_cpu(cfg)
    group.assert_called_once_with('gloo', timeout=timedelta(seconds=60))
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )


def test_a_wrapper_in_the_config_stays(group):
    cfg = config(model_wrapper_cfg=dict(static_graph=True))
    prepare_cpu(cfg)
    assert cfg.model_wrapper_cfg == dict(static_graph=True, device_ids=None)


@pytest.mark.parametrize('launcher, device', [('none', 'cpu'), ('pytorch', 'cuda')])
def test_one_process_or_a_gpu_is_left_to_mmengine(group, monkeypatch, launcher, device):
    monkeypatch.setattr(distributed, 'get_device', lambda: device)
    cfg = config('SyncBN', launcher)
    prepare_cpu(cfg)
    group.assert_not_called()
    assert 'model_wrapper_cfg' not in cfg


@pytest.mark.parametrize('norm', ['SyncBN', 'MMSyncBN', torch.nn.SyncBatchNorm])
def test_sync_bn_is_refused_by_its_path(group, norm):
    with pytest.raises(ValueError, match=r"model\.heads\.1\.norm_cfg\.type: .*type='BN'"):
        prepare_cpu(config(norm))
    group.assert_not_called()


def test_conversion_to_sync_bn_is_refused(group):
    with pytest.raises(ValueError, match='sync_bn: synchronized'):
        prepare_cpu(config(sync_bn='torch'))


def test_another_launcher_is_refused(group):
    with pytest.raises(ValueError, match=r"launcher='slurm' without a GPU .*torchrun --nproc"):
        prepare_cpu(config(launcher='slurm'))


def test_without_torchrun_the_remedy_is_named(group, monkeypatch):
    monkeypatch.delenv('RANK')
    with pytest.raises(ValueError, match='needs processes that torchrun started'):
        prepare_cpu(config())
