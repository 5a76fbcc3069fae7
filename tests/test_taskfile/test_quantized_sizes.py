"""Bytes, groups and versions of files with a quantised neck and head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from quantized_models import PATTERNS, Net, out, train

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.taskfile.format import TaskContent, read_content, write_content

Build = Callable[..., Net]


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_codes_statistics_and_the_rest(build_net: Build, path: Path, bits: int) -> None:
    save_task(train(build_net(bits)), path)
    weights = 16 * 8 * 4 + 8 * 8 * 9 + 8 * 8 + 8 * 5
    channels = 8 + 8 + 8 + 5
    biases, norm, level = 8 + 8 + 5, 2 * 8, 8
    buffers = 2 * 8 * 4 + 8
    head = weights * bits // 8 + 4 * channels + 2 * (biases + norm + level) + buffers
    info = inspect_task(path)
    assert info['bytes']['head'] == head
    assert info['bytes']['file'] < head + info['bytes']['adapters'] + 2048
    assert info['version'] == 2 and info['head_bits'] == 16


def test_groups_tell_bytes_and_entropy(build_net: Build, path: Path) -> None:
    model = build_net(PATTERNS)
    save_task(model, path)
    info = inspect_task(path)
    groups = {(g['part'], g['stored']): g for g in info['groups']}
    assert sum(g['bytes'] for g in info['groups']) == sum(
        info['bytes'][part] for part in ('adapters', 'head')
    )
    codes = groups['head', '4-bit codes']
    assert (codes['numbers'], codes['bytes']) == (8 * 8 * 9 + 8 * 8, (8 * 8 * 9 + 8 * 8) // 2)
    assert 3 < codes['entropy'] < 4 and 0 <= codes['lossless'] < 0.25
    assert groups['adapters', '1-bit codes']['entropy'] == pytest.approx(1, abs=0.05)
    assert groups['head', 'float16']['entropy'] is None
    assert groups['head', 'int64']['bytes'] == 8


def test_a_float_head_has_the_format_that_older_readers_know(build_net: Build, path: Path) -> None:
    for head_bits, version in ((32, 1), (16, 1), (8, 2), ({'neck.*': 8}, 2)):
        save_task(build_net(), path, head_bits=head_bits)
        content = read_content(path)
        assert content.metadata['version'] == version
        assert ('head' in content.metadata) == (version == 2)


def test_a_file_of_version_1_loads(build_net: Build, path: Path) -> None:
    model, fresh = train(build_net()), build_net()
    save_task(model, path)
    content = read_content(path)
    old = {n: t for n, t in model.state_dict().items() if not n.startswith('backbone')}
    blobs = {n: t for n, t in content.tensors.items() if n.startswith('adapters:')}
    metadata = {k: content.metadata[k] for k in ('tuning', 'trunk', 'dataset')}
    metadata |= {'version': 1, 'head_bits': 32}
    write_content(path, TaskContent(metadata, {**old, **blobs}))
    load_task(fresh, path)
    assert torch.equal(out(fresh), out(model))
