"""RetinaNet, Swin-L (ImageNet-22k), Pascal VOC: 1-bit highway beside the frozen trunk.

python tools/train.py configs/retinanet_swin-l_highway_voc.py
32 bits: --cfg-options model.backbone.quantizer.bits=32
"""

_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/voc0712.py',
    'mmdet::_base_/default_runtime.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/models/swin.py',
    './_base_/methods/highway.py',
    './_base_/tuning.py',
]
# RetinaNet starts at stride 8, so the map of the first stage is not needed.
net = dict(_base_.swin_l, out_indices=(1, 2, 3))
model = dict(
    backbone=dict(_delete_=True, backbone=net, **_base_.method),
    neck=dict(in_channels=[384, 768, 1536], start_level=0),
    bbox_head=dict(num_classes=20),
)
default_hooks = dict(
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='pascal_voc/mAP')
)
