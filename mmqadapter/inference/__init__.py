"""Predictions of a task file on images: as values, as pictures, and as files to work with."""

from mmqadapter.inference.model import load_model
from mmqadapter.inference.predict import predict
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.several import predict_tasks

__all__ = ['Prediction', 'load_model', 'predict', 'predict_tasks']
