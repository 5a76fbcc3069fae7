"""Convolutional nets: adapters on the outputs of blocks and beside convolutions, and highways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import gcd
from pathlib import Path
from typing import Any

import pytest
import torch
from highways import CONV, DUAL
from highways import trained as trained_highway
from highways import wrap as wrap_highway
from mmengine.registry import DefaultScope
from nets import (
    ADAPTERS,
    ONE_BIT,
    adapted_output,
    backward,
    bare,
    equal,
    images,
    randomize,
    trained,
    wrap,
)
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter import load_task, save_task
from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone, HighwayBackbone
from mmqadapter.backbones.families import REFUSED
from mmqadapter.highway import LowRankMerging

PARALLEL = dict(type='ParallelConvAdapter', scale='learned')
SIZE = (64, 96)


def resnet(kind: str = 'mmdet.ResNet', **changes: Any) -> dict[str, Any]:
    """Two stages of bottlenecks."""
    stages = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
    return {**dict(type=kind, depth=50, base_channels=4), **stages, **changes}


def hrnet(kind: str) -> dict[str, Any]:
    """Branches of one block and widths 4 to 32; two modules a stage."""
    first = dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,))
    extra: dict[str, Any] = dict(stage1=dict(first, num_channels=(4,)))
    for stage in (2, 3, 4):
        widths = (4, 8, 16, 32)[:stage]
        extra[f'stage{stage}'] = dict(
            num_modules=2, num_branches=stage, block='BASIC', num_blocks=(1,) * stage,
            num_channels=widths,
        )  # fmt: skip
    return dict(type=kind, extra=extra)


def timm(name: str, **arguments: Any) -> dict[str, Any]:
    return dict(type='mmqadapter.TimmBackbone', model_name=name, out_indices=(1, 2), **arguments)


NETS: dict[str, dict[str, Any]] = {
    'bottlenecks': resnet(),
    'caffe': resnet(style='caffe', out_indices=(1,)),
    'dilated': resnet('mmseg.ResNetV1c', strides=(1, 1), dilations=(1, 2)),
    'v1d': resnet('mmseg.ResNetV1d'),
    'group norm': resnet(norm_cfg=dict(type='GN', num_groups=2)),
    'resnext': resnet('mmdet.ResNeXt', groups=2, base_width=4),
    'resnest': resnet('mmdet.ResNeSt', base_channels=16),
    'res2net': resnet('mmdet.Res2Net', scales=2, base_width=4, base_channels=16),
    'regnet': dict(
        type='mmdet.RegNet',
        arch=dict(w0=8, wa=12.0, wm=2.0, group_w=4, depth=5, bot_mul=1.0),
        out_indices=(0, 1),
    ),
    'hrnet_det': hrnet('mmdet.HRNet'),
    'hrnet_seg': hrnet('mmseg.HRNet'),
    'cspdarknet': dict(type='mmdet.CSPDarknet', deepen_factor=0.34, widen_factor=1 / 16),
    'cspnext': dict(type='mmdet.CSPNeXt', deepen_factor=0.34, widen_factor=1 / 16),
    'mobilenet_det': dict(type='mmdet.MobileNetV2', widen_factor=0.25, out_indices=(1, 2)),
    'mobilenet_seg': dict(
        type='mmseg.MobileNetV2', widen_factor=0.25, out_indices=(1, 3),
        strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 2, 2),
    ),
    'timm_resnet': timm('resnet18', layers=(1, 2, 1, 1), channels=(8, 16, 16, 16)),
    'timm_resnest': timm('resnest14d', channels=(8, 16, 16, 16)),
    'timm_regnet': timm('regnetx_002'),
}  # fmt: skip
if find_spec('mmpretrain'):
    NETS['mmpretrain_resnet'] = resnet('mmpretrain.ResNet', depth=18, base_channels=8)
# Nets whose stages a highway cannot follow.
IN_PATH_ONLY: dict[str, dict[str, Any]] = {
    'efficientnet': dict(type='mmdet.EfficientNet', arch='b0', out_indices=(2, 4)),
    'mobilenet_v3': dict(type='mmseg.MobileNetV3', arch='small', out_indices=(0, 1, 12)),
}
# Nets whose blocks have a convolution that an adapter can be beside.
WITH_CONVOLUTION = (
    'bottlenecks', 'caffe', 'dilated', 'v1d', 'resnext', 'regnet', 'hrnet_seg', 'mobilenet_det',
    'timm_resnet', 'timm_regnet', 'efficientnet', 'mobilenet_v3',
)  # fmt: skip
EVERY_NET = pytest.mark.parametrize('name', NETS)
IN_PATH = pytest.mark.parametrize('name', [*NETS, *IN_PATH_ONLY])


def config(name: str) -> dict[str, Any]:
    return {**NETS, **IN_PATH_ONLY}[name]


def assert_near(found: Tensor, exact: Tensor) -> None:
    """Equal but for rounding: random weights make some of these maps large."""
    assert found.shape == exact.shape
    assert (found - exact).abs().max() <= 5e-4 * exact.abs().max()


def assert_changed(maps: Sequence[Tensor], plain: Sequence[Tensor]) -> None:
    """Some map differs by far more than rounding."""
    pairs = zip(maps, plain, strict=True)
    assert max((one - other).abs().max() / other.abs().max() for one, other in pairs) > 1e-2


def replace_forward(module: Any, change: Callable[..., Tensor]) -> None:
    """Let a module return ``change(x, y)`` of its input and stock output."""
    stock = module.forward

    def forward(x: Tensor, *args: Any) -> Tensor:
        return change(x, stock(x, *args))

    module.forward = forward


def with_adapted_blocks(net: nn.Module, wrapped: AdaptedBackbone) -> nn.Module:
    """A bare net whose blocks return y + A(y), without hooks."""
    for name in wrapped.block_names:
        adapters = wrapped.adapters[name.replace('.', '_')]
        assert list(adapters) == ['output']

        def change(x: Tensor, y: Tensor, adapters: Any = adapters) -> Tensor:
            return adapted_output(y, adapters)

        replace_forward(net.get_submodule(name), change)
    return net


@IN_PATH
@pytest.mark.parametrize('adapter', ['adaptformer', 'conv', 'mona'])
@torch.no_grad()
def test_blocks_return_their_output_with_that_of_the_adapter(name: str, adapter: str) -> None:
    net, wrapped = bare(config(name)), trained(config(name), adapter)
    plain = net(images(*SIZE))
    expected = with_adapted_blocks(net, wrapped)(images(*SIZE))
    maps = wrapped.eval()(images(*SIZE))
    for found, exact in zip(maps, expected, strict=True):
        assert_near(found, exact)
    assert_changed(maps, plain)


def convolution_of(net: nn.Module, block: str) -> Any:
    """The convolution k x k in the middle of a block."""
    found = net.get_submodule(block)
    for name in ('conv2', 'depthwise_conv.conv'):
        try:
            layer: Any = found.get_submodule(name)
        except AttributeError:
            continue
        return layer if isinstance(layer, nn.Conv2d) else layer.conv  # ConvNormAct of timm
    raise AssertionError(block)


def parallel_by_hand(adapter: Any, layer: Any, x: Tensor) -> Tensor:
    """scale * alpha * up(relu(down(x))), with the stride and dilation of the trunk's layer."""
    assert adapter.down.groups == gcd(layer.in_channels, max(layer.in_channels // 4, 1))
    options = dict(stride=layer.stride, dilation=layer.dilation, groups=adapter.down.groups)
    hidden = F.relu(F.conv2d(x, adapter.down.weight, padding=layer.dilation, **options))
    change = F.conv2d(hidden, adapter.up.weight[:, :, None, None])
    return change * adapter.alpha[:, None, None] * adapter.scale.weight


@pytest.mark.parametrize('name', WITH_CONVOLUTION)
@torch.no_grad()
def test_conv_adapter_is_beside_the_convolution(name: str) -> None:
    net, wrapped = bare(config(name)), AdaptedBackbone(config(name), PARALLEL)
    wrapped.load_state_dict(net.state_dict(), strict=False)
    assert equal(wrapped(images(*SIZE)), net(images(*SIZE)))
    randomize(wrapped.adapters)
    plain = net(images(*SIZE))
    for block in wrapped.block_names:
        layer = convolution_of(net, block)
        adapter = wrapped.adapters[block.replace('.', '_')]['conv']

        def change(x: Tensor, y: Tensor, layer: Any = layer, adapter: Any = adapter) -> Tensor:
            return y + parallel_by_hand(adapter, layer, x)

        replace_forward(layer, change)
    maps, expected = wrapped.eval()(images(*SIZE)), net(images(*SIZE))
    for found, exact in zip(maps, expected, strict=True):
        assert_near(found, exact)
    assert_changed(maps, plain)


@pytest.mark.parametrize('name', ['resnest', 'res2net', 'timm_resnest', 'cspnext'])
def test_blocks_without_such_a_convolution(name: str) -> None:
    with pytest.raises(ValueError, match='ParallelConvAdapter.* invalid for .*use .*ConvAdapter'):
        AdaptedBackbone(config(name), PARALLEL)


def test_conv_adapter_in_a_net_of_attention(tiny_timm_vit: Callable[..., dict]) -> None:
    with pytest.raises(ValueError, match="'ParallelConvAdapter' is invalid.*lack its site 'conv'"):
        AdaptedBackbone(tiny_timm_vit(), PARALLEL)


@pytest.mark.parametrize('name', ['bottlenecks', 'timm_resnet'])
def test_conv_adapter_on_a_highway_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="'ParallelConvAdapter' is invalid on a highway.*ConvAdap"):
        HighwayBackbone(config(name), PARALLEL)


# Convolutions and batch norms between stages, in order.
BETWEEN: dict[str, Callable[[Any], list[list[nn.Module]]]] = {
    'ResNet': lambda net: [list(net.layer2[0].downsample)],
    'CSPDarknet': lambda net: [
        [stage[0].conv, stage[0].bn] for stage in (net.stage2, net.stage3, net.stage4)
    ],
    'HRNet': lambda net: [
        list(net.stage4[0].fuse_layers[i + 1][i][0]) for i in range(3)
    ],
    'MobileNetV2': lambda net: [
        [layer for m in stage[0].modules() for layer in [m] if kind_of(m) in ('conv', 'norm')]
        for stage in list(map(net.get_submodule, ('layer2', 'layer3', 'layer4')))
    ],
    'timm ResNet': lambda net: [list(net.model.layer2[0].downsample)],
    'timm RegNet': lambda net: [[net.model.s2.b1.downsample.conv, net.model.s2.b1.downsample.bn]],
}  # fmt: skip
BETWEEN['CSPNeXt'] = BETWEEN['CSPDarknet']


def kind_of(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return 'conv'
    return 'norm' if isinstance(module, nn.BatchNorm2d) else ''


def between(net: Any) -> list[list[nn.Module]]:
    kinds = [cls.__name__ for cls in type(net).__mro__]
    if hasattr(net, 'model'):
        kinds = [f'timm {type(net.model).__name__}']
    return BETWEEN[next(kind for kind in kinds if kind in BETWEEN)](net)


def merged_by_hand(steps: list[nn.Module], h: Tensor) -> Tensor:
    """Convolutions without biases, poolings, and batch norms as factors."""
    for step in steps:
        if isinstance(step, nn.Conv2d):
            options = (step.stride, step.padding, step.dilation, step.groups)
            h = F.conv2d(h, step.weight, None, *options)
        elif isinstance(step, nn.BatchNorm2d):
            h = h * (step.weight / (step.running_var + step.eps).sqrt())[:, None, None]
        else:
            assert not list(step.parameters())
            h = step(h)
    return h


def highway_by_hand(net: nn.Module, wrapped: HighwayBackbone, x: Tensor) -> list[Tensor]:
    """Maps of a bare net with a published highway on the outputs of its blocks."""
    outputs: dict[str, Tensor] = {}

    def remember(name: str, module: nn.Module, args: tuple, output: Tensor) -> None:
        outputs[name] = output.clone()

    for name in wrapped.block_names:
        net.get_submodule(name).register_forward_hook(partial(remember, name))
    maps = list(net(x))
    streams: list[Any] = []
    steps, cells = between(net), [iter(stage) for stage in wrapped.highway.stages]
    stages = by_stage(list(wrapped.block_names), wrapped)
    for stage, names in enumerate(stages):
        h: Any = merged_by_hand(steps[stage - 1], streams[-1]) if stage else 0
        for name in names:
            adapter: Any = next(cells[stage]).adapter
            h = h + adapter(outputs[name].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        streams.append(h)
    return [map_ + h for map_, h in zip(maps, streams[len(streams) - len(maps) :], strict=True)]


def by_stage(names: list[str], wrapped: HighwayBackbone) -> list[list[str]]:
    """Names of blocks by the part of the name that tells their stage."""
    if wrapped.family.fused_maps:
        return [[n for n in names if f'branches.{i}.' in n] for i in range(4)]
    first = list(dict.fromkeys(stage_of(name) for name in names))
    return [[name for name in names if stage_of(name) == stage] for stage in first]


def stage_of(name: str) -> str:
    return '.'.join(name.removeprefix('model.').split('.')[:1])


# Every stage gives a map, so that the streams above belong to the last maps.
@pytest.mark.parametrize(
    'name', [n for n in NETS if 'mobilenet' not in n and n not in ('caffe', 'group norm')]
)
@torch.no_grad()
def test_highway_is_the_formula(name: str) -> None:
    cfg = {**config(name), **({'out_indices': (1, 2, 3, 4)} if 'csp' in name else {})}
    wrapped = trained_highway(cfg, DUAL, downsample='inherited').eval()
    expected = highway_by_hand(bare(cfg), wrapped, images(*SIZE))
    for found, exact in zip(wrapped(images(*SIZE)), expected, strict=True):
        assert_near(found, exact)


@EVERY_NET
@pytest.mark.parametrize('downsample', ['inherited', 'low-rank'])
def test_highway_starts_as_the_net_and_trains_all_of_its_own(name: str, downsample: str) -> None:
    cfg, options = config(name), dict(downsample=downsample, taps='stream', cell='JoinedCell')
    wrapped = wrap_highway(cfg, CONV, **options, inpath_blocks=1)
    assert equal(wrapped(images(*SIZE)), bare(cfg)(images(*SIZE)))
    randomize(wrapped.adapters)
    check_gradients(wrapped)


@IN_PATH
def test_in_path_starts_as_the_net_and_trains_all_of_its_own(name: str) -> None:
    wrapped = wrap(config(name), 'conv')
    assert equal(wrapped(images(*SIZE)), bare(config(name))(images(*SIZE)))
    randomize(wrapped.adapters)
    check_gradients(wrapped)


def check_gradients(wrapped: FrozenBackbone) -> None:
    """All parameters of adapters get a gradient, and none of the trunk."""
    state = deepcopy(wrapped.trunk.state_dict())
    gradients = backward(wrapped.train())
    assert all(g is None for name, g in gradients.items() if name.startswith('trunk.'))
    own = {name: g for name, g in gradients.items() if name.startswith('adapters.')}
    assert own and all(g is not None and g.any() for g in own.values())
    # Batch norms, too: their statistics are buffers, which no gradient protects.
    assert all(torch.equal(value, state[key]) for key, value in wrapped.trunk.state_dict().items())


def test_statistics_of_batch_norms_stay() -> None:
    """Although the net itself would train them, also after a parent's ``train()``."""
    cfg = resnet(norm_eval=False)
    for wrapped in (wrap(cfg), wrap_highway(cfg), FrozenBackbone(cfg, train=('norm',))):
        parent = nn.Sequential(wrapped).train()
        before = deepcopy(wrapped.trunk.state_dict())
        parent(images())
        after = wrapped.trunk.state_dict()
        assert [key for key in after if not torch.equal(after[key], before[key])] == []
    plain = bare(cfg)
    before = deepcopy(plain.state_dict())
    plain.train()
    plain(images())
    assert not torch.equal(plain.state_dict()['bn1.running_mean'], before['bn1.running_mean'])


@pytest.mark.parametrize('build', [wrap, wrap_highway])
def test_synchronized_batch_norm_on_a_cpu(build: Callable[..., nn.Module]) -> None:
    cfg = resnet('mmseg.ResNetV1c', norm_cfg=dict(type='SyncBN'))
    wrapped = build(cfg).train()
    assert equal(wrapped(images()), bare(cfg)(images()))


@pytest.mark.parametrize('name', ['bottlenecks', 'hrnet_seg'])
@pytest.mark.parametrize('build', ['parallel', 'highway'])
@torch.no_grad()
def test_task_file_there_and_back(name: str, build: str, tmp_path: Path) -> None:
    def make() -> FrozenBackbone:
        if build == 'highway':
            return wrap_highway(config(name), CONV, quantizer=ONE_BIT, taps='stream').eval()
        net = AdaptedBackbone(config(name), PARALLEL, ONE_BIT)
        net.load_state_dict(bare(config(name)).state_dict(), strict=False)
        return net.eval()

    first, second = make(), make()
    randomize(first.adapters)
    assert not equal(second(images(*SIZE)), first(images(*SIZE)))
    save_task(first, path := tmp_path / 'a.task.safetensors')
    load_task(second, path)
    assert equal(second(images(*SIZE)), first(images(*SIZE)))


def test_stages_of_equal_grid_merge_single_tokens() -> None:
    """Dilated nets, as segmentors take them."""
    wrapped = wrap_highway(config('dilated'), downsample='low-rank')
    (merging,) = wrapped.highway.mergings
    assert isinstance(merging, LowRankMerging)
    assert merging.down.weight.shape == (16, 16)  # not 4 x 16


@pytest.mark.parametrize('name', IN_PATH_ONLY)
def test_width_that_changes_within_a_stage(name: str) -> None:
    text = 'a highway is invalid for .* has .* channels, .* in its stage .*; use AdaptedBackbone'
    with pytest.raises(ValueError, match=text):
        HighwayBackbone(config(name), CONV)


def test_map_behind_the_last_block() -> None:
    cfg = dict(type='mmdet.MobileNetV2', widen_factor=0.25, out_indices=(2, 7))
    AdaptedBackbone(cfg, ADAPTERS['conv'])
    with pytest.raises(ValueError, match=r'out_indices=\[7\] is invalid: expected 0 to 6 for mm'):
        HighwayBackbone(cfg, CONV)


@pytest.mark.parametrize(
    ('cfg', 'match'),
    [
        (
            dict(type='mmdet.TridentResNet', depth=50, num_branch=3, test_branch_idx=1,
                 trident_dilations=(1, 2, 3), num_stages=3, strides=(1, 2, 2),
                 dilations=(1, 1, 1), out_indices=(2,)),
            'TridentResNet is not supported: its blocks run three times in training.*use ResNet',
        ),
        (
            dict(type='mmseg.UNet', base_channels=4),
            'UNet is not supported: it is trained from scratch.*train it as it is',
        ),
        (
            dict(type='mmseg.BiSeNetV1', backbone_cfg=dict(type='mmseg.ResNet', depth=18)),
            'BiSeNetV1 is not supported: .*wrap the net inside it, `backbone_cfg=',
        ),
        (
            dict(type='mmseg.ICNet', backbone_cfg=dict(type='mmseg.ResNetV1c', depth=18),
                 layer_channels=(128, 512)),
            'ICNet is not supported: .*train it as it is',
        ),
        (
            dict(type='mmdet.HourglassNet', downsample_times=1, num_stacks=1, feat_channel=8,
                 stage_channels=(8, 8), stage_blocks=(1, 1)),
            'HourglassNet is not supported: it is trained from scratch',
        ),
        (dict(type='mmseg.ERFNet'), 'ERFNet is not supported: it is trained from scratch'),
        (dict(type='mmseg.DDRNet'), 'DDRNet is not supported: it returns more maps in training'),
        (dict(type='mmseg.PIDNet'), 'PIDNet is not supported: it returns more maps in training'),
    ],
)  # fmt: skip
def test_nets_that_are_refused_for_a_reason(cfg: dict, match: str) -> None:
    scope = DefaultScope.overwrite_default_scope('mmseg')  # UNet builds its layers in no other
    with scope, pytest.raises(ValueError, match=match):
        AdaptedBackbone(cfg, ADAPTERS['conv'])


@pytest.mark.parametrize('name', REFUSED)
def test_names_of_refused_nets_are_those_of_classes(name: str) -> None:
    module, _, cls = name.rpartition('.')
    assert getattr(import_module(module), cls).__name__ == cls


def test_the_net_inside_another() -> None:
    """What the error for BiSeNetV1 advises."""
    inner = resnet(
        'mmseg.ResNet', depth=18, num_stages=4, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1),
        out_indices=(0, 1, 2, 3), base_channels=64,
    )  # fmt: skip
    cfg = dict(
        type='mmseg.BiSeNetV1',
        backbone_cfg=dict(
            type='mmqadapter.AdaptedBackbone', backbone=inner, adapter=ADAPTERS['conv']
        ),
    )
    net = bare(cfg)
    assert [tuple(m.shape[1:]) for m in net(images())] == [(256, 8, 8), (128, 8, 8), (128, 4, 4)]
