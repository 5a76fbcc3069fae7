"""12 epochs of AdamW at batch 16: 1e-4 for neck and heads, 1e-3 for adapters."""

_base_ = 'mmdet::_base_/schedules/schedule_1x.py'
optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys={'adapters': dict(lr_mult=10.0, decay_mult=0.0)}
    ),
)
