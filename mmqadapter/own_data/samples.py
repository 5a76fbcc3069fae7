"""Data that a reader found in a folder, in one form for all formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

Polygon = tuple[float, ...]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Instance:
    """One object of an image.

    Attributes:
        label: Name of its class.
        box: x and y of the upper left corner, width and height, in pixels.
        polygons: Outlines x1, y1, x2, y2, ... in pixels; empty if there is a box only.
        rle: COCO run-length encoding, instead of polygons.
        crowd: Marks a region of many objects that is neither learned nor scored.
    """

    label: str
    box: Box
    polygons: tuple[Polygon, ...] = ()
    rle: dict | None = None
    crowd: bool = False

    @property
    def has_mask(self) -> bool:
        """True if the instance has an outline or a mask, not only a box."""
        return bool(self.polygons or self.rle)


@dataclass(frozen=True)
class Sample:
    """One image with its objects.

    Attributes:
        image: The image.
        size: Its width and height in pixels.
        instances: Its objects.
        file: The annotation file, if that is not the one COCO file of all images.
        declared: Width and height as the annotation file says; None if it does not.
    """

    image: Path
    size: tuple[int, int]
    instances: tuple[Instance, ...] = ()
    file: Path | None = None
    declared: tuple[int, int] | None = None


@dataclass(frozen=True)
class CocoFile:
    """A COCO JSON that training can read as it is, and the folder of its images."""

    annotations: Path
    images: Path


@dataclass(frozen=True)
class InstanceData:
    """Boxes or instances found in a folder.

    Attributes:
        format: Name of the format, as printed.
        root: The folder.
        classes: Names of the classes; the position is the class number.
        splits: Samples by name of the split: ``train``, ``val``, ``test`` or ``all``.
        coco: COCO files of the splits, if the data are stored so.
        notes: Remarks for the user, such as what was skipped.
        split_by: What states the split, as printed.
    """

    format: str
    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[Sample]]
    coco: dict[str, CocoFile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    split_by: str = 'folders'

    @property
    def is_readable(self) -> bool:
        """True if training can read the files as they are."""
        return {'train', 'val'} <= set(self.coco)

    @property
    def has_masks(self) -> bool:
        """True if every object has a mask or an outline."""
        return all(
            instance.has_mask
            for samples in self.splits.values()
            for sample in samples
            for instance in sample.instances
        )


@dataclass(frozen=True)
class MaskPair:
    """An image and its label map; ``size`` is the width and height of the image in pixels."""

    image: Path
    label_map: Path
    size: tuple[int, int]


@dataclass(frozen=True)
class LabelMapData:
    """Label maps found in a folder.

    Attributes:
        format: Name of the format, as printed.
        root: The folder.
        classes: Names of the classes; the position is the class number.
        splits: Pairs by name of the split: ``train``, ``val``, ``test`` or ``all``.
        numbers: Class number by stored pixel value (or color); empty if the stored values are the
            class numbers, so that training can read the files as they are.
        notes: Remarks for the user.
    """

    format: str
    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[MaskPair]]
    numbers: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabeledImage:
    """An image and the name of its class; ``size`` is its width and height in pixels."""

    image: Path
    label: str
    size: tuple[int, int]


@dataclass(frozen=True)
class ImageClassData:
    """Images with one class each, found in a folder.

    Attributes:
        format: Name of the format, as printed.
        root: The folder.
        classes: Names of the classes; the position is the class number.
        splits: Images by name of the split: ``train``, ``val``, ``test`` or ``all``.
        notes: Remarks for the user.
    """

    format: str
    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[LabeledImage]]
    notes: list[str] = field(default_factory=list)


def class_names(splits: dict[str, list[Sample]]) -> tuple[str, ...]:
    """Return the class names of all objects, in alphabetical order."""
    samples = (sample for split in splits.values() for sample in split)
    return tuple(sorted({item.label for sample in samples for item in sample.instances}))


FoundData = InstanceData | LabelMapData | ImageClassData
