"""Reading checkpoints and loading them: what is accepted, refused, or logged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.model import ExponentialMovingAverage
from torch import nn

from mmqadapter.backbones import AdaptedBackbone
from mmqadapter.checkpoints.content import mark_checkpoint
from mmqadapter.checkpoints.load import (
    dataset_meta,
    load_state,
    read_checkpoint,
    select_weights,
)


class RunsCode:
    """Object whose pickle creates the file ``proof`` when it is read."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


def test_what_mmengine_logs_can_be_read(tmp_path: Path) -> None:
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    scalars = {'f4': np.float32(1), 'f8': np.float64(2), 'i8': np.int64(3), 'b': np.bool_(True)}
    torch.save({'state_dict': {}, 'message_hub': {'loss': buffer, **scalars}}, tmp_path / 'x.pth')
    hub = read_checkpoint(tmp_path / 'x.pth')['message_hub']
    assert hub['loss'].mean() == 1.5 and {k: hub[k] for k in scalars} == scalars


def test_code_in_a_checkpoint_runs_only_if_trusted(tmp_path: Path) -> None:
    proof = tmp_path / 'proof'
    torch.save({'state_dict': {}, 'more': RunsCode(proof)}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='may run code.*--trust-checkpoint'):
        read_checkpoint(tmp_path / 'x.pth')
    assert not proof.exists()
    read_checkpoint(tmp_path / 'x.pth', trust=True)
    assert proof.exists()


class ReachesFurther:
    """Object whose pickle asks ``getattr`` for more than a log buffer's methods."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def test_a_checkpoint_cannot_reach_beyond_a_buffer(tmp_path: Path) -> None:
    torch.save({'state_dict': {}, 'more': ReachesFurther()}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='may run code'):
        read_checkpoint(tmp_path / 'x.pth')


@pytest.mark.parametrize('content', [b'', b'text', b'PK\x03\x04'])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(ValueError, match='x.pth.*damaged'):
        read_checkpoint(tmp_path / 'x.pth')
    torch.save([1], tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='x.pth.*list'):
        read_checkpoint(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ({3: torch.ones(1)}, 'state_dict is a dict'),
        ({3: {}, 'state_dict': {}}, 'its content is a dict'),
        ({'state_dict': None}, 'state_dict is a NoneType'),
        ({'state_dict': [1]}, 'state_dict is a list'),
        ({'state_dict': {}, 'meta': None}, 'meta is a NoneType'),
        ({'state_dict': {}, 'ema_state_dict': 3}, 'ema_state_dict is a int'),
    ],
    ids=str,
)
def test_content_other_than_a_dict_with_str_keys_is_refused(
    tmp_path: Path, content: dict, text: str
) -> None:
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=f"x.pth' is not a checkpoint: {text} .*; expected a dict"):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_checkpoint_of_other_bits_is_refused(tiny_timm_vit) -> None:
    """The same tensors would load, and predict something else."""
    one_bit, two_bits = (
        AdaptedBackbone(
            tiny_timm_vit(), dict(type='LoRA', rank=2), dict(type='GaussianQuantizer', bits=bits)
        )
        for bits in (1, 2)
    )
    two_bits.load_state_dict(one_bit.state_dict())
    checkpoint = {'state_dict': one_bit.state_dict()}
    mark_checkpoint(one_bit, checkpoint)
    load_state(one_bit, checkpoint, 'x.pth')
    with pytest.raises(ValueError, match=r"tuning config \{.*'bits': 1.*has \{.*'bits': 2"):
        load_state(two_bits, checkpoint, 'x.pth')


def test_a_state_dict_alone_counts_as_a_checkpoint(tmp_path: Path) -> None:
    torch.save({'weight': torch.ones(1)}, tmp_path / 'x.pth')
    assert set(read_checkpoint(tmp_path / 'x.pth')['state_dict']) == {'weight'}


def test_missing_weights_are_logged_or_refused(caplog) -> None:
    model = nn.Linear(2, 2)
    load_state(model, {'state_dict': {'module.weight': torch.ones(2, 2)}}, 'x.pth')
    assert bool((model.weight == 1).all())
    with pytest.raises(ValueError, match='has none of the trainable parameters .*: use the config'):
        load_state(model, {'state_dict': {'other': torch.ones(1)}}, 'x.pth')
    with pytest.raises(ValueError, match='x.pth.*does not fit.*size mismatch'):
        load_state(model, {'state_dict': {'weight': torch.ones(3)}}, 'x.pth')


def test_either_set_of_weights_can_be_selected() -> None:
    both = {'state_dict': {'a': 1}, 'ema_state_dict': {'module.a': 2, 'steps': 7}, 'meta': {}}
    assert select_weights(both, ema=True) == both
    assert select_weights(both, ema=False) == {**both, 'state_dict': {'module.a': 2}}
    assert both['state_dict'] == {'a': 1}


@pytest.mark.parametrize('ema', [True, False])
def test_one_set_of_weights_is_selected_either_way(ema: bool) -> None:
    assert select_weights({'state_dict': {'a': 1}}, ema) == {'state_dict': {'a': 1}}


def test_the_sets_are_those_of_a_real_average() -> None:
    """mmengine's hook exchanges the two when it saves; loaded, each gives its own weight."""
    model = nn.Linear(2, 2)
    average = ExponentialMovingAverage(model, momentum=0.5)
    with torch.no_grad():
        model.weight.add_(1)
    average.update_parameters(model)
    with torch.no_grad():
        model.weight.add_(1)
    average.update_parameters(model)
    runner = SimpleNamespace(model=model)
    hook = EMAHook()
    hook.ema_model, hook.src_model = average, model
    checkpoint: dict[str, Any] = {'state_dict': model.state_dict()}
    hook.before_save_checkpoint(runner, checkpoint)
    assert not torch.equal(average.module.weight, model.weight)
    for ema, source in ((True, average.module), (False, model)):
        loaded = nn.Linear(2, 2)
        load_state(loaded, select_weights(checkpoint, ema), 'x.pth')
        assert torch.equal(loaded.weight, source.weight)


def test_metainfo_becomes_plain_lists() -> None:
    meta = dict(classes=('a',), palette=[(np.int64(1), 2, 3)], label_map=None)
    assert dataset_meta(meta) == {'classes': ['a'], 'palette': [[1, 2, 3]]}
    assert dataset_meta(None) == {}
