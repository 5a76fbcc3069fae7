"""Skips of what older packages, or an environment without extras, lack.

The errors are PyTorch's own, or ours that name the missing package. On the PyTorch of `make test`
nothing is skipped: there the same error fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.util import find_spec

import pytest
import torch

from mmqadapter.compat.torch_names import TORCH

MIXED = 'autocast of attention on the CPU needs a newer PyTorch'
# Part of an error's text, and what the test needs.
OLD_TORCH = {
    "not implemented for 'Half'": 'float16 on the CPU needs PyTorch 2.4',
    'AutocastCPU only support Bfloat16': 'float16 autocast on the CPU needs PyTorch 2.4',
    "not implemented for 'BFloat16'": 'this function of bfloat16 needs PyTorch 2.4',
    'Expected attn_mask dtype': MIXED,
    'Expected query, key, and value to have the same dtype': MIXED,
    'Found no NVIDIA driver': 'tensors on a GPU that is not there need a newer PyTorch',
    'Stream() takes no arguments': 'FSDP on the CPU needs PyTorch 2.4',
}
OLD_MMSEG = {'index 255 is out of bounds': 'class weights beside ignored pixels need mmseg 1.3'}
NO_TORCHAO = {'expected torchao to be installed': 'needs torchao'}
_INSTALLED = {distribution.name for distribution in distributions()}
MISSING = {
    **(OLD_TORCH if TORCH < (2, 4) else {}),
    **(OLD_MMSEG if 'mmsegmentation' in _INSTALLED else {}),  # newer ones are named onedl-...
    **(NO_TORCHAO if find_spec('torchao') is None else {}),
}


def needs_torch(major: int, minor: int, what: str) -> pytest.MarkDecorator:
    """Mark of tests of something that an older PyTorch does not do, without an error to tell."""
    reason = f'{what} needs PyTorch {major}.{minor}'
    return pytest.mark.skipif(TORCH < (major, minor), reason=reason)


def skip_without_optimizer_hooks() -> None:
    """Skip in a process of PyTorch 2.1 that has used ``torch.compile``.

    It removes the hooks of all optimizer classes then (TorchPatcher in torch/_dynamo).
    """
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    calls: list[object] = []
    optimizer.register_step_post_hook(lambda *args: calls.append(args))
    optimizer.step()
    if not calls and TORCH < (2, 4):
        pytest.skip('hooks of optimizers after torch.compile need a newer PyTorch')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Skip a test that fails for one of the reasons above."""
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        for part, reason in MISSING.items():
            if part in str(error):
                pytest.skip(reason)
        raise
