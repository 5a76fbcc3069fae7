"""The gradient highway: a side stream of adapters, fed by a trunk that it does not know."""

from mmqadapter.highway.cells import Cell, JoinedCell, ParallelCell, build_cell, cell_config
from mmqadapter.highway.downsample import InheritedMerging, LowRankMerging
from mmqadapter.highway.recompute import Recompute
from mmqadapter.highway.saved_taps import SAVED_TAPS
from mmqadapter.highway.side_stream import Highway, SideStream

__all__ = [
    'SAVED_TAPS',
    'Cell',
    'Highway',
    'InheritedMerging',
    'JoinedCell',
    'LowRankMerging',
    'ParallelCell',
    'Recompute',
    'SideStream',
    'build_cell',
    'cell_config',
]
