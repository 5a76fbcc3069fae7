"""Measures of `benchmarks/frozen_limits.py`, whose figures stand in the documentation."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from tiny_runs import ROOT

sys.path.insert(0, str(ROOT / 'benchmarks'))
from frozen_limits import Counts, LinearCKA  # noqa: E402


def cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """CKA of two sets of features, added in two batches."""
    measure = LinearCKA()
    for rows in (slice(None, 17), slice(17, None)):
        measure.add(first[rows], second[rows])
    return measure.value()


def test_cka_is_that_of_gram_matrices() -> None:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with centered Gram matrices K and L."""
    first, second = torch.randn(50, 6).double() + 3, torch.randn(50, 4).double()
    center = torch.eye(50).double() - 1 / 50
    k, l = (center @ x @ x.T @ center for x in (first, second))  # noqa: E741
    assert cka(first, second) == pytest.approx(float((k * l).sum() / (k.norm() * l.norm())))


def test_cka_ignores_rotation_scale_and_shift() -> None:
    features = torch.randn(50, 6).double()
    rotation, _ = torch.linalg.qr(torch.randn(6, 6).double())
    assert cka(features, 3 * features @ rotation + 2) == pytest.approx(1)


@pytest.fixture
def counts() -> Counts:
    """Four objects of class 1 on a background of class 0; three are found, or a part of them."""
    truth, predicted = np.zeros((2, 400, 400), np.uint8)
    truth[:100, :100] = predicted[:50, :100] = 1  # large: half of it is found
    truth[200:240, :40] = predicted[200:240, :40] = 1  # medium: all of it
    truth[300:310, :10] = 1  # small: nothing
    truth[300:310, 50:60] = predicted[300:310, 50:60] = 1  # small: all of it
    truth[390:] = 255
    predicted[390:] = 1
    result = Counts(2)
    result.add(truth, predicted)
    return result


def test_iou(counts: Counts) -> None:
    right, object_pixels = 5000 + 1600 + 100, 10000 + 1600 + 200
    background = 390 * 400 - object_pixels
    expected = [100 * background / (390 * 400 - right), 100 * right / object_pixels]
    assert counts.iou() == pytest.approx(expected)


def test_found_by_size(counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('frozen_limits.STUFF', 0.5)
    assert counts.found() == {'small': 50, 'medium': 100, 'large': 50}


def test_large_classes_are_not_objects(counts: Counts) -> None:
    assert counts.found() == {'small': 0, 'medium': 0, 'large': 0}
