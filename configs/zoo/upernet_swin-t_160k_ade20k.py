"""UperNet, Swin-T (ImageNet-1k), ADE20K at 512 x 512, 160,000 iterations of batch 16.

bash tools/dist_train.sh configs/zoo/upernet_swin-t_160k_ade20k.py 8
One GPU: python tools/train.py configs/zoo/upernet_swin-t_160k_ade20k.py
Another method: put MMQADAPTER_METHOD=mona in front; configs/_base_/methods/ has the names.
"""

_base_ = [
    'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    '../_base_/recipes/ade20k_160k.py',
]
model = dict(backbone=dict(_delete_=True, backbone=_base_.model.backbone, **_base_.method))
optim_wrapper = _base_.method_optim_wrapper
default_hooks = _base_.task_hooks
