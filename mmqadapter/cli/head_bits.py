"""Parsing of head bits from the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence

from mmqadapter.taskfile.head_bits import HeadBits, check_head_bits


def parse_head_bits(words: Sequence[str]) -> HeadBits:
    """Parse the head bits of a command line, such as ``8`` or ``decode_head.*=4 neck.*=8``.

    A number without a pattern holds for all layers; later words override earlier ones.

    Raises:
        ValueError: A word has another form, or an invalid number of bits.
    """
    bits: dict[str, int] = {}
    for word in words:
        pattern, _, number = word.rpartition('=')
        if not number.isdecimal():
            raise ValueError(
                f'head_bits={word!r} is invalid: expected NUMBER or PATTERN=NUMBER, such as '
                '8 or neck.*=8.'
            )
        bits.pop(pattern or '.*', None)  # a repeated pattern moves to the end of the order
        bits[pattern or '.*'] = int(number)
    head_bits: HeadBits = bits['.*'] if [*bits] == ['.*'] else bits
    check_head_bits(head_bits)
    return head_bits
