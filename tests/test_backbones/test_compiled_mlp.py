"""compiled_mlp: the stock MLP within rounding, with hooks outside, and a way back that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from nets import backward, bare, equal, images, trained
from torch import nn

from mmqadapter.backbones import FrozenBackbone
from mmqadapter.backbones.acceleration import CompiledForward, compile_modules, compiled

Factory = Callable[..., dict]
COMPILES = pytest.mark.slow  # each shape takes seconds of C++


def compiled_net(cfg: dict, **kwargs: Any) -> FrozenBackbone:
    """``bare(cfg)`` with compiled MLPs, in eval mode."""
    net = FrozenBackbone(cfg, compiled_mlp=True, **kwargs)
    net.load_state_dict(bare(cfg).state_dict())
    return net.eval()


@COMPILES
@torch.no_grad()
def test_equals_the_stock_net(tiny_backbone: Factory) -> None:
    net, stock = compiled_net(tiny_backbone()), bare(tiny_backbone())
    for size in ((64, 64), (48, 80)):
        for one, other in zip(net(images(*size)), stock(images(*size)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@COMPILES
@pytest.mark.parametrize('adapter', ['adaptformer', 'sequential'])
def test_gradients_in_path(tiny_mmdet_swin: Factory, adapter: str) -> None:
    found = backward(trained(tiny_mmdet_swin(), adapter, compiled_mlp=True))
    expected = backward(trained(tiny_mmdet_swin(), adapter))
    moved = {name for name, gradient in expected.items() if gradient is not None}
    assert moved == {name for name, gradient in found.items() if gradient is not None}
    for name in moved:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_every_mlp_is_compiled(tiny_backbone: Factory) -> None:
    net = FrozenBackbone(tiny_backbone(), compiled_mlp=True)
    ways = [name for name, m in net.named_modules() if isinstance(m, CompiledForward)]
    assert len(ways) == len([n for n, m in net.named_modules() if n.endswith(('ffn', 'mlp'))])
    assert net.state_dict().keys() == FrozenBackbone(tiny_backbone()).state_dict().keys()


class Broken:
    """A compiler that is not there."""

    calls = 0

    def __call__(self, *args: Any) -> None:
        self.calls += 1
        raise RuntimeError('no compiler\nand much more')


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broken]:
    """All forward passes compiled from now on by a compiler that fails."""
    compiler = Broken()
    compiled._attempt.cache_clear()
    monkeypatch.setattr(torch, 'compile', lambda stock: compiler)
    yield compiler
    compiled._attempt.cache_clear()


def test_without_a_compiler_it_runs_as_it_is(
    tiny_backbone: Factory, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compiled, 'print_log', lambda text, **kwargs: told.append(text))
    net = compiled_net(tiny_backbone())
    assert equal(net(images()), bare(tiny_backbone())(images()))
    assert broken.calls == 1
    assert len(told) == 1
    assert 'no compiler); it runs as it is' in told[0]


def test_an_error_of_the_module_is_its_own(broken: Broken) -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    compile_modules([net])
    with pytest.raises(RuntimeError, match='shapes'):
        net(torch.zeros(1, 3))


def test_hooks_and_copies(broken: Broken) -> None:
    net, seen = nn.Sequential(nn.Linear(4, 4)), []
    compile_modules([net])
    net.register_forward_hook(lambda module, args, output: seen.append(module))
    copy = deepcopy(net)
    with torch.no_grad():
        copy[0].weight.zero_()
        copy[0].bias.zero_()
    assert not copy(torch.ones(1, 4)).any()
    assert net(torch.ones(1, 4)).any()
    assert seen == [copy, net]
