"""Every config that mmdet and mmseg ship, with its backbone in our wrappers."""
