"""What the metadata of a graph say."""

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
def test_a_single_logit_comes_with_its_threshold(outputs: tuple[int, ...], single: bool) -> None:
    facts = graph_metadata(segmentor(*outputs), {}, 'cracks')
    assert facts.get('threshold') == ('0.3' if single else None)
    assert json.loads(facts['classes']) == ['no', 'yes'] and facts['task'] == 'cracks'


def test_pixels_become_input_as_the_config_has_it() -> None:
    facts = graph_metadata(segmentor(2), dict(mean=[1.5], std=[2], bgr_to_rgb=True), 'cracks')
    assert (facts['channels'], facts['mean'], facts['std']) == ('RGB', '[1.5]', '[2]')
    facts = graph_metadata(segmentor(2), {}, 'cracks')
    assert (facts['channels'], facts['mean']) == ('BGR', '[0.0, 0.0, 0.0]')


@pytest.mark.parametrize(
    ('file', 'name'),
    [('a/street.task.safetensors', 'street'), ('iter_4.pth', 'iter_4'), ('a.b.pth', 'a.b')],
)
def test_a_task_is_named_by_its_file(file: str, name: str) -> None:
    assert task_name(file) == name
