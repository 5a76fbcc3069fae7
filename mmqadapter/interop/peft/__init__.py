"""Conversion of LoRA for timm's ViT and Swin from and to the folders of Hugging Face's PEFT."""

from mmqadapter.interop.peft.convert import export_peft, import_peft
from mmqadapter.interop.peft.folder import PeftLora, read_peft, write_peft
from mmqadapter.interop.peft.products import Product
from mmqadapter.interop.peft.settings import PeftSettings

__all__ = [
    'PeftLora',
    'PeftSettings',
    'Product',
    'export_peft',
    'import_peft',
    'read_peft',
    'write_peft',
]
