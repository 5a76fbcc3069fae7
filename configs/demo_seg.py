"""The demo: UperNet with a very small Swin, on generated scenes.

python tools/demo.py
"""

_base_ = [
    'mmseg::_base_/default_runtime.py',
    './_base_/models/demo_upernet_swin.py',
    './_base_/datasets/demo_semantic.py',
    './_base_/schedules/short.py',
    './_base_/tuning.py',
]
iters = 290
train_cfg = dict(max_iters=iters, val_interval=iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=iters, eta_min=0.0),
]
model = dict(decode_head=dict(num_classes=5))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type='mmqadapter.TaskCheckpointHook', by_epoch=False, interval=iters),
)
