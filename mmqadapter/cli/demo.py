"""Pretrain on one generated domain, adapt to another with 1-bit adapters, compare, draw."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmqadapter.cli.common import user_errors


@user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run a demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', choices=['seg', 'det'], default='seg')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'))
    parser.add_argument('--iterations', type=int, help='training steps of each run')
    args = parser.parse_args(argv)
    from mmqadapter.studies.demo import (
        run_demo,  # after the parser: --help need not load the detectors
    )

    configs = Path(__file__).resolve().parents[2] / 'configs'
    run_demo(args.task, args.out, configs, args.iterations)
