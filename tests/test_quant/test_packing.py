"""Packing: byte order, any count and width, and the layout of published files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmqadapter.quant import BITS, Encoded, GaussianQuantizer, pack, packed_bytes, unpack

WIDTH, BLOCKS = 768, 12
MATRICES = {'adaptformer': 2, 'lora': 4}


@st.composite
def codes_of_a_width(draw: st.DrawFn) -> tuple[int, list[int]]:
    bits = draw(st.sampled_from(BITS))
    return bits, draw(st.lists(st.integers(0, 2**bits - 1), max_size=70))


@given(codes_of_a_width())
def test_unpack_inverts_pack(case: tuple[int, list[int]]) -> None:
    bits, codes = case
    packed = pack(torch.tensor(codes, dtype=torch.uint8), bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_bytes(len(codes), bits) == -(-len(codes) * bits // 8)
    back = unpack(packed, bits, len(codes))
    assert (back.dtype, back.tolist()) == (torch.uint8, codes)


@given(codes_of_a_width())
def test_bytes_are_one_little_endian_number(case: tuple[int, list[int]]) -> None:
    bits, codes = case
    number = sum(code << (bits * place) for place, code in enumerate(codes))
    packed = bytes(pack(torch.tensor(codes, dtype=torch.uint8), bits).tolist())
    assert int.from_bytes(packed, 'little') == number


@pytest.mark.parametrize(
    ('bits', 'codes', 'expected'),
    [
        (1, [1, 0, 0, 0, 0, 0, 0, 0, 1, 1], [0b00000001, 0b00000011]),
        (2, [1, 2, 3, 0, 3], [0b00111001, 0b00000011]),
        (4, [1, 15, 8], [0xF1, 0x08]),
        (8, [200, 7], [200, 7]),
    ],
)
def test_first_code_lies_in_the_least_significant_bits(
    bits: int, codes: list[int], expected: list[int]
) -> None:
    assert pack(torch.tensor(codes), bits).tolist() == expected


def test_a_matrix_is_packed_row_by_row() -> None:
    matrix = torch.randint(4, (5, 7), dtype=torch.uint8)
    assert torch.equal(pack(matrix, 2), pack(matrix.flatten(), 2))
    assert torch.equal(pack(matrix.T, 2), pack(matrix.T.contiguous(), 2))


def test_no_codes_take_no_bytes() -> None:
    empty = pack(torch.empty(0, dtype=torch.uint8), 4)
    assert (empty.numel(), unpack(empty, 4, 0).numel()) == (0, 0)


@pytest.mark.parametrize(('bits', 'code'), [(1, 2), (2, 4), (4, 16), (8, 256), (2, -1)])
def test_codes_that_do_not_fit_are_refused(bits: int, code: int) -> None:
    with pytest.raises(
        ValueError,
        match=f'codes from .*{code}.* are invalid: expected 0 to {2**bits - 1}, .*{bits} b',
    ):
        pack(torch.tensor([0, code]), bits)


@pytest.mark.parametrize('count', [0, 12, 17, 1000])
def test_a_wrong_number_of_bytes_is_refused(count: int) -> None:
    packed = pack(torch.zeros(16, dtype=torch.uint8), 2)
    with pytest.raises(ValueError, match=f'of 4 bytes are invalid: .* for {count} codes of 2 bits'):
        unpack(packed, 2, count)


@pytest.mark.parametrize('bits', [0, 3, 5, 16])
def test_unknown_bits_are_refused(bits: int) -> None:
    codes = torch.zeros(8, dtype=torch.uint8)
    for call in (
        lambda: pack(codes, bits),
        lambda: unpack(codes, bits, 1),
        lambda: packed_bytes(1, bits),
    ):
        with pytest.raises(ValueError, match=f'bits={bits} is invalid: expected'):
            call()


RELEASED = [
    'adaptformer/cifar-bit1-dim32',
    'adaptformer/dtd-bit1-dim1',
    'adaptformer-bihead/cifar-bit1-dim32',
    'adaptformer-bihead/svhn-bit1-dim1',
    'lora/caltech101-bit1-dim32',
    'lora-bihead/dtd-bit1-dim1',
]


@pytest.mark.parametrize('name', RELEASED)
def test_published_files_decode_as_plain_numpy_decodes_them(real_data: Path, name: str) -> None:
    file = real_data / 'petl_vit' / f'{name}.bin'
    settings, content = yaml.safe_load(file.with_suffix('.yaml').read_text()), file.read_bytes()
    count = WIDTH * settings['dim']
    matrices = BLOCKS * MATRICES[settings['method'].split('-')[0]]
    quantizer, position = GaussianQuantizer(bits=settings['bit']), 0
    for _ in range(matrices):
        codes = np.frombuffer(content, np.uint8, count // 8, position)
        mean, std = np.frombuffer(content, '<f4', 2, position + count // 8)
        signs = 2.0 * np.unpackbits(codes, bitorder='little') - 1
        # Phi^-1(3/4), the median of half a normal, to the digits that float32 holds.
        expected = np.float32(0.67448975) * signs * std + mean
        encoded = Encoded(
            unpack(torch.tensor(codes), 1, count), torch.tensor(mean), torch.tensor(std)
        )
        np.testing.assert_allclose(quantizer.decode(encoded), expected, rtol=1e-6, atol=1e-7 * std)
        assert torch.equal(pack(encoded.codes, 1), torch.tensor(codes))
        assert 0 < std < 1 and abs(mean) < std and 0.4 < encoded.codes.float().mean() < 0.6
        position += count // 8 + 8
    # What is left is the head: 1 bit without bias, or float32 with one.
    classes = settings['num_class']
    head = WIDTH * classes // 8 + 8 if 'bihead' in name else (WIDTH + 1) * classes * 4
    assert len(content) - position == head
