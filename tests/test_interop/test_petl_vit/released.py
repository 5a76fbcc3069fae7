"""Generated files of released tasks, and a reader of them that shares no code with ours."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import norm

from mmqadapter.interop.petl_vit.settings import Net

TINY = Net(
    channels=16,
    blocks=3,
    config=dict(model_name='vit_tiny_patch16_224', img_size=64, embed_dim=16, depth=3, num_heads=2),
)
MATRICES = {'adaptformer': ('down', 'up'), 'lora': ('q down', 'q up', 'v down', 'v up')}


@cache
def levels(bits: int) -> np.ndarray:
    """Compute the release's levels: 500 times medians of cells, and midpoints between medians."""
    values = np.zeros(2**bits)
    for _ in range(500):
        edges = np.concatenate([[0], norm.cdf((values[1:] + values[:-1]) / 2), [1]])
        values = norm.ppf((edges[1:] + edges[:-1]) / 2)
    return values.astype(np.float32)


def settings_of(**changes: Any) -> dict[str, Any]:
    """Return the content of a .yaml file for the tiny net."""
    base = dict(backbone='tiny', bit=1, dataset='toy', dim=4, method='adaptformer')
    return {**base, 'num_class': 5, 'scale': 10.0, **changes}


def make_bytes(settings: dict[str, Any], net: Net = TINY, seed: int = 0) -> bytes:
    """Return a .bin file of random codes, from the description of the layout alone."""
    random = np.random.default_rng(seed)
    kind, _, binary = settings['method'].partition('-')
    weights = net.channels * settings['dim']
    counts = [weights * settings['bit'] // 8] * net.blocks * len(MATRICES[kind])
    if binary:
        counts.append(net.channels * settings['num_class'] // 8)
    data = b''
    for count in counts:
        data += random.bytes(count) + struct.pack('<2f', random.normal(), random.uniform(0.1, 1))
    if not binary:
        head = settings['num_class'] * (net.channels + 1)
        data += random.normal(size=head).astype('<f4').tobytes()
    return data


def decode(
    data: bytes, settings: dict[str, Any], net: Net = TINY
) -> tuple[list[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Decode the weights of each block and of the head, without our unpack and codebook."""
    kind, _, binary = settings['method'].partition('-')
    offset = 0

    def matrix(rows: int, columns: int, bits: int) -> np.ndarray:
        nonlocal offset
        size = rows * columns * bits // 8
        stream = np.unpackbits(np.frombuffer(data, np.uint8, size, offset), bitorder='little')
        codes = (stream.reshape(-1, bits) << np.arange(bits)).sum(1)
        mean, std = (np.float32(x) for x in struct.unpack_from('<2f', data, offset + size))
        offset += size + 8
        return levels(bits)[codes].reshape(rows, columns) * std + mean

    blocks = [
        {
            name: matrix(*shape, settings['bit'])
            for name in MATRICES[kind]
            for shape in [
                (settings['dim'], net.channels)
                if name.endswith('down')
                else (net.channels, settings['dim'])
            ]
        }
        for _ in range(net.blocks)
    ]
    if binary:
        return blocks, {'weight': matrix(settings['num_class'], net.channels, 1)}
    numbers = np.frombuffer(data, '<f4', offset=offset)
    weight, bias = np.split(numbers, [settings['num_class'] * net.channels])
    return blocks, {'weight': weight.reshape(settings['num_class'], -1), 'bias': bias}
