"""Models in wrappers, metainfo of any dataset, and files that change after loading."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmqadapter import inspect_task, load_task, save_task

Build = Callable[..., nn.Module]
Train = Callable[[nn.Module], nn.Module]
Outputs = Callable[[nn.Module], Tensor]
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    'DataParallel': nn.DataParallel,
    'an average': ExponentialMovingAverage,
    'compiled': torch.compile,
    'two of them': lambda model: nn.DataParallel(torch.compile(model)),
}


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_a_wrapped_model_saves_the_same_bytes(
    build: Build, train: Train, outputs: Outputs, path: Path, wrapper: str
) -> None:
    trained, fresh = train(build()), build()
    save_task(trained, path)
    expected = path.read_bytes()
    save_task(WRAPPERS[wrapper](trained), path)
    assert path.read_bytes() == expected
    load_task(nn.DataParallel(fresh), path)
    assert torch.equal(outputs(fresh), outputs(trained))


def test_arrays_become_lists(build: Build, path: Path) -> None:
    meta = {'classes': np.array(['a', 'b']), 'palette': np.array([[1, 2, 3], [4, 5, 6]], np.uint8)}
    save_task(build(), path, dataset_meta={**meta, 'count': np.int64(3)})
    stored = inspect_task(path)['dataset']
    assert stored == {'classes': ['a', 'b'], 'palette': [[1, 2, 3], [4, 5, 6]], 'count': 3}


@pytest.mark.parametrize(
    ('meta', 'text'),
    [
        ({'classes': 'car'}, "dataset.classes='car' is invalid: expected a list of names"),
        ({'classes': range(3)}, 'dataset.classes=.* is invalid: expected a list of names'),
        ({'palette': 'random'}, "dataset.palette='random' is invalid: expected a list of colors"),
        ({'palette': [(0.5, 1, 2)]}, 'dataset.palette=.* is invalid: expected a list of colors'),
    ],
)
def test_metadata_that_cannot_be_loaded_are_not_written(
    build: Build, path: Path, meta: dict, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        save_task(build(), path, dataset_meta=meta)
    assert not path.exists()


def test_overwriting_a_file_in_place_changes_no_loaded_task(
    build: Build, train: Train, path: Path
) -> None:
    """``cp`` overwrites in place: a mapped file would change, or crash the process."""
    save_task(train(build()), path)
    content, model = path.read_bytes(), build()
    load_task(model, path)
    with open(path, 'r+b') as file:
        file.seek(len(content) // 2)
        file.write(bytes(len(content) - len(content) // 2))
    save_task(model, path.with_name('again.safetensors'))
    assert path.with_name('again.safetensors').read_bytes() == content
    os.truncate(path, 1)
    save_task(model, path.with_name('again.safetensors'))
    assert path.with_name('again.safetensors').read_bytes() == content
