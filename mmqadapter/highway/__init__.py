"""The gradient highway: a side stream of adapters, independent of the trunk that feeds it."""

from mmqadapter.highway.cells import Cell, JoinedCell, ParallelCell, StandardizedCell, build_cell
from mmqadapter.highway.downsample import InheritedMerging, LowRankMerging
from mmqadapter.highway.inherited_neck import InheritedNeck
from mmqadapter.highway.inherited_steps import (
    EvenPadding,
    InheritedSteps,
    inherit_merging,
    merging_stride,
    rounds_down,
)
from mmqadapter.highway.readout import (
    MeanReadout,
    Readout,
    normed_map,
    read_class_token,
    read_map,
    read_pooled,
)
from mmqadapter.highway.recompute import Recompute
from mmqadapter.highway.residual import FusedResidual, PendingUpdate, add_updates
from mmqadapter.highway.saved_taps import SAVED_TAPS
from mmqadapter.highway.side_stream import Highway, SideStream
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
    'MeanReadout',
    'NoStem',
    'ParallelCell',
    'PendingUpdate',
    'Readout',
    'Recompute',
    'SideStream',
    'StandardizedCell',
    'Stem',
    'add_updates',
    'build_cell',
    'inherit_merging',
    'merging_stride',
    'normed_map',
    'read_class_token',
    'read_map',
    'read_pooled',
    'rounds_down',
]
