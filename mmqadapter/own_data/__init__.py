"""Configs for a user's own data: reading of annotation formats, proposals, the written config."""

from mmqadapter.own_data.choices import Choices
from mmqadapter.own_data.new_config import NewConfig, new_config

__all__ = ['Choices', 'NewConfig', 'new_config']
