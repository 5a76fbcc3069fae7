"""Tasks that a new config can be for, and the package, head and metric of each."""

from __future__ import annotations

from mmqadapter.own_data.samples import FoundData, ImageClassData, LabelMapData

TASKS = {
    'semantic': ('mmseg', 'UperNet', 'mIoU'),
    'instances': ('mmdet', 'Mask R-CNN', 'coco/segm_mAP'),
    'boxes': ('mmdet', 'Faster R-CNN', 'coco/bbox_mAP'),
    'classes': ('mmpretrain', 'Image classifier', 'accuracy/top1'),
}


def task_of(data: FoundData) -> str:
    """Return ``semantic``, ``classes``, ``instances`` (every object has a mask) or ``boxes``."""
    if isinstance(data, LabelMapData):
        return 'semantic'
    if isinstance(data, ImageClassData):
        return 'classes'
    return 'instances' if data.has_masks else 'boxes'
