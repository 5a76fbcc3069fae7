"""Rules of a GPU for tensors that say they are on a CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fake_device import cuda_autocast, fake_device
from old_torch import needs_torch
from torch import Tensor

from mmqadapter.studies.foretell.gpu_rules import gpu_autocast

pytestmark = needs_torch(2, 4, 'autocast for a device by name')
OPERATIONS = {
    'linear': lambda x: F.linear(x, x[0]),
    'einsum': lambda x: torch.einsum('bij,bkj->bik', x, x),
    'layer_norm': lambda x: F.layer_norm(x.half(), (8,)),
    'group_norm': lambda x: F.group_norm(x.half(), 4),
    'softmax': lambda x: x.half().softmax(-1),
    'log_softmax': lambda x: F.log_softmax(x.half(), -1),
    'sum': lambda x: x.half().sum(-1),
    'pow': lambda x: x.half() ** 2,
    'exp': lambda x: x.half().exp(),
    'interpolate': lambda x: F.interpolate(x.half()[None], scale_factor=2),
    'bilinear': lambda x: F.interpolate(x.half()[None], scale_factor=2, mode='bilinear'),
    'gelu': lambda x: F.gelu(x.half()),
    'add': lambda x: x.half() + x,
    'cat': lambda x: torch.cat([x.half(), x]),
    'conv2d': lambda x: F.conv2d(x[None], x[:, :3, :3][None].expand(4, -1, -1, -1)),
    'cross_entropy': lambda x: F.cross_entropy(x[0].half(), torch.zeros(8, dtype=torch.long)),
    'l1_loss': lambda x: F.l1_loss(x.half(), x.half()),
    'cosine': lambda x: F.cosine_similarity(x.half(), x.half()),
}


@pytest.mark.parametrize('name', OPERATIONS)
def test_dtypes_are_those_of_a_gpu(name: str) -> None:
    operation = OPERATIONS[name]
    with fake_device(), cuda_autocast(torch.float16), torch.device('cuda'):
        expected = operation(torch.empty(4, 8, 8))
    with fake_device(), gpu_autocast(), torch.autocast('cpu', torch.float16):
        got: Tensor = operation(torch.empty(4, 8, 8))
    assert got.dtype == expected.dtype


def test_the_rules_end() -> None:
    with gpu_autocast():
        pass
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.zeros(2, 2, dtype=torch.bfloat16).softmax(-1).dtype == torch.bfloat16
