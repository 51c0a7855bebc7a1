"""What codecs of centres, points and four corners share: objects in one list, and their cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heatpoint.codecs import Target, gathered
from heatpoint.codecs.encoded import CellSamples, CenterEncoded, exact, list_points


def placed(
    targets: Sequence[Target], number: int, classes: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Returns where the objects of a batch are, on the device of the targets; it may be empty.

    Args:
        targets: One per image; points (N, ``number``, 2) in input pixels.
        number: Points of an object: 1, or 4 corners.
        classes: Number of classes.
        size: (H, W) of the input in pixels.

    Returns:
        Points (P, ``number``, 2) float32 in input pixels, labels (P,) int64, the image (P,) int64
        of each, and how many each image has.

    Raises:
        ValueError: A target has other points or none, one is not finite, the middle of an object
            lies outside of the input, or a label is out of range; names the first such object.
    """
    if not targets:
        none = torch.zeros(0).long()
        return torch.zeros(0, number, 2), none, none, []
    rows = []
    for place, target in enumerate(targets):
        wanted = (len(target.labels), number, 2)
        shape = None if target.points is None else tuple(target.points.shape)
        if target.points is None or shape != wanted:
            raise ValueError(
                f"image {place} of the batch has points of shape {shape}, expected {wanted}: "
                f"{number} for each object"
            )
        rows.append(target.points.float())
    points, label = torch.cat(rows), torch.cat([target.labels.long() for target in targets])
    counts = [len(each) for each in rows]
    image = torch.arange(len(targets)).repeat_interleave(torch.tensor(counts))
    image = image.to(points.device, non_blocking=True)
    far, middle = points.new_tensor((size[1], size[0])), points.mean(1)
    # Rounding may move a middle on the border a little beyond it.
    fine = ((middle > -0.004) & (middle < far + 0.004)).all(-1) & points.isfinite().all(2).all(1)
    fine &= (label >= 0) & (label < classes)
    if not bool(fine.all()):
        first = int((~fine).nonzero()[0])
        raise ValueError(
            f"image {int(image[first])} of the batch has points {points[first].tolist()} with "
            f"label {int(label[first])}; points must be finite and must lie within the input of "
            f"{size[0]} x {size[1]} pixels (height x width), corners with their middle within the "
            f"input, labels from 0 to {classes - 1}"
        )
    return points, label, image, counts


def boxes_in_cells(
    targets: Sequence[Target],
    classes: int,
    size: tuple[int, int],
    map_size: tuple[int, int],
    inside: bool,
    short: int | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the objects of a batch in one list, checked and clipped.

    Args:
        targets: One per image; boxes in input pixels.
        classes: Number of classes.
        size: (H, W) of the input.
        map_size: (h, w) of the maps.
        inside: Whether centres must lie within the input.
        short: Boxes are clipped so many pixels short of the far borders; None leaves them as they
            are.

    Returns:
        Boxes (P, 4) float64 (float32 on MPS), xyxy in cells, labels (P,) int64, the image (P,)
        int64 of each, which ascends, and which of all objects these are, (N,) bool: the others have
        no area within the input.

    Raises:
        ValueError: A box is not finite, is empty or, if so asked, has its centre outside of the
            input, or a label is out of range; names the first such object.
    """
    boxes, label, image = gathered(targets)
    bad = ~(boxes.isfinite().all(-1) & (boxes[:, 2:] > boxes[:, :2]).all(-1))
    bad |= (label < 0) | (label >= classes)
    far = boxes.new_tensor((size[1], size[0]))
    if inside:
        # Rounding may move a centre on the border a little beyond it.
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        bad |= ((center < -0.004) | (center > far + 0.004)).any(-1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        box = [round(value, 3) for value in boxes[first].tolist()]
        raise ValueError(
            f"image {int(image[first])} of the batch has a box {box} with label "
            f"{int(label[first])}; boxes must be finite, of positive area and centred within the "
            f"input of {size[0]} x {size[1]} pixels (height x width), labels from 0 to "
            f"{classes - 1}"
        )
    if short is not None:
        boxes = torch.minimum(boxes, (far - short).repeat(2)).clamp(min=0)
    boxes = boxes.to(exact(boxes))
    boxes = boxes * boxes.new_tensor((map_size[1] / size[1], map_size[0] / size[0])).repeat(2)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return boxes[kept], label[kept], image[kept], kept


def centred(
    points: Tensor,
    image: Tensor,
    label: Tensor,
    sides: Tensor,
    radius: Tensor,
    planes: tuple[int, int],
    map_size: tuple[int, int],
    reach: Tensor | None = None,
    last: bool = False,
    apart: bool = False,
) -> CenterEncoded:
    """Returns the targets of objects that all count, of which each has a cell.

    Args:
        points: (P, 2) x and y in cells, by which objects are found.
        image: (P,) int64.
        label: (P,) int64.
        sides: (P, 2) width and height in cells.
        radius: (P, 2) int64, of the blobs along x and y in cells.
        planes: Numbers of images and of classes.
        map_size: (h, w) of the maps.
        reach: (P, 2) int64, half sides of the regions in cells within which other maps than the
            heatmap are trained; None trains them at the objects' own cells.
        last: Of samples that share a cell only the last one stays.
        apart: Whether each class has maps of its own for these.
    """
    batch, classes = planes
    cell, offset, blobs = list_points(points, image, label, radius, planes, map_size)
    ones, every = torch.ones_like(offset[:, 0]), torch.arange(len(cell), device=cell.device)
    objects, shares = CellSamples(image, cell, offset, sides.float(), ones, every), 1
    samples = objects
    if apart:  # maps of the classes are told apart as those of images are
        shares = classes
        samples = samples._replace(image=image * classes + label)
    if reach is not None:
        samples = samples.with_regions(reach, batch * shares, map_size)
    if last:
        samples = samples.last(batch * shares, map_size[0] * map_size[1])
    samples = samples._replace(image=image[samples.owner])
    total = samples.weight.sum()
    return CenterEncoded(
        batch=batch,
        classes=classes,
        map_size=map_size,
        objects=objects,
        label=label,
        radius=radius,
        blobs=blobs,
        samples=samples,
        shares=shares,
        counts=torch.stack((torch.full_like(total, len(blobs.peaks)), total)),
        kept=torch.ones_like(label, dtype=torch.bool),
    )
