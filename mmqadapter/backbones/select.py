"""Select blocks and parameters of a built trunk by the names in its family's row."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from mmqadapter.backbones.family import BlockFamily


def output_numbers(trunk: nn.Module, family: BlockFamily) -> list[int]:
    """Return the numbers of a trunk's outputs, as group 1 of ``blocks`` counts, ascending."""
    indices: Any = getattr(trunk, 'out_indices', None)
    if indices is not None:
        return sorted(int(index) - family.first_output for index in indices)
    matches = (re.fullmatch(family.blocks, name) for name, _ in trunk.named_modules())
    return sorted({int(match[1]) for match in matches if match})


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
        ValueError: The blocks are of another class than the row names.
    """
    last = output_numbers(trunk, family)[-1]
    matches = ((re.fullmatch(family.blocks, n), n, m) for n, m in trunk.named_modules())
    blocks = {name: module for match, name, module in matches if match and int(match[1]) <= last}
    for name, block in blocks.items():
        # An accelerated block is a subclass of its stock class.
        if not any(re.fullmatch(family.block, c.__name__) for c in type(block).__mro__):
            raise ValueError(
                f'{name} is a {type(block).__name__}: expected a {family.block}, the only block '
                f'of {family.name} that is supported. Use another model_name, or see the '
                'docs page "Adding a backbone".'
            )
    return blocks


def unused_parameters(trunk: nn.Module, family: BlockFamily) -> set[str]:
    """Return the names of parameters that no output depends on; DDP refuses to train them."""
    last = output_numbers(trunk, family)[-1]
    names = [name for name, _ in trunk.named_parameters()]
    blocks = ((re.match(family.blocks + r'\.', name), name) for name in names)
    unused = {name for match, name in blocks if match and int(match[1]) > last}
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
