"""Command ``analyze``: study the adapters of a trained model; one subcommand for each study."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmqadapter.cli.common import (
    add_config_options,
    add_trust,
    command_parser,
    print_written,
    user_errors,
)
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
Run = Callable[[argparse.Namespace], Study]


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line; ``run`` of the result is the function of the study."""
    parser = command_parser(prog, 'Study the adapters of a trained model.')
    studies = parser.add_subparsers(dest='study', required=True)
    _add_landscape(studies)
    _add_noise(studies)
    _add_distribution(studies)
    _add_error(studies)
    return parser.parse_args(argv)


@user_errors
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run one study, write its files and print where they are."""
    args = parse_args(argv, prog)
    print_written(write_study(args.run(args), args.out))


def _add_landscape(studies: Any) -> None:
    description = 'loss along filter-normalized random directions'
    parser = _add_study(studies, 'landscape', description, landscape)
    _add_perturbation(parser)
    parser.add_argument(
        '--split', choices=SPLITS, default='train', help='data to load (default: %(default)s)'
    )
    parser.add_argument(
        '--batches', type=int, default=4, help='number of batches (default: %(default)s)'
    )
    parser.add_argument('--batch-size', type=int, default=0, help="images (default: the config's)")
    parser.add_argument(
        '--radius', type=float, default=1.0,
        help='largest move of a filter, in units of its norm (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--points', type=int, default=21, help='points on a line (default: %(default)s)'
    )
    parser.add_argument(
        '--plane-points', type=int, default=11,
        help='points along a side of the plane; 0 for no plane (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--directions', type=int, default=3, help='number of random lines (default: %(default)s)'
    )
    parser.add_argument('--device', help='cpu or cuda:0 (default: a GPU if there is one)')


def landscape(args: argparse.Namespace) -> Study:
    """Measure the loss around the trained weights."""
    scan = Scan(args.radius, args.points, args.plane_points, args.directions, args.seed)
    return study_landscape(
        _sources(args), scan, args.split, args.batches, args.batch_size, args.weights, args.device
    )


def _add_noise(studies: Any) -> None:
    description = 'metric against the size of Gaussian noise on the weights'
    parser = _add_study(studies, 'noise', description, noise)
    _add_perturbation(parser)
    parser.add_argument(
        '--sigmas', default='0,0.1,0.2,0.5,1', metavar='LIST',
        help='sizes of the noise, in standard deviations of each matrix (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument(
        '--repeats', type=int, default=3, help='samples of each size (default: %(default)s)'
    )
    _add_score(parser)


def noise(args: argparse.Namespace) -> Study:
    """Measure the metric with noise on the weights."""
    sigmas = _parse_list('sigmas', args.sigmas, float)
    return study_noise(_sources(args), sigmas, args.repeats, args.seed, args.weights, args.score)


def _add_distribution(studies: Any) -> None:
    description = 'weights against a Gaussian: moments, histogram, Q-Q plot'
    _add_study(studies, 'distribution', description, distribution)


def distribution(args: argparse.Namespace) -> Study:
    """Compare the distribution of the weights with a Gaussian."""
    return study_distribution(_adapted(args, args.task))


def _add_error(studies: Any) -> None:
    description = 'error of weights that are quantized after training'
    parser = _add_study(studies, 'error', description, error)
    for name, values in (
        ('bits', '1,2,4,8'), ('criteria', 'l1,l2'), ('granularities', 'tensor,channel')
    ):  # fmt: skip
        parser.add_argument(f'--{name}', default=values, metavar='LIST', help=f'default: {values}')
    parser.add_argument(
        '--metric', action='store_true', help='also evaluate the model with each of them'
    )
    parser.add_argument(
        '--trained', nargs='+', default=[], metavar='TASK_FILE',
        help='with --metric: task files trained with quantization, for the same table',
    )  # fmt: skip
    _add_score(parser)


def error(args: argparse.Namespace) -> Study:
    """Measure the error of quantized weights and, with ``--metric``, of the model."""
    if not args.metric and (args.trained or args.score):
        raise ValueError('--trained and --score need --metric: they concern metrics only.')
    quantizers = settings(
        _parse_list('bits', args.bits, int),
        _parse_list('criteria', args.criteria, str),
        _parse_list('granularities', args.granularities, str),
    )
    source = _adapted(args, args.task)
    if not args.metric:
        return study_error(source, quantizers)
    trained = [_adapted(args, file) for file in args.trained]
    return study_scores(source, quantizers, trained, args.score)


def _add_study(studies: Any, name: str, description: str, run: Run) -> argparse.ArgumentParser:
    parser = studies.add_parser(name, help=description, description=description)
    parser.set_defaults(run=run)
    parser.add_argument('config', help='the config of the training')
    parser.add_argument('task', help='a *.task.safetensors, or a training checkpoint (*.pth)')
    parser.add_argument('--out', type=Path, required=True, help='folder for table and plots')
    add_config_options(parser)
    add_trust(parser)
    return parser


def _add_perturbation(parser: argparse.ArgumentParser) -> None:
    """Add the options of studies that perturb the weights."""
    parser.add_argument(
        '--full', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='full fine-tuning to compare with'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of all random numbers (default: %(default)s)'
    )
    parser.add_argument(
        '--weights', choices=WEIGHTS, default=DECODED,
        help='of quantized adapters: the decoded weights, which the network multiplies by, or the '
        'latent float weights, which only a training checkpoint holds (default: %(default)s)',
    )  # fmt: skip


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--score', metavar='NAME', help='one of the metrics of the evaluator')


def _sources(args: argparse.Namespace) -> list[Source]:
    sources = [_adapted(args, args.task)]
    if args.full:
        config, checkpoint = args.full
        sources.append(full_source(load_config(config), checkpoint, args.trust_checkpoint))
    return sources


def _adapted(args: argparse.Namespace, file: str) -> Source:
    cfg = load_config(args.config, args.cfg_options)
    return adapted_source(cfg, file, args.trust_checkpoint)


def _parse_list(name: str, text: str, kind: Callable[[str], T]) -> list[T]:
    try:
        return [kind(item.strip()) for item in text.split(',') if item.strip()]
    except ValueError as error:
        raise ValueError(
            f'--{name}={text!r} is invalid ({error}): expected comma-separated values.'
        ) from error
