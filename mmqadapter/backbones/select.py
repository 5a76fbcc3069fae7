"""Select blocks and parameters of a built trunk by the names in its family's row."""

from __future__ import annotations

import re
from bisect import bisect_left
from operator import attrgetter
from typing import Any

from torch import nn

from mmqadapter.backbones.family import PAGE, BlockFamily, is_block


def output_of(trunk: nn.Module, family: BlockFamily, match: re.Match[str]) -> int:
    """Return the number, as ``out_indices`` counts, of the output that a block belongs to.

    Args:
        trunk: The net.
        family: Its row.
        match: Of the block's name with ``blocks``.
    """
    number = int(match[1])
    if family.stage_ends:
        return bisect_left(attrgetter(family.stage_ends)(trunk), number)
    return number + family.first_output


def blocks_by_output(trunk: nn.Module, family: BlockFamily) -> dict[str, int]:
    """Return the number of the output that each block belongs to, by full name of the block."""
    matches = ((name, re.fullmatch(family.blocks, name)) for name, _ in trunk.named_modules())
    return {name: output_of(trunk, family, match) for name, match in matches if match}


def output_numbers(trunk: nn.Module, family: BlockFamily) -> list[int]:
    """Return the numbers of a trunk's outputs, ascending.

    Raises:
        ValueError: There are none, or a number occurs twice.
    """
    indices: Any = getattr(trunk, 'out_indices', None)
    if indices is None:
        indices = set(blocks_by_output(trunk, family).values())
    numbers = sorted(int(index) for index in indices)
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f'out_indices={tuple(indices)} is invalid: expected one number or more, each once.'
        )
    return numbers


def find_child(block: nn.Module, names: str) -> nn.Module | None:
    """Return the first child that a block has, of names that ``|`` separates; None for none."""
    for name in names.split('|') if names else ():
        try:
            return block.get_submodule(name)
        except AttributeError:
            continue
    return None


def find_blocks(trunk: nn.Module, family: BlockFamily) -> dict[str, nn.Module]:
    """Return the blocks that reach an output, by full name, in execution order.

    Blocks behind the last of ``out_indices`` are left out: adapters there would get no gradient,
    which DDP refuses.

    Raises:
        ValueError: No block reaches an output, the blocks are of another class than the row names,
            or the row matches no block.
    """
    numbers, last = _numbered_blocks(trunk, family), output_numbers(trunk, family)[-1]
    blocks = {name: trunk.get_submodule(name) for name, n in numbers.items() if n <= last}
    if not blocks:
        raise ValueError(_no_block(type(trunk).__name__, last))
    for name, block in blocks.items():
        if not is_block(family, block):
            raise ValueError(
                f'{name} is a {type(block).__name__}: expected a {family.block}, the only block '
                f'of {family.name} that is supported. Use another model_name, or {PAGE}.'
            )
    return blocks


def _numbered_blocks(trunk: nn.Module, family: BlockFamily) -> dict[str, int]:
    """Return ``blocks_by_output``; raise a ValueError for a row that does not fit the net."""
    net, of_row = type(trunk).__name__, f'in the row {family.name!r} of the block table is invalid'
    try:
        numbers = blocks_by_output(trunk, family)
    except AttributeError as error:
        raise ValueError(
            f'stage_ends={family.stage_ends!r} {of_row}: {net} has no such attribute; expected '
            f'that which lists the last block of each stage; {PAGE}.'
        ) from error
    if not numbers:
        names = [name for name, _ in trunk.named_modules() if name and name.count('.') < 2]
        last = max(getattr(trunk, 'out_indices', None) or (0,))
        raise ValueError(
            f'{_no_block(net, last)} If its row is new: blocks={family.blocks!r} {of_row}, since '
            f'it matches the full name of no module; expected names such as {names[:8]}; {PAGE}.'
        )
    return numbers


def _no_block(net: str, last: int) -> str:
    return (
        f'out_indices up to {last} is invalid: no block of {net} that takes adapters reaches such '
        'an output; use later outputs, or another model_name.'
    )


def unused_parameters(trunk: nn.Module, family: BlockFamily) -> set[str]:
    """Return the names of parameters that no output depends on; DDP refuses to train them."""
    last = output_numbers(trunk, family)[-1]
    names = [name for name, _ in trunk.named_parameters()]
    blocks = ((re.match(family.blocks + r'\.', name), name) for name in names)
    unused = {name for match, name in blocks if match and output_of(trunk, family, match) > last}
    stages = ((re.match(family.stages, name), name) for name in names)
    unused |= {name for match, name in stages if match and int(match[1]) > last}
    behind = [(match, name) for name in names if (match := re.match(family.behind, name))]
    return unused | {n for m, n in behind if (int(m[1]) >= last if m.lastindex else unused)}


def select_blocks(blocks: dict[str, nn.Module], choice: str | None) -> dict[str, nn.Module]:
    """Return some of ``blocks``.

    Args:
        blocks: All blocks, by name, in execution order.
        choice: None for all, ``'last-k'`` for the last k, or a regex that names must contain.

    Raises:
        ValueError: ``choice`` selects nothing, more blocks than there are, or is not a regex.
    """
    if choice is None:
        return blocks
    if not isinstance(choice, str):
        raise ValueError(f"blocks={choice!r} is invalid: expected None, 'last-k', or a regex.")
    tail = re.fullmatch(r'last-(\d+)', choice)
    names = list(blocks)
    if tail and not 1 <= int(tail[1]) <= len(names):
        raise ValueError(
            f'blocks={choice!r} is invalid: expected 1 to {len(names)}, the number of blocks.'
        )
    selected = names[-int(tail[1]) :] if tail else _matching(names, choice)
    if not selected:
        raise ValueError(
            f'blocks={choice!r} matches no block: names run from {names[0]!r} to {names[-1]!r}.'
        )
    return {name: blocks[name] for name in selected}


def compile_regex(pattern: str, argument: str) -> re.Pattern[str]:
    """Compile a regex that a user gave as ``argument``.

    Raises:
        ValueError: It is not a regex.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f'{argument}={pattern!r} is invalid: expected a regex, but {error}.'
        ) from error


def _matching(names: list[str], choice: str) -> list[str]:
    pattern = compile_regex(choice, 'blocks')
    return [name for name in names if pattern.search(name)]
