"""UperNet, ViT-B/16, ADE20K at 512 x 512, 160,000 iterations of batch 16.

bash tools/dist_train.sh configs/zoo/upernet_vit-b_160k_ade20k.py 8
One GPU: python tools/train.py configs/zoo/upernet_vit-b_160k_ade20k.py
Another method: put MMQADAPTER_METHOD=mona in front; configs/_base_/methods/ has the names.
Weights: convert timm's ViT-B/16 with mmsegmentation's tools/model_converters/vit2mmseg.py.
"""

_base_ = [
    'mmseg::vit/vit_vit-b16_mln_upernet_8xb2-160k_ade20k-512x512.py',
    '../_base_/recipes/ade20k_160k.py',
]
weights = dict(type='Pretrained', checkpoint='pretrain/vit_base_patch16_224.pth')
model = dict(
    pretrained=None,  # mmseg would pass it to the wrapper; the network itself loads it
    backbone=dict(
        _delete_=True, backbone=dict(init_cfg=weights, **_base_.model.backbone), **_base_.method
    ),
)
optim_wrapper = _base_.method_optim_wrapper
default_hooks = _base_.task_hooks
