"""Shared by all tuning runs: exact resume, checks of the trunk and for NaN, logs of costs."""

custom_imports = dict(imports=['mmqadapter'])
custom_hooks = [
    dict(type='mmqadapter.PretrainedTrunkHook'),
    dict(type='mmqadapter.ExactResumeHook'),
    dict(type='mmqadapter.FiniteLossHook'),
    dict(type='mmqadapter.TuningSummaryHook'),
    dict(type='mmqadapter.EfficiencyHook'),
]
