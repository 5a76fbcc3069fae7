"""Training steps on a GPU: values as on the CPU, and no operation that waits for the device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from test_no_waits import WRAPPERS, build
from torch import nn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]


@contextmanager
def refusing_waits() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def step(model: nn.Module, images: torch.Tensor) -> None:
    torch.stack([m.square().mean() for m in model(images)]).sum().backward()


@pytest.mark.parametrize('bits', [1, 32])
@pytest.mark.parametrize('wrapper', WRAPPERS)
@pytest.mark.parametrize('net', ['mmdet_swin', 'timm_vit'])
def test_a_step_waits_for_nothing(net: str, wrapper: str, bits: int) -> None:
    model = build(net, wrapper, bits).cuda()
    images = torch.randn(2, 3, 64, 64, device='cuda')
    step(model, images)  # constants go to the device once
    with refusing_waits():
        step(model, images)


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_gradients_are_those_of_the_cpu(wrapper: str) -> None:
    model = build('mmdet_swin', wrapper, 32).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.double)
    on_gpu = copy.deepcopy(model).cuda()
    step(model, images)
    step(on_gpu, images.cuda())
    for expected, parameter in zip(model.parameters(), on_gpu.parameters(), strict=True):
        if expected.grad is not None:
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad.cpu(), expected.grad, rtol=1e-6, atol=1e-9)
