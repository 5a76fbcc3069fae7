"""Registered backbones: a frozen trunk, with or without adapters."""

from mmqadapter.backbones.adapted import AdaptedBackbone
from mmqadapter.backbones.families import FAMILIES
from mmqadapter.backbones.family import BlockFamily
from mmqadapter.backbones.frozen import FrozenBackbone
from mmqadapter.backbones.frozen_blocks import frozen_blocks
from mmqadapter.backbones.highway import HighwayBackbone
from mmqadapter.backbones.timm_backbone import TimmBackbone

__all__ = [
    'FAMILIES',
    'AdaptedBackbone',
    'BlockFamily',
    'FrozenBackbone',
    'HighwayBackbone',
    'TimmBackbone',
    'frozen_blocks',
]
