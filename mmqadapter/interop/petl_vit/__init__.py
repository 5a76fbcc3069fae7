"""Conversion of the released 1-bit adapters of PETL-ViT (arXiv 2307.16867)."""

from mmqadapter.interop.petl_vit.classifier import PackedLinear, PetlClassifier
from mmqadapter.interop.petl_vit.convert import export_petl, import_petl, load_petl
from mmqadapter.interop.petl_vit.files import read_petl, write_petl
from mmqadapter.interop.petl_vit.into_config import import_petl_into
from mmqadapter.interop.petl_vit.layout import PetlContent
from mmqadapter.interop.petl_vit.settings import PetlSettings

__all__ = [
    'PackedLinear',
    'PetlClassifier',
    'PetlContent',
    'PetlSettings',
    'export_petl',
    'import_petl',
    'import_petl_into',
    'load_petl',
    'read_petl',
    'write_petl',
]
