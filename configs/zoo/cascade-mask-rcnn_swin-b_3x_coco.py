"""Cascade Mask R-CNN (GIoU, 4conv1fc), Swin-B (ImageNet-22k), COCO, 36 epochs of batch 16.

bash tools/dist_train.sh configs/zoo/cascade-mask-rcnn_swin-b_3x_coco.py 8
One GPU: python tools/train.py configs/zoo/cascade-mask-rcnn_swin-b_3x_coco.py
Another method: put MMQADAPTER_METHOD=mona in front; configs/_base_/methods/ has the names.
"""

_base_ = [
    '../_base_/models/cascade-mask-rcnn_giou.py',
    '../_base_/models/swin.py',
    '../_base_/recipes/coco_3x.py',
]
model = dict(
    backbone=dict(_delete_=True, backbone=dict(_base_.swin_b, drop_path_rate=0.3), **_base_.method),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
