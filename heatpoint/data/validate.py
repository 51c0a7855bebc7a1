"""Says what is wrong with one image and its objects, and takes out what cannot be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import TREATMENT, Annotations, Finding, ImageRecord, box_areas
from heatpoint.data.images import ends_well, image_size, load_image
from heatpoint.errors import HeatpointError

TOLERANCE = 0.02
"""Pixels a box may stand out before that is reported: files round to two decimals or 1e-6."""


def file_findings(
    record: ImageRecord, decode: bool
) -> tuple[tuple[int, int] | None, list[Finding]]:
    """Looks at an image's file: at its header and its end, unless it is to be decoded.

    Args:
        record: The image, with the size it is annotated with.
        decode: Decode it to be sure.

    Returns:
        Size (height, width) of the file, None if it is missing or unreadable; and what was found.
    """
    path = record.path
    if not path.is_file():
        return None, [Finding("missing image", str(path), "the file does not exist")]
    try:
        size = image_size(path)
        if decode or not ends_well(path):
            load_image(path)
    except HeatpointError as error:
        return None, [Finding("unreadable image", str(path), str(error))]
    if record.size is None or record.size == size:
        return size, []
    turned = "; width and height are swapped" if record.size == size[::-1] else ""
    detail = f"annotated {record.size[1]}x{record.size[0]}, file {size[1]}x{size[0]}{turned}"
    return size, [Finding("size mismatch", str(path), detail)]


def object_findings(
    record: ImageRecord, size: tuple[int, int] | None, annotations: Annotations
) -> list[Finding]:
    """Returns what is to be said about the boxes and joints of one image.

    Args:
        record: The image as read.
        size: (height, width) of the image; None if unknown, and then nothing is outside.
        annotations: The data set, for its names.
    """
    image = str(record.path)
    findings = [] if len(record) else [Finding("image without objects", image, "no boxes")]
    masks = _box_masks(record, size)
    masks["duplicate box"] = np.zeros(len(record), np.bool_)
    seen: set[tuple[float, ...]] = set()
    for i, box in enumerate(record.boxes.tolist()):
        key = (int(record.labels[i]), *box)
        masks["duplicate box"][i] = key in seen
        seen.add(key)
    masks["crowd region"] = record.crowd
    if record.keypoints is not None:
        unlabelled = ~(record.keypoints[..., 2] > 0).any(1)
        masks["person without joints"] = unlabelled & ~record.crowd
        masks |= _joint_masks(record.keypoints, size)
    for kind, mask in masks.items():
        where = f" in {size[1]}x{size[0]}" if size is not None and "outside" in kind else ""
        for i, *joint in np.argwhere(mask).tolist():
            if joint and record.keypoints is not None:
                j, skeleton = joint[0], annotations.skeleton
                name = f"joint {j}" if skeleton is None else skeleton.joints[j]
                what, numbers = f"{name} of object {i + 1}", record.keypoints[i, j, :2]
            else:
                what, numbers = annotations.names[int(record.labels[i])], record.boxes[i]
            place = ", ".join(f"{value:.6g}" for value in numbers.tolist())
            findings.append(Finding(kind, image, f"{what} at ({place}){where}"))
    return findings


def clean_record(
    record: ImageRecord, size: tuple[int, int]
) -> tuple[ImageRecord, dict[str, int], dict[str, int]]:
    """Returns the record with the objects and joints that can be trained on.

    Args:
        record: The image as read; it is not changed.
        size: (height, width) of its file.

    Returns:
        The record; the boxes dropped and the boxes and joints changed, each as counts by kind.
    """
    masks = _box_masks(record, size)
    changed = {"box partly outside": int(masks.pop("box partly outside").sum())}
    dropped = {kind: int(mask.sum()) for kind, mask in masks.items()}
    kept = replace(record.keep(~np.logical_or.reduce(list(masks.values()))), size=size)
    if kept.keypoints is None:
        kept.boxes = np.clip(kept.boxes, 0.0, np.array([*size[::-1], *size[::-1]], np.float64))
        kept.areas = np.minimum(kept.areas, box_areas(kept.boxes))
    else:
        broken = np.asarray(~np.isfinite(kept.keypoints).all(-1))
        changed["non-finite joint"] = int((broken & (kept.keypoints[..., 2] != 0)).sum())
        kept.keypoints = np.where(broken[..., None], 0.0, kept.keypoints)
    return kept, dropped, changed


def _box_masks(record: ImageRecord, size: tuple[int, int] | None) -> dict[str, NDArray[np.bool_]]:
    """Returns one (N,) mask per kind of bad box; no box is in two.

    The box of an object with joints says what to cut out, which may reach beyond the image.
    """
    boxes = record.boxes
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(boxes).all(axis=1))
    safe = np.where(finite[:, None], boxes, 0.0)
    degenerate = finite & ((safe[:, 2] <= safe[:, 0]) | (safe[:, 3] <= safe[:, 1]))
    good = finite & ~degenerate
    outside = partly = np.zeros(len(boxes), np.bool_)
    if size is not None:
        height, width = size
        x1, y1, x2, y2 = safe.T
        outside = good & ((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
        over = np.maximum.reduce([-x1, -y1, x2 - width, y2 - height])
        if record.keypoints is None:
            partly = good & ~outside & (over > TOLERANCE)
    return {
        "non-finite box": ~finite,
        "degenerate box": degenerate,
        "box outside the image": outside,
        "box partly outside": partly,
    }


def _joint_masks(
    keypoints: NDArray[np.float64], size: tuple[int, int] | None
) -> dict[str, NDArray[np.bool_]]:
    """Returns one (N, J) mask per kind of bad joint; no joint is in two."""
    labelled = keypoints[..., 2] > 0
    broken = labelled & ~np.isfinite(keypoints).all(-1)
    outside = np.zeros_like(labelled)
    if size is not None:
        x, y = keypoints[..., 0], keypoints[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
        outside = labelled & ~broken & ~inside
    return {"non-finite joint": broken, "joint outside the image": outside}


HARMLESS = {"crowd region", "image without objects", "person without joints"}
"""Kinds that are facts rather than mistakes."""

Progress = Callable[[int, int], None]

_SHOWN_CLASSES = 12


@dataclass
class Report:
    """What ``validate`` found.

    Attributes:
        source: The data set, as the user wrote it.
        images: Number of images.
        objects: Number of objects of each class, without crowd regions.
        findings: Every single thing found; the reader's first.
        searched: Folders searched for images in vain, if none was found.
    """

    source: str
    images: int
    objects: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    searched: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Returns how many findings there are of each kind that occurs, worst kind first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in TREATMENT if found[kind]}

    def problems(self) -> dict[str, int]:
        """Returns ``counts`` without what is ``HARMLESS``."""
        return {kind: n for kind, n in self.counts().items() if kind not in HARMLESS}

    def summary(self) -> str:
        """Returns the report as text: a line per kind with its treatment and up to 3 examples."""
        total = sum(self.objects.values())
        shown = [f"{name} {n:,}" for name, n in self.objects.items()][:_SHOWN_CLASSES]
        if len(self.objects) > _SHOWN_CLASSES:
            shown.append(f"{len(self.objects) - _SHOWN_CLASSES} classes more")
        lines = [f"{self.source}: {self.images:,} images, {total:,} objects ({', '.join(shown)})"]
        for kind, number in self.counts().items():
            lines.append(f"  {number:,} x {kind} ({TREATMENT[kind]})")
            some = [item for item in self.findings if item.kind == kind][:3]
            if kind not in HARMLESS:
                lines += [f"      {Path(item.image).name}: {item.detail}" for item in some]
        if self.searched:
            lines.append(f"  no image was found; searched {', '.join(self.searched)}")
        if not self.problems():
            lines.append("  no problems found")
        return "\n".join(lines)


def validate(
    annotations: Annotations,
    check_images: bool = True,
    progress: Progress | None = None,
    decode: bool = False,
) -> Report:
    """Examines a data set and repairs nothing.

    Args:
        annotations: The data set as read.
        check_images: Also open every image: its header and its last bytes, which finds missing,
            foreign and truncated files and wrong sizes without decoding.
        progress: Called with the number of images done and the number of all.
        decode: Decode every image as well: slow, finds damage in the middle of a file.
    """
    findings = list(annotations.findings)
    first_seen: dict[Path, int] = {}
    for number, record in enumerate(annotations.images):
        image = str(record.path)
        if record.path in first_seen:
            detail = f"images {first_seen[record.path] + 1} and {number + 1} of the list"
            findings.append(Finding("image listed twice", image, detail))
        first_seen.setdefault(record.path, number)
        size = record.size
        if check_images:
            size, found = file_findings(record, decode)
            findings += found
        findings += object_findings(record, size, annotations)
        if progress is not None:
            progress(number + 1, len(annotations))
    return Report(
        annotations.source, len(annotations), annotations.counts(), findings, annotations.searched
    )


def clean(
    annotations: Annotations,
    skip_bad: bool = False,
    progress: Progress | None = None,
    decode: bool = False,
) -> tuple[Annotations, dict[str, int]]:
    """Returns the data set as training uses it, and what had to be changed.

    Non-finite and degenerate boxes and boxes wholly outside their image are left out, boxes
    partly outside are clipped (not those of objects with joints, whose crops may reach beyond),
    non-finite joints become joints that are not labelled, and every record gets the size of its
    file, which wins over the annotated one. All else is kept.

    Args:
        annotations: The data set as read; it is not changed.
        skip_bad: Leave out images that are missing or unreadable instead of raising.
        progress: Called with the number of images done and the number of all.
        decode: Decode every image to be sure, instead of looking at its header and its end.

    Returns:
        The cleaned data set, whose ``left_out`` continues that of the reader, and the counts by
        kind of everything left out, clipped or corrected by the reader and here; ``describe``
        turns them into a sentence.

    Raises:
        HeatpointError: Images are missing or unreadable and ``skip_bad`` is False, or none is
            readable.
    """
    counts = Counter(annotations.left_out)
    left_out = Counter(annotations.left_out)
    bad: list[Finding] = []
    records: list[ImageRecord] = []
    for number, record in enumerate(annotations.images):
        size, found = file_findings(record, decode)
        if progress is not None:
            progress(number + 1, len(annotations))
        if size is None:
            bad += found
            continue
        kept, dropped, changed = clean_record(record, size)
        records.append(kept)
        counts.update(finding.kind for finding in found)
        counts.update(dropped)
        counts.update(changed)
        left_out.update(dropped)
    if bad and (not skip_bad or not records):
        raise _bad_images(annotations, bad, bool(records))
    counts.update(finding.kind for finding in bad)
    left_out.update(finding.kind for finding in bad)
    cleaned = replace(annotations, images=records, left_out=dict(+left_out))
    return cleaned, {kind: counts[kind] for kind in TREATMENT if counts[kind]}


def describe(counts: Mapping[str, int]) -> str:
    """Returns counts by kind as one phrase, such as "2 x degenerate box (left out)"."""
    return ", ".join(
        f"{counts[kind]:,} x {kind} ({'left out' if 'left out' in treatment else treatment})"
        for kind, treatment in TREATMENT.items()
        if counts.get(kind)
    )


def _bad_images(annotations: Annotations, bad: list[Finding], some: bool) -> HeatpointError:
    if annotations.searched:
        return HeatpointError(
            f"none of the {len(annotations)} images of {annotations.source} was found "
            f"({bad[0].image}, for one); searched {', '.join(annotations.searched)}; "
            "give their folder by --images"
        )
    shown = "; ".join(f"{finding.image} ({finding.kind})" for finding in bad[:5])
    more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
    remedy = "mend the data, or leave them out with --skip-bad" if some else "not one is left"
    return HeatpointError(
        f"{len(bad)} of {len(annotations)} images of {annotations.source} cannot be used: "
        f"{shown}{more}; {remedy}"
    )
