"""The demo: generated scenes of two domains, and what adapting from one to the other costs."""

from mmqadapter.studies.demo.run import run_demo

__all__ = ['run_demo']
