"""The sweeps of CIFAR-10 compare equal widths, equal bytes, and methods that build."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

from mmqadapter.studies.sweep.plan import Sweep, read_sweep
from mmqadapter.taskfile.adapter_codec import encode_adapters
from mmqadapter.utils.tuned_backbone import TunedBackbone

pytest.importorskip('mmpretrain', reason='the extra cls is not installed')
SWEEPS = Path(__file__).resolve().parents[2] / 'configs/sweeps'
EQUAL_BYTES = ['32@1', '16@2', '8@4', '4@8', '1']


@pytest.fixture(scope='module')
def sweep() -> Sweep:
    init_default_scope('mmpretrain')
    return read_sweep(SWEEPS / 'cifar1k.yaml')


def adapter_bytes(sweep: Sweep, method: str, **changes: object) -> int:
    """Bytes of the adapters of a method in a task file; the trunk has random weights."""
    config = dict(sweep.methods[method].backbone)
    config['backbone'] = {**config['backbone'], 'checkpoint': None, **changes}
    backbone = MODELS.build(ConfigDict(config))
    assert isinstance(backbone, TunedBackbone)
    return sum(tensor.nbytes for tensor in encode_adapters(backbone.adapters).values())


def test_bits_times_width_is_32(sweep: Sweep) -> None:
    sizes = [adapter_bytes(sweep, f'adaptformer-{name}') for name in EQUAL_BYTES]
    assert sizes == [18_624, 18_624, 18_624, 18_624, 18_432]  # float has no statistics


def test_lora_has_as_many_weights_as_the_adaptformer(sweep: Sweep) -> None:
    assert adapter_bytes(sweep, 'lora-16') == adapter_bytes(sweep, 'adaptformer-32') == 589_824


@pytest.mark.parametrize('name', ['cifar1k', 'cifar1k_methods', 'cifar1k_highway'])
def test_every_method_builds_and_fewer_bits_are_fewer_bytes(name: str) -> None:
    init_default_scope('mmpretrain')
    sweep = read_sweep(SWEEPS / f'{name}.yaml')
    small = dict(depth=2, out_indices=(1,))
    wrapped = [name for name, method in sweep.methods.items() if 'backbone' in method.backbone]
    sizes = {name: adapter_bytes(sweep, name, **small) for name in wrapped}
    for name in wrapped:
        base, at, bits = name.partition('@')
        if at and base in sizes:
            assert sizes[name] < sizes[base] * (int(bits.partition('-')[0]) + 9) / 32
    assert all(size for name, size in sizes.items() if name not in ('frozen', 'bitfit'))
