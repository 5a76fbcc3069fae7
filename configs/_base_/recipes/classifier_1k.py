"""Recipe of arXiv 2307.16867 for 1,000 images: 100 epochs of 15 batches, AdamW, 10 of warm-up."""

_base_ = ['mmpretrain::_base_/default_runtime.py', '../schedules/short.py', '../tuning.py']
max_iters = 1500
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-4))
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=150),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=150, end=max_iters, eta_min=1e-5),
]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    checkpoint=dict(
        type='mmqadapter.TaskCheckpointHook', by_epoch=False, interval=500, max_keep_ckpts=1
    ),
)
