"""Stand-ins for what older releases of PyTorch, or an mmcv without operators, lack.

Patches of mmengine, mmdet and mmseg are in :mod:`mmqadapter.engine.compat`.
"""
