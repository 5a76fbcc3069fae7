"""AdamW in mixed precision as published for Swin detectors: ``method_optim_wrapper``.

The environment variable MMQADAPTER_METHOD names the file of ../methods to train with; a config
takes ``method`` from it.
"""

_base_ = ['../methods/{{$MMQADAPTER_METHOD:highway}}.py', '../tuning.py']
rate = 1e-4  # batch 16
method_optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=rate, weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
            'norm': dict(decay_mult=0.0),
            'adapters': dict(
                lr_mult=_base_.get('adapter_rate', rate) / rate,
                decay_mult=_base_.get('adapter_decay', 1.0),
            ),
        }
    ),
)
