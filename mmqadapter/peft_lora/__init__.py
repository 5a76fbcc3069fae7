"""LoRA folders of Hugging Face's PEFT for timm's ViT and Swin: from them to ours, and back."""

from mmqadapter.peft_lora.convert import export_peft, import_peft
from mmqadapter.peft_lora.folder import PeftLora, read_peft, write_peft
from mmqadapter.peft_lora.products import Product
from mmqadapter.peft_lora.settings import PeftSettings

__all__ = [
    'PeftLora',
    'PeftSettings',
    'Product',
    'export_peft',
    'import_peft',
    'read_peft',
    'write_peft',
]
