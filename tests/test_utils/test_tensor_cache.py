"""What is kept is renewed whenever the tensor behind it is another."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy

import torch
from torch import Tensor

from mmqadapter.utils.tensor_cache import TensorCache


class Doubled:
    """Twice a tensor, and how often that was computed."""

    def __init__(self, source: Tensor) -> None:
        self.source, self.calls = source, 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return 2 * self.source


def test_computed_once() -> None:
    twice, kept = Doubled(torch.randn(3)), TensorCache()
    assert kept.get(twice, twice.source) is kept.get(twice, twice.source)
    assert twice.calls == 1


def test_renewed_after_a_change() -> None:
    twice, kept = Doubled(torch.nn.Parameter(torch.randn(3))), TensorCache()
    assert not kept.get(twice, twice.source).requires_grad
    with torch.no_grad():
        twice.source.add_(1)
    assert torch.equal(kept.get(twice, twice.source), 2 * twice.source)
    for dtype in (torch.float16, torch.float32):  # rounded, at the same place in the module
        twice.source.data = twice.source.data.to(dtype)
        assert torch.equal(kept.get(twice, twice.source), 2 * twice.source)
    assert twice.calls == 4


def test_of_a_tensor_of_inference_mode() -> None:
    with torch.inference_mode():
        twice = Doubled(torch.randn(3))
        value = TensorCache().get(twice, twice.source)
    assert torch.equal(value, 2 * twice.source)


def test_copy_starts_anew() -> None:
    twice, kept = Doubled(torch.randn(3)), TensorCache()
    kept.get(twice, twice.source)
    for other in (deepcopy(kept), copy(kept), pickle.loads(pickle.dumps(kept))):
        other.get(twice, twice.source)
    assert twice.calls == 4
