"""The gradient highway: a side stream of adapters, independent of the trunk that feeds it."""

from mmqadapter.highway.cells import Cell, JoinedCell, ParallelCell, build_cell
from mmqadapter.highway.downsample import InheritedMerging, LowRankMerging
from mmqadapter.highway.inherited_neck import InheritedNeck
from mmqadapter.highway.inherited_steps import (
    EvenPadding,
    InheritedSteps,
    inherit_merging,
    rounds_down,
)
from mmqadapter.highway.recompute import Recompute
from mmqadapter.highway.residual import FusedResidual, PendingUpdate, add_updates
from mmqadapter.highway.saved_taps import SAVED_TAPS
from mmqadapter.highway.side_stream import Highway, SideStream, normed_map
from mmqadapter.highway.stem import ConvStem, NoStem, Stem

__all__ = [
    'SAVED_TAPS',
    'Cell',
    'ConvStem',
    'EvenPadding',
    'FusedResidual',
    'Highway',
    'InheritedMerging',
    'InheritedNeck',
    'InheritedSteps',
    'JoinedCell',
    'LowRankMerging',
    'NoStem',
    'ParallelCell',
    'PendingUpdate',
    'Recompute',
    'SideStream',
    'Stem',
    'add_updates',
    'build_cell',
    'inherit_merging',
    'normed_map',
    'rounds_down',
]
