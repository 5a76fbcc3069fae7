"""Task files of a whole model: exact round trips, sizes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.backbones import AdaptedBackbone

Build = Callable[..., nn.Module]
Train = Callable[[nn.Module], nn.Module]
Outputs = Callable[[nn.Module], Tensor]

META = {'classes': ('road', 'tree'), 'palette': [(1, 2, 3), (4, 5, 6)]}
BITS = pytest.mark.parametrize('bits', [1, 2, 4, 8, 32])
FROZEN = dict(type='mmqadapter.FrozenBackbone')


class TestRoundTrip:
    """A loaded model predicts exactly as the trained one."""

    @pytest.mark.parametrize('bits', [1, 32])
    def test_every_backbone(
        self,
        tiny_backbone: Callable[..., dict],
        build: Build,
        train: Train,
        outputs: Outputs,
        path: Path,
        bits: int,
    ) -> None:
        trained = train(build(tiny_backbone(), bits=bits))
        save_task(trained, path)
        fresh = build(tiny_backbone(), bits=bits)
        assert not torch.equal(outputs(fresh), outputs(trained))
        load_task(fresh, path)
        assert torch.equal(outputs(fresh), outputs(trained))

    @BITS
    @pytest.mark.parametrize(
        'adapter',
        [
            dict(type='AdaptFormer', width=3, bias=True, scale='learned'),
            dict(type='SequentialAdapter', width=3),
            dict(type='LoRA', rank=2),
            dict(type='LoRA', rank=2, targets='qkv', scale='learned'),
        ],
        ids=lambda adapter: adapter['type'],
    )
    def test_every_adapter(
        self, build: Build, train: Train, outputs: Outputs, path: Path, adapter: dict, bits: int
    ) -> None:
        trained, fresh = (build(adapter=adapter, bits=bits) for _ in range(2))
        save_task(train(trained), path)
        load_task(fresh, path)
        assert torch.equal(outputs(fresh), outputs(trained))

    def test_per_channel_statistics(
        self, build: Build, train: Train, outputs: Outputs, path: Path
    ) -> None:
        trained, fresh = (build(granularity='channel') for _ in range(2))
        save_task(train(trained), path)
        load_task(fresh, path)
        assert torch.equal(outputs(fresh), outputs(trained))

    @pytest.mark.parametrize('choice', ['norm', 'bitfit', 'partial-1', ()])
    def test_trained_parts_of_the_trunk(
        self, build: Build, train: Train, outputs: Outputs, path: Path, choice: str
    ) -> None:
        trained, fresh = (build(wrapper=FROZEN | {'train': choice}) for _ in range(2))
        save_task(train(trained), path)
        load_task(fresh, path)
        assert torch.equal(outputs(fresh), outputs(trained))

    def test_loading_over_a_trained_or_a_folded_model(
        self, build: Build, train: Train, outputs: Outputs, path: Path
    ) -> None:
        first, second = train(build()), train(train(build()))
        save_task(first, path)
        save_task(second, path.with_name('b'))
        load_task(second, path)
        assert torch.equal(outputs(second), outputs(first))
        expected = outputs(second)
        load_task(second, path.with_name('b'))
        assert not torch.equal(outputs(second), expected)
        load_task(second, path)
        assert torch.equal(outputs(second), expected)

    def test_a_copy_of_a_loaded_model(
        self, build: Build, train: Train, outputs: Outputs, path: Path
    ) -> None:
        trained, fresh = train(build()), build()
        save_task(trained, path)
        load_task(fresh, path)
        assert torch.equal(outputs(copy.deepcopy(fresh)), outputs(trained))

    @pytest.mark.parametrize('head_bits', [16, 32])
    @BITS
    def test_a_loaded_model_saves_the_same_bytes(
        self, build: Build, train: Train, path: Path, bits: int, head_bits: int
    ) -> None:
        save_task(train(build(bits=bits)), path, META, head_bits)
        fresh = build(bits=bits)
        meta = load_task(fresh, path)['dataset']
        save_task(fresh, path.with_name('b'), meta, head_bits)
        assert path.with_name('b').read_bytes() == path.read_bytes()

    def test_heads_that_share_a_weight(
        self, build: Build, train: Train, outputs: Outputs, path: Path
    ) -> None:
        models = [build() for _ in range(2)]
        for model in models:
            model.head.extend([nn.Conv2d(5, 5, 1), nn.ReLU(), nn.Conv2d(5, 5, 1)])
            model.head[5].weight = model.head[3].weight
        save_task(train(models[0]), path)
        load_task(models[1], path)
        assert torch.equal(outputs(models[1]), outputs(models[0]))

    def test_16_bits_round_parameters_outside_the_adapters(
        self, build: Build, train: Train, path: Path
    ) -> None:
        trained, fresh = train(build()), build()
        save_task(trained, path, head_bits=16)
        load_task(fresh, path)
        state = fresh.head.state_dict()
        for name, tensor in trained.head.state_dict().items():
            rounded = tensor if 'running' in name or 'num' in name else tensor.half().float()
            assert torch.equal(state[name], rounded) and state[name].dtype == tensor.dtype
        sizes = [inspect_task(path)['bytes']]
        save_task(trained, path)
        sizes.append(inspect_task(path)['bytes'])
        assert sizes[0]['adapters'] == sizes[1]['adapters'] and sizes[0]['head'] < sizes[1]['head']


class TestSizes:
    """Sizes of a file and of its parts, in bytes."""

    @pytest.mark.parametrize(('width', 'content'), [(1, 2_496), (32, 73_920)])
    def test_1_bit_adapters_of_a_vit_b(self, path: Path, width: int, content: int) -> None:
        backbone = AdaptedBackbone(
            dict(type='mmqadapter.TimmBackbone', model_name='vit_base_patch16_224'),
            dict(type='AdaptFormer', width=width),
            dict(type='GaussianQuantizer', bits=1),
        )
        save_task(backbone, path)
        weights, matrices = 12 * 2 * 768 * width, 12 * 2
        assert content == weights // 8 + 8 * matrices
        sizes = inspect_task(path)['bytes']
        assert sizes == {'adapters': content, 'head': 0, 'file': path.stat().st_size}
        assert path.stat().st_size <= content + 1024

    def test_inspect_describes_the_content(self, build: Build, train: Train, path: Path) -> None:
        model = train(build())
        save_task(model, str(path), META)
        info = inspect_task(path)
        assert info['version'] == 1 and info['head_bits'] == 32
        assert info['trunk'] == model.backbone.fingerprint
        assert info['tuning']['adapter']['width'] == 4 and info['tuning']['quantizer']['bits'] == 1
        assert info['dataset'] == {'classes': ['road', 'tree'], 'palette': [[1, 2, 3], [4, 5, 6]]}
        assert info['tensors']['head.2.weight'] == ['torch.float32', [5, 8, 1, 1]]
        assert not any('trunk' in name for name in info['tensors'])
        assert info['bytes']['adapters'] == 3 * 2 * (16 * 4 // 8 + 8)
        state = model.head.state_dict().values()
        assert info['bytes']['head'] == sum(t.nbytes for t in state)

    def test_load_returns_the_metadata(self, build: Build, path: Path) -> None:
        save_task(build(), path, META)
        assert load_task(build(), path)['dataset']['classes'] == ['road', 'tree']
