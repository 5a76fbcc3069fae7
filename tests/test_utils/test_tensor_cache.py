"""The cached tensor is computed again whenever its source has changed."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy

import torch
from torch import Tensor

from mmqadapter.utils.tensor_cache import TensorCache, clear_caches


class Doubled:
    """Function that doubles a tensor and counts its calls."""

    def __init__(self, source: Tensor) -> None:
        self.source, self.calls = source, 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return 2 * self.source


def test_computed_once() -> None:
    twice, cache = Doubled(torch.randn(3)), TensorCache()
    assert cache.get(twice, twice.source) is cache.get(twice, twice.source)
    assert twice.calls == 1


def test_computed_again_after_a_change() -> None:
    twice, cache = Doubled(torch.nn.Parameter(torch.randn(3))), TensorCache()
    assert not cache.get(twice, twice.source).requires_grad
    with torch.no_grad():
        twice.source.add_(1)
    assert torch.equal(cache.get(twice, twice.source), 2 * twice.source)
    for dtype in (torch.float16, torch.float32):  # rounded, but the same Parameter
        twice.source.data = twice.source.data.to(dtype)
        assert torch.equal(cache.get(twice, twice.source), 2 * twice.source)
    assert twice.calls == 4


def test_a_tensor_made_in_inference_mode() -> None:
    with torch.inference_mode():
        twice = Doubled(torch.randn(3))
        value = TensorCache().get(twice, twice.source)
    assert torch.equal(value, 2 * twice.source)


def test_a_copy_starts_empty() -> None:
    twice, cache = Doubled(torch.randn(3)), TensorCache()
    cache.get(twice, twice.source)
    for empty in (deepcopy(cache), copy(cache), pickle.loads(pickle.dumps(cache))):
        empty.get(twice, twice.source)
    assert twice.calls == 4


def test_clear_caches_empties_those_of_all_modules() -> None:
    twice, net = Doubled(torch.randn(3)), torch.nn.Sequential(torch.nn.ReLU())
    caches = net._cache, net[0]._any_name = TensorCache(), TensorCache()
    for cache in caches:
        cache.get(twice, twice.source)
    clear_caches(net)
    for cache in caches:
        cache.get(twice, twice.source)
    assert twice.calls == 4
