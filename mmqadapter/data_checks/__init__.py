"""Checks of the data of a config before training."""

from mmqadapter.data_checks.config import check_dataset
from mmqadapter.data_checks.problem import Problem

__all__ = ['Problem', 'check_dataset']
