"""A UperNet whose head trains at few bits, on two gloo processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmqadapter import inspect_task

pytest.importorskip('mmseg')
pytestmark = pytest.mark.slow

FEW = """
_base_ = {base!r}
custom_hooks = [
    *_base_.custom_hooks, dict(type='mmqadapter.QuantizeTaskHook', bits={{'decode_head.*': 4}})]
"""


@pytest.fixture(scope='session')
def upernet_few(upernet: str) -> str:
    """The UperNet with a head of 4 bits."""
    path = Path(upernet).with_name('two_ranks_few.py')
    path.write_text(FEW.format(base=upernet))
    return str(path)


def test_equals_one_process_that_accumulates(upernet_few, launch, tmp_path):
    two, one = tmp_path / 'two', tmp_path / 'one'
    launch('dist_train.sh', upernet_few, '2', '--work-dir', str(two))
    twice = ['optim_wrapper.accumulative_counts=2', 'train_cfg.max_iters=8']
    launch('train.py', upernet_few, '--work-dir', str(one), '--cfg-options', *twice)
    start, first, second = (load(two, name) for name in ('start_rank0', 'end_rank0', 'end_rank1'))
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.testing.assert_close(first, load(one, 'end_rank0'), rtol=1e-4, atol=1e-5)
    moved = {name for name in first if not torch.equal(first[name], start[name])}
    assert {'decode_head.conv_seg.weight', 'decode_head.bottleneck.gn.bias'} <= moved
    tensors = inspect_task(two / 'last.task.safetensors')['tensors']
    assert tensors['decode_head.conv_seg.weight'][0] == '4 bits'


def load(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / f'{name}.pth')
