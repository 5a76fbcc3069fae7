"""The demo: Mask R-CNN with a very small Swin, on generated scenes.

python tools/demo.py --task det
"""

_base_ = [
    'mmdet::_base_/default_runtime.py',
    './_base_/models/demo_mask_rcnn_swin.py',
    './_base_/datasets/demo_instances.py',
    './_base_/schedules/short.py',
    './_base_/tuning.py',
]
iters = 300
train_cfg = dict(max_iters=iters, val_interval=iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=iters, eta_min=0.0),
]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', by_epoch=False, interval=iters),
)
