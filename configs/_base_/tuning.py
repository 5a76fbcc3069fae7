"""What every tuning run shares: exact resume, a check of the trunk, logs of what it costs."""

custom_imports = dict(imports=['mmqadapter'])
custom_hooks = [
    dict(type='mmqadapter.PretrainedTrunkHook'),
    dict(type='mmqadapter.ExactResumeHook'),
    dict(type='mmqadapter.TuningSummaryHook'),
    dict(type='mmqadapter.EfficiencyHook'),
]
