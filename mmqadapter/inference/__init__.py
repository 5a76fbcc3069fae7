"""Prediction with task files: results as plain values, as overlays, and as files."""

from mmqadapter.inference.image_errors import FailedImagesError
from mmqadapter.inference.model import load_model
from mmqadapter.inference.predict import iter_predictions, predict
from mmqadapter.inference.prediction import Prediction
from mmqadapter.inference.several import iter_task_predictions, predict_tasks

__all__ = [
    'FailedImagesError',
    'Prediction',
    'iter_predictions',
    'iter_task_predictions',
    'load_model',
    'predict',
    'predict_tasks',
]
