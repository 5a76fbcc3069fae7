"""Metadata of a graph."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from mmqadapter.interop.onnx.metadata import graph_metadata, task_name


def segmentor(*outputs: int) -> Any:
    heads = []
    for number in outputs:
        head = nn.Identity()
        head.out_channels, head.threshold = number, 0.3
        heads.append(head)
    meta = dict(classes=('no', 'yes'), palette=[(0, 0, 0), (9, 9, 9)])
    head = heads[0] if len(heads) == 1 else nn.ModuleList(heads)
    return SimpleNamespace(decode_head=head, dataset_meta=meta)


@pytest.mark.parametrize(('outputs', 'single'), [((2,), False), ((1,), True), ((2, 1), True)])
def test_single_logit_has_its_threshold(outputs: tuple[int, ...], single: bool) -> None:
    metadata = graph_metadata(segmentor(*outputs), {}, 'cracks')
    assert metadata.get('threshold') == ('0.3' if single else None)
    assert json.loads(metadata['classes']) == ['no', 'yes'] and metadata['task'] == 'cracks'


def test_normalization_is_that_of_the_config() -> None:
    metadata = graph_metadata(segmentor(2), dict(mean=[1.5], std=[2], bgr_to_rgb=True), 'cracks')
    assert (metadata['channels'], metadata['mean'], metadata['std']) == ('RGB', '[1.5]', '[2]')
    metadata = graph_metadata(segmentor(2), {}, 'cracks')
    assert (metadata['channels'], metadata['mean']) == ('BGR', '[0.0, 0.0, 0.0]')


@pytest.mark.parametrize(
    ('file', 'name'),
    [('a/street.task.safetensors', 'street'), ('iter_4.pth', 'iter_4'), ('a.b.pth', 'a.b')],
)
def test_task_is_named_after_its_file(file: str, name: str) -> None:
    assert task_name(file) == name
