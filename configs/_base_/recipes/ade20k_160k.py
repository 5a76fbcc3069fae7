"""Changes of a method to mmsegmentation's recipe for ADE20K (160,000 iterations).

The environment variable MMQADAPTER_METHOD names the file of ../methods to train with. The config
that inherits this file takes ``method``, ``method_optim_wrapper`` and ``task_hooks`` from it; the
recipe itself comes from the ``mmseg::`` config beside it.
"""

_base_ = ['../methods/{{$MMQADAPTER_METHOD:highway}}.py', '../tuning.py']
rate = _base_.get('ade20k_rate', 3e-4)  # as in the released logs of frozen trunks
method_optim_wrapper = dict(
    constructor='mmqadapter.TrainableOptimWrapperConstructor',
    optimizer=dict(lr=rate),
    paramwise_cfg=dict(
        custom_keys={
            'adapters': dict(
                lr_mult=_base_.get('adapter_rate', rate) / rate,
                decay_mult=_base_.get('adapter_decay', 1.0),
            )
        }
    ),
)
task_hooks = dict(checkpoint=dict(type='mmqadapter.TaskCheckpointHook', save_best='mIoU'))
