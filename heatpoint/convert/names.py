"""What published checkpoints find, by number alone: they hold no names of classes or joints."""

from __future__ import annotations

from heatpoint.data.skeleton import SKELETONS, Skeleton

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def names_for(classes: int) -> tuple[str, ...]:
    """Returns COCO's names for 80 classes, VOC's for 20, and numbered ones for other counts.

    Checkpoints hold no names, so the count is all there is to go by.
    """
    numbered = tuple(f"class_{index}" for index in range(classes))
    return {len(COCO): COCO, len(VOC): VOC}.get(classes, numbered)


def skeleton_for(joints: int) -> Skeleton:
    """Returns MPII's skeleton for 16 joints, COCO's for 17, else one of numbered joints."""
    known = {16: SKELETONS["mpii16"], 17: SKELETONS["coco17"]}
    return known.get(joints) or Skeleton(tuple(f"joint_{index}" for index in range(joints)))
