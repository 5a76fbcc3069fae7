"""Bytes, groups and versions of files with a quantized neck and head."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from quantized_models import BITS_OF, PATTERNS, Net, out, train

from mmqadapter import inspect_task, load_task, save_task
from mmqadapter.quant import gaussian_codebook
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
    assert 'head' not in info  # the tree of names; `tensors` has its content
    assert info['bytes']['head'] == head
    assert info['bytes']['file'] < head + info['bytes']['adapters'] + 2048
    assert info['version'] == 2 and info['head_bits'] == 16


def test_groups_have_bytes_and_entropy(build_net: Build, path: Path) -> None:
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


def test_a_float_head_has_the_format_of_version_1(build_net: Build, path: Path) -> None:
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
    adapters = {n: t for n, t in content.tensors.items() if n.startswith('adapters:')}
    metadata = {k: content.metadata[k] for k in ('tuning', 'trunk', 'dataset')}
    metadata |= {'version': 1, 'head_bits': 32}
    write_content(path, TaskContent(metadata, {**old, **adapters}))
    load_task(fresh, path)
    assert torch.equal(out(fresh), out(model))


def leaves(tree: dict, prefix: str = '') -> Iterator[tuple[str, list]]:
    for name, value in sorted(tree.items()):
        if isinstance(value, dict):
            yield from leaves(value, f'{prefix}{name}.')
        else:
            yield prefix + name, value


def decoded(data: bytes, codes: int, statistics: int, leaf: list) -> np.ndarray:
    """Decode the weight of a leaf at these byte offsets, without the code under test."""
    bits, dim, *shape = leaf
    count, broadcast = int(np.prod(shape)), [1] * len(shape)
    broadcast[dim] = channels = shape[dim]
    packed = np.frombuffer(data, 'u1', -(-count * bits // 8), codes)
    digits = np.unpackbits(packed, bitorder='little').reshape(-1, bits)[:count]
    index = (digits * 2 ** np.arange(bits)).sum(1).reshape(shape)
    pairs = np.frombuffer(data, '<f2', 2 * channels, statistics).astype('<f4')
    mean, std = pairs[:channels].reshape(broadcast), pairs[channels:].reshape(broadcast)
    return gaussian_codebook(bits)[0].float().numpy()[index] * std + mean


def test_the_layout_is_as_documented(build_net: Build, path: Path) -> None:
    model = build_net(PATTERNS)
    save_task(model, path)
    data = path.read_bytes()
    (length,) = struct.unpack('<Q', data[:8])
    header = json.loads(data[8 : 8 + length])
    tree = json.loads(header.pop('__metadata__')['mmqadapter'])['head']
    begin = {name: 8 + length + entry['data_offsets'][0] for name, entry in header.items()}
    codes, statistics = begin['head:codes'], begin['head:statistics']
    quantized = [(name, leaf) for name, leaf in leaves(tree) if leaf[0] in (1, 2, 4, 8)]
    assert {name for name, _ in quantized} == {f'{name}.weight' for name in BITS_OF}
    for name, leaf in quantized:
        weight = decoded(data, codes, statistics, leaf)
        codes, statistics = codes + weight.size * leaf[0] // 8, statistics + 4 * leaf[2 + leaf[1]]
        trained = model.get_submodule(name.removesuffix('.weight')).weight
        np.testing.assert_array_equal(weight, trained.detach().numpy())
