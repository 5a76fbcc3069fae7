"""What cannot be saved or does not fit is refused, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.quant import quantized_weights
from mmqadapter.taskfile.format import TaskContent, read_content, write_content

Build = Callable[..., nn.Module]
Train = Callable[[nn.Module], nn.Module]
Outputs = Callable[[nn.Module], Tensor]

FROZEN = dict(type='mmqadapter.FrozenBackbone')
LAST = dict(
    type='mmqadapter.AdaptedBackbone',
    adapter=dict(type='AdaptFormer', width=4),
    quantizer=dict(type='GaussianQuantizer', bits=1),
    blocks='last-2',
)


def all_state(model: nn.Module) -> dict[str, Any]:
    """Return a copy of all that loading could change."""
    state: dict[str, Any] = {name: t.clone() for name, t in model.state_dict().items()}
    folded = [(quantizer.folded, w.requires_grad) for _, quantizer, w in quantized_weights(model)]
    return {**state, 'folded': folded}


def same_state(first: dict[str, Any], second: dict[str, Any]) -> bool:
    folded = first['folded'] == second['folded']
    tensors = (n for n, t in first.items() if isinstance(t, Tensor))
    return folded and all(torch.equal(first[name], second[name]) for name in tensors)


class TestRefusals:
    """The error names what does not fit, with the remedy; the model stays as it was."""

    @pytest.fixture
    def task(self, build: Build, train: Train, path: Path) -> Path:
        save_task(train(build()), path)
        return path

    @pytest.fixture
    def model(self, build: Build) -> nn.Module:
        return build()

    def refused(self, model: nn.Module, task: Path, text: str) -> None:
        before = all_state(model)
        with pytest.raises(ValueError, match=text):
            load_task(model, task)
        assert same_state(all_state(model), before)

    def test_another_trunk(self, build: Build, task: Path) -> None:
        model = build(seed=1)
        trained, present = inspect_task(task)['trunk'][:16], model.backbone.fingerprint[:16]
        text = rf'belongs to the trunk {trained}\.\.\., the model has {present}\.\.\.'
        self.refused(model, task, text + r' \(its weights are random: none were loaded\); load')
        model.backbone.pretrained = True
        self.refused(model, task, text + '; load the weights that the task was')

    @pytest.mark.parametrize(
        'other',
        [
            dict(adapter=dict(type='AdaptFormer', width=8)),
            dict(adapter=dict(type='AdaptFormer', width=4, scale=2.0)),
            dict(adapter=dict(type='SequentialAdapter', width=4)),
            dict(bits=2),
            dict(bits=32),
            dict(granularity='channel'),
            dict(wrapper=FROZEN),
            dict(wrapper=LAST),
        ],
        ids=str,
    )
    def test_another_tuning_config(self, build: Build, task: Path, other: dict) -> None:
        text = "trained with the tuning config .*'width': 4.*, the model has .*; build the model"
        self.refused(build(**other), task, text)

    def test_another_number_of_classes(self, build: Build, task: Path) -> None:
        text = r'head\.2\.bias has shape \(5,\) in .* and \(7,\) in the model; is the number of'
        self.refused(build(classes=7), task, text)

    def test_another_head(self, build: Build, task: Path) -> None:
        larger, smaller = build(), build()
        larger.neck = nn.Conv2d(3, 3, 1)
        self.refused(
            larger, task, "only the model has 'neck.bias'; build the model with the config"
        )
        del smaller.head[2]
        self.refused(smaller, task, "only the file has 'head.2.bias'")

    def test_adapters_alone_for_a_model_with_a_head(self, build: Build, path: Path) -> None:
        save_task(build().backbone, path)
        self.refused(build(), path, "only the model has 'head")

    def test_truncated(self, build: Build, task: Path) -> None:
        data = task.read_bytes()
        for length in (0, 1, 8, 100, len(data) // 2, len(data) - 1):
            task.write_bytes(data[:length])
            self.refused(build(), task, 'truncated or damaged .* copy or download it again')

    def test_a_newer_format(self, build: Build, task: Path) -> None:
        content = read_content(task)
        write_content(task, TaskContent({**content.metadata, 'version': 4}, content.tensors))
        self.refused(build(), task, 'format version 4, this package reads up to 3; install a newer')
        with pytest.raises(ValueError, match='format version 4'):
            inspect_task(task)

    def test_adapter_tensors_of_another_size(self, build: Build, task: Path) -> None:
        content = read_content(task)
        content.tensors['adapters:codes'] = content.tensors['adapters:codes'][:-1].clone()
        write_content(task, content)
        self.refused(build(), task, "adapter tensor 'codes' has")

    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_flipped_bits(self, model: nn.Module, task: Path, share: float, bit: int) -> None:
        data, before = task.read_bytes(), all_state(model)
        broken = bytearray(data)
        broken[int(share * len(data))] ^= 1 << bit
        task.write_bytes(broken)
        with pytest.raises(ValueError):
            load_task(model, task)
        task.write_bytes(data)
        assert same_state(all_state(model), before)

    def test_a_path_that_does_not_exist(self, build: Build, path: Path) -> None:
        for call in (lambda: load_task(build(), path), lambda: inspect_task(path)):
            with pytest.raises(FileNotFoundError, match="no task file '.*a.task.safetensors'"):
                call()

    @pytest.mark.parametrize('suffix', ['.pth', '.pt', '.ckpt'])
    def test_the_suffix_of_a_checkpoint(self, model: nn.Module, path: Path, suffix: str) -> None:
        with pytest.raises(ValueError, match=r'would not be recognized .* end in \.task\.safe'):
            save_task(model, path.with_suffix(suffix))
        assert not path.with_suffix(suffix).exists()

    def test_a_model_without_a_wrapped_backbone(self, path: Path, task: Path) -> None:
        model = nn.Sequential(nn.Conv2d(3, 3, 1))
        for call in (lambda: save_task(model, path), lambda: load_task(model, task)):
            with pytest.raises(ValueError, match='Sequential has no wrapped backbone, .* wrap'):
                call()


class TestSaving:
    """A failed save leaves the old file as it was."""

    @pytest.mark.parametrize('value', [float('nan'), float('inf')])
    def test_nan_and_inf(self, build: Build, path: Path, value: float) -> None:
        model = build()
        save_task(model, path)
        before = path.read_bytes()
        model.head[2].bias.data[0] = value
        with pytest.raises(ValueError, match=r'head\.2\.bias holds NaN or inf: .* save it with'):
            save_task(model, path, head_bits=16)
        assert path.read_bytes() == before

    def test_a_value_that_16_bits_cannot_hold_keeps_its_tensor_at_32(
        self, build: Build, path: Path, logged: list[str]
    ) -> None:
        model, fresh = build(), build()
        model.head[2].bias.data[0] = 1e6
        save_task(model, path, head_bits=16)
        load_task(fresh, path)
        assert torch.equal(fresh.head[2].bias, model.head[2].bias)
        tensors = inspect_task(path)['tensors']
        assert tensors['head.2.bias'][0] == 'torch.float32'
        assert tensors['head.2.weight'][0] == 'torch.float16'
        assert logged == ['head.2.bias keeps 32 bits: float16 cannot hold 1e+06.']

    @pytest.mark.parametrize('head_bits', [7, 0, '16'])
    def test_invalid_head_bits(self, build: Build, path: Path, head_bits: Any) -> None:
        with pytest.raises(
            ValueError, match=f'head_bits={head_bits!r} is invalid: expected 32 or 16'
        ):
            save_task(build(), path, head_bits=head_bits)
        assert not path.exists()

    @pytest.mark.parametrize('value', [float('nan'), 0.0])
    def test_constant_and_nan_adapters(self, build: Build, path: Path, value: float) -> None:
        model = build()
        save_task(model, path)
        before = path.read_bytes()
        next(quantized_weights(model))[2].data.fill_(value)
        with pytest.raises(ValueError, match='constant, NaN or inf'):
            save_task(model, path)
        assert path.read_bytes() == before

    def test_saving_changes_nothing_in_the_model(
        self, build: Build, train: Train, path: Path
    ) -> None:
        model = train(build())
        before = all_state(model)
        save_task(model, path)
        assert same_state(all_state(model), before)
