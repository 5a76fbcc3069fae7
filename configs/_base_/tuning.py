"""What every tuning run shares: exact resume, checks of trunk and numbers, logs of costs."""

custom_imports = dict(imports=['mmqadapter'])
custom_hooks = [
    dict(type='mmqadapter.PretrainedTrunkHook'),
    dict(type='mmqadapter.ExactResumeHook'),
    dict(type='mmqadapter.FiniteLossHook'),
    dict(type='mmqadapter.TuningSummaryHook'),
    dict(type='mmqadapter.EfficiencyHook'),
]
