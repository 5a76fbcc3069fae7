"""mutmut, which also changes functions under torch.no_grad(): python tools/dev/mutation_check.py.

mutmut passes over functions with decorators, and here those compute most of the numbers. Takes
mutmut's own arguments; CONTRIBUTING.md says how to use it.
"""

from __future__ import annotations

import sys
from typing import Any

import libcst
from mutmut.__main__ import cli
from mutmut.mutation.file_mutation import MutationVisitor

# Decorators that can be applied to each mutant as well; not those of generators.
REPEATABLE = ('torch.no_grad()',)


def mutate_under(decorators: tuple[str, ...]) -> None:
    """Let mutmut change functions that have one of these decorators and no other."""
    passes_over = MutationVisitor._skip_node_and_children

    def skip(self: Any, node: Any) -> bool:
        return not _repeatable(node, decorators) and passes_over(self, node)

    MutationVisitor._skip_node_and_children = skip


def _repeatable(node: Any, decorators: tuple[str, ...]) -> bool:
    if not isinstance(node, libcst.FunctionDef) or len(node.decorators) != 1:
        return False
    return libcst.Module([]).code_for_node(node.decorators[0].decorator) in decorators


if __name__ == '__main__':
    mutate_under(REPEATABLE)
    sys.exit(cli())
