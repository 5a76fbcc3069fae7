"""Hooks of every tuning run: exact resume, checks of trunk and numbers, costs of training."""

custom_imports = dict(imports=['mmqadapter'])
custom_hooks = [
    dict(type='mmqadapter.PretrainedTrunkHook'),
    dict(type='mmqadapter.ExactResumeHook'),
    dict(type='mmqadapter.FiniteLossHook'),
    dict(type='mmqadapter.LearningRatesHook'),
    dict(type='mmqadapter.MissingGradientHook'),
    dict(type='mmqadapter.EfficiencyHook'),
]
