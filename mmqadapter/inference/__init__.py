"""Prediction with task files: results as plain values, as overlays, and as files."""

from mmqadapter.inference.model import load_model
from mmqadapter.inference.predict import predict
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.several import predict_tasks

__all__ = ['Prediction', 'load_model', 'predict', 'predict_tasks']
