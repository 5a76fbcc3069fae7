"""Study trained adapters: python tools/analyze.py STUDY CONFIG TASK_FILE --out DIR."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from mmqadapter.cli.common import add_config_options, add_trust, user_errors
from mmqadapter.engine.runner import load_config
from mmqadapter.studies.analysis.adapter_weights import DECODED, WEIGHTS
from mmqadapter.studies.analysis.batches import SPLITS
from mmqadapter.studies.analysis.distribution_study import study_distribution
from mmqadapter.studies.analysis.error import settings
from mmqadapter.studies.analysis.error_study import study_error, study_scores
from mmqadapter.studies.analysis.landscape import Scan
from mmqadapter.studies.analysis.landscape_study import study_landscape
from mmqadapter.studies.analysis.noise_study import study_noise
from mmqadapter.studies.analysis.report import Study, write_study
from mmqadapter.studies.analysis.sources import Source, adapted_source, full_source

T = TypeVar('T')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description='Study the adapters of a trained model.')
    studies = parser.add_subparsers(dest='study', required=True)
    _add_landscape(studies)
    _add_noise(studies)
    _add_study(studies, 'distribution', 'weights against a Gaussian: moments, histogram, Q-Q plot')
    _add_error(studies)
    return parser.parse_args(argv)


def _add_study(studies: Any, name: str, told: str) -> argparse.ArgumentParser:
    parser = studies.add_parser(name, help=told, description=told)
    parser.add_argument('config', help='the config of the training')
    parser.add_argument('task', help='a *.task.safetensors, or a training checkpoint (*.pth)')
    parser.add_argument('--out', type=Path, required=True, help='folder for table and plots')
    add_config_options(parser)
    add_trust(parser)
    return parser


def _add_landscape(studies: Any) -> None:
    parser = _add_study(studies, 'landscape', 'loss along filter-normalised random directions')
    _add_moved(parser)
    parser.add_argument('--split', choices=SPLITS, default='train', help='whose images')
    parser.add_argument('--batches', type=int, default=4, help='how many (default: 4)')
    parser.add_argument('--batch-size', type=int, default=0, help="images (default: the config's)")
    parser.add_argument(
        '--radius', type=float, default=1.0, help='1: each filter moves by its norm (default: 1)'
    )
    parser.add_argument('--points', type=int, default=21, help='places on a line (default: 21)')
    parser.add_argument(
        '--plane-points', type=int, default=11,
        help='places along a side of the plane; 0: no plane (default: 11)',
    )  # fmt: skip
    parser.add_argument('--directions', type=int, default=3, help='random lines (default: 3)')
    parser.add_argument('--device', help='cpu or cuda:0 (default: a GPU if there is one)')


def _add_noise(studies: Any) -> None:
    parser = _add_study(studies, 'noise', 'metric against the size of Gaussian noise on weights')
    _add_moved(parser)
    parser.add_argument(
        '--sigmas', default='0,0.1,0.2,0.5,1', metavar='LIST',
        help='sizes in standard deviations of each matrix (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--repeats', type=int, default=3, help='draws of each size (default: 3)')
    _add_score(parser)


def _add_error(studies: Any) -> None:
    parser = _add_study(studies, 'error', 'error of weights that are quantised after training')
    for name, values in (
        ('bits', '1,2,4,8'), ('criteria', 'l1,l2'), ('granularities', 'tensor,channel')
    ):  # fmt: skip
        parser.add_argument(f'--{name}', default=values, metavar='LIST', help=f'default: {values}')
    parser.add_argument(
        '--metric', action='store_true', help='evaluate the model with each of them, too'
    )
    parser.add_argument(
        '--trained', nargs='+', default=[], metavar='TASK_FILE',
        help='task files of quantised training, for the same table; with --metric',
    )  # fmt: skip
    _add_score(parser)


def _add_moved(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--full', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='full fine-tuning to compare with'
    )
    parser.add_argument('--seed', type=int, default=0, help='of all that is drawn')
    parser.add_argument(
        '--weights', choices=WEIGHTS, default=DECODED,
        help='of quantised adapters: what the network multiplies by, or the float weights behind '
        'the quantiser, which a training checkpoint has (default: %(default)s)',
    )  # fmt: skip


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--score', metavar='NAME', help="one of the evaluator's metrics")


@user_errors
def main(argv: Sequence[str] | None = None) -> None:
    """Run one study, write its files and say where they are."""
    args = parse_args(argv)
    studies: dict[str, Callable[[argparse.Namespace], Study]] = {
        'landscape': landscape,
        'noise': noise,
        'distribution': distribution,
        'error': error,
    }
    files = ', '.join(str(path) for path in write_study(studies[args.study](args), args.out))
    Console().print(f'Written: {files}', markup=False, soft_wrap=True)


def landscape(args: argparse.Namespace) -> Study:
    """Loss around the weights."""
    scan = Scan(args.radius, args.points, args.plane_points, args.directions, args.seed)
    return study_landscape(
        _sources(args), scan, args.split, args.batches, args.batch_size, args.weights, args.device
    )


def noise(args: argparse.Namespace) -> Study:
    """Metric under noise."""
    sigmas = _list('sigmas', args.sigmas, float)
    return study_noise(_sources(args), sigmas, args.repeats, args.seed, args.weights, args.score)


def distribution(args: argparse.Namespace) -> Study:
    """Weights against a Gaussian."""
    return study_distribution(_adapted(args, args.task))


def error(args: argparse.Namespace) -> Study:
    """Error of quantised weights, and their metric where it is asked for."""
    if not args.metric and (args.trained or args.score):
        raise ValueError('--trained and --score compare metrics: add --metric.')
    chosen = settings(
        _list('bits', args.bits, int),
        _list('criteria', args.criteria, str),
        _list('granularities', args.granularities, str),
    )
    source = _adapted(args, args.task)
    if not args.metric:
        return study_error(source, chosen)
    trained = [_adapted(args, file) for file in args.trained]
    return study_scores(source, chosen, trained, args.score)


def _sources(args: argparse.Namespace) -> list[Source]:
    sources = [_adapted(args, args.task)]
    if args.full:
        config, checkpoint = args.full
        sources.append(full_source(load_config(config), checkpoint, args.trust_checkpoint))
    return sources


def _adapted(args: argparse.Namespace, file: str) -> Source:
    cfg = load_config(args.config, args.cfg_options)
    return adapted_source(cfg, file, args.trust_checkpoint)


def _list(name: str, text: str, kind: Callable[[str], T]) -> list[T]:
    try:
        return [kind(one.strip()) for one in text.split(',') if one.strip()]
    except ValueError as error:
        raise ValueError(f'--{name} {text!r}: {error}; write numbers with commas.') from error
