"""Demo: adapting a model from one domain of generated scenes to another, and what that costs."""

from mmqadapter.studies.demo.run import run_demo

__all__ = ['run_demo']
