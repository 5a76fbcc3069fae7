"""A model is found inside wrappers that only forward calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from mmengine.model import ExponentialMovingAverage, MMDistributedDataParallel
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim.swa_utils import AveragedModel

from mmqadapter.utils.model_wrapping import unwrap_model


class Net(nn.Module):
    """A model with one child, of another name than those of wrappers."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 2)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        'gloo', rank=0, world_size=1, init_method=f'file://{tmp_path}/rendezvous'
    )
    yield
    torch.distributed.destroy_process_group()


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    'nothing': lambda net: net,
    'DDP': MMDistributedDataParallel,
    'FSDP': lambda net: FullyShardedDataParallel(net, device_id=torch.device('cpu')),
    'compile': lambda net: torch.compile(net),
    'compile over DDP': lambda net: torch.compile(MMDistributedDataParallel(net)),
}


@pytest.mark.parametrize('name', WRAPPERS)
def test_the_model_is_found(process_group: None, name: str) -> None:
    net = Net()
    assert unwrap_model(WRAPPERS[name](net)) is net


@pytest.mark.parametrize('wrapper', [AveragedModel, ExponentialMovingAverage])
def test_the_model_of_an_average_is_its_copy(wrapper: type) -> None:
    averaged = wrapper(Net())
    assert unwrap_model(averaged) is averaged.module


def test_a_container_is_no_wrapper() -> None:
    containers = [nn.Sequential(Net()), nn.ModuleDict({'module': Net(), 'other': Net()})]
    for container in containers:
        assert unwrap_model(container) is container
