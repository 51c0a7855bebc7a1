"""Says what is wrong with a data set, and takes out what cannot be trained on; never silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord, Size
from heatpoint.data.bands import depth_findings, kept_of, one_depth, one_kind
from heatpoint.data.findings import TREATMENT, Finding
from heatpoint.data.images import Header, deep_file, ends_well, load_image, read_header
from heatpoint.data.shards import is_file
from heatpoint.data.suspects import label_findings
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, box_area, clip_boxes
from heatpoint.wording import amount

TOLERANCE = 0.02
"""Pixels a box may stand out before that is reported: files round to two decimals or 1e-6."""


def _file_findings(
    record: ImageRecord, channels: int
) -> tuple[Size | None, list[Finding], int | None, Bands]:
    """Looks at an image's file: at its header and its end, which tells whether it is whole.

    Pictures of more than 8 bits are decoded to say how they are scaled.

    Args:
        record: The image, with the size it is annotated with.
        channels: How many are to be kept, 0 for what is usual.

    Returns:
        Size (height, width) of the file, None if it is missing or unreadable; what was found; how
        many bits its values seem to have, None unless they have to be guessed; and as what it is
        read.
    """
    path = record.path
    if not is_file(path):
        return None, [Finding("missing image", str(path), "the file does not exist")], None, RGB
    try:
        header = read_header(path)
        bands = kept_of(header.bands, header.rgb, channels)
        deep = header.deep and bands == RGB
        if not ends_well(path):
            load_image(path, bands=bands)
        found, bits = depth_findings(deep_file(path), path) if deep else ([], None)
    except HeatpointError as error:
        return None, [Finding("unreadable image", str(path), str(error))], None, RGB
    if header.frames > 1:
        found.append(Finding("picture of several frames", str(path), f"{header.frames} frames"))
    if header.orientation != 1:
        detail = f"orientation {header.orientation}: stored {_wide(header.stored)}, upright "
        detail += _wide(header.size)
        found.append(Finding("picture turned by EXIF", str(path), detail))
    if record.size is not None and record.size != header.size:
        found.append(_size_finding(record, record.size, header))
    return header.size, found, bits, bands


def _size_finding(record: ImageRecord, size: Size, header: Header) -> Finding:
    """Returns what is to be said about an annotated size that is not the picture's."""
    image, detail = str(record.path), f"annotated {_wide(size)}, file {_wide(header.size)}"
    if size != header.stored:
        detail += "; width and height are swapped" if size == header.size[::-1] else ""
        return Finding("size mismatch", image, detail)
    detail += f" after turning by EXIF (orientation {header.orientation})"
    with np.errstate(invalid="ignore"):
        outside = int((record.boxes[:, 2:] > np.array(header.size[::-1]) + TOLERANCE).any(1).sum())
    if outside:
        detail += f"; {outside} of {len(record)} boxes fit only before it"
    return Finding("size of the unturned picture", image, detail)


def _wide(size: Size) -> str:
    """Returns a (height, width) as people write it, such as ``"128x96"``, width first."""
    return f"{size[1]}x{size[0]}"


def _masks(record: ImageRecord, size: Size | None) -> dict[str, NDArray[np.bool_]]:
    """Returns what is wrong with boxes and joints: by kind a mask, (N,) of boxes, (N, J) of joints.

    No box and no joint is in two. The box of an object with joints may reach beyond the image.

    Args:
        record: The image.
        size: Its (height, width); None if unknown, and then nothing is outside.
    """
    low, high = (0.0, np.array(size[::-1])) if size is not None else (-np.inf, np.inf)
    finite = np.asarray(np.isfinite(record.boxes).all(1))
    safe = np.where(finite[:, None], record.boxes, 0.0)
    first, last = safe[:, :2], safe[:, 2:]
    pointed, quads, joints = record.pointed, record.quads, record.keypoints
    good, rim = finite & (pointed | (last > first).all(1)), 1e-6 * pointed
    over = (np.maximum(low - first, last - high) > TOLERANCE).any(1)
    if quads is not None:  # they are learnt from their middle
        first = last = np.nan_to_num(quads.mean(1))
    outside = good & ((first >= high + rim) | (last <= low - rim)).any(1)
    masks: dict[str, Any] = {
        "non-finite box": ~finite,
        "degenerate box": finite & ~good,
        "point outside the image" if pointed else "box outside the image": outside,
        "box partly outside": good & ~outside & over & (joints is None and quads is None),
    }
    if joints is not None:
        places, visibility, known = joints[..., :2], joints[..., 2], np.isfinite(joints).all(-1)
        beyond = ((places < low) | (places > high)).any(-1)
        masks["non-finite joint"] = ~known & (visibility != 0)
        masks["joint outside the image"] = known & (visibility > 0) & beyond
        # Half a pixel, because COCO's whole numbers are the middles of pixels.
        at_origin = known & (visibility > 0) & (np.abs(places) <= 0.5).all(-1)
        masks["joint at (0, 0)"] = at_origin & ~beyond
    return masks


def _object_findings(
    record: ImageRecord, size: Size | None, annotations: Annotations
) -> list[Finding]:
    """Returns what is to be said about the boxes and joints of one image.

    Args:
        record: The image as read.
        size: (height, width) of the image; None if unknown, and then nothing is outside.
        annotations: The data set, for its names.
    """
    image = str(record.path)
    findings = [] if len(record) else [Finding("image without objects", image, "no boxes")]
    masks = _masks(record, size)
    places: dict[tuple[float, ...], int] = {}
    rows = zip(record.labels.tolist(), *record.boxes.T.tolist(), strict=True)
    repeated = [places.setdefault(row, place) != place for place, row in enumerate(rows)]
    masks["duplicate box"] = np.array(repeated, np.bool_)
    masks["crowd region"] = record.crowd
    if record.keypoints is not None:
        unlabelled = ~(record.keypoints[..., 2] > 0).any(1)
        masks["person without joints"] = unlabelled & ~record.crowd
    for kind, mask in masks.items():
        where = f" in {size[1]}x{size[0]}" if size is not None and "outside" in kind else ""
        for i, *joint in np.argwhere(mask).tolist():
            what, numbers = annotations.names[int(record.labels[i])], record.boxes[i]
            if joint and record.keypoints is not None:
                skeleton, numbers = annotations.skeleton, record.keypoints[i, joint[0], :2]
                what = f"joint {joint[0]}" if skeleton is None else skeleton.joints[joint[0]]
                what += f" of object {i + 1}"
            place = ", ".join(f"{value:.6g}" for value in numbers.tolist())
            findings.append(Finding(kind, image, f"{what} at ({place}){where}"))
    return findings


def _cleaned(
    record: ImageRecord, size: Size, left_out: Counter[str], changed: Counter[str]
) -> ImageRecord:
    """Returns the record with the objects and joints that can be trained on.

    Args:
        record: The image as read; it is not changed.
        size: (height, width) of its file.
        left_out: Grows by the boxes dropped, by kind.
        changed: Grows by the boxes and joints changed.
    """
    masks = _masks(record, size)
    bad = {kind: mask for kind, mask in masks.items() if TREATMENT[kind] == "left out"}
    left_out.update({kind: int(mask.sum()) for kind, mask in bad.items()})
    good = ~np.logical_or.reduce(list(bad.values()))
    for kind in masks.keys() - bad.keys():
        if not TREATMENT[kind].startswith("kept"):
            changed[kind] += int(masks[kind][good].sum())
    kept = replace(record.keep(good), size=size)
    if kept.keypoints is None and kept.quads is None:
        kept.boxes = clip_boxes(kept.boxes, size)
        kept.areas = np.minimum(kept.areas, box_area(kept.boxes))
    elif kept.keypoints is not None:
        kept.keypoints = kept.joints(kept.keypoints.shape[1])
    return kept


HARMLESS = {
    "outlines beside boxes",
    "crowd region",
    "image without objects",
    "person without joints",
    "class without objects",
    "similar pictures",
    "picture turned by EXIF",
}
"""Kinds that are facts rather than mistakes; nothing of them is left out or changed."""

_COUNTED = HARMLESS - {"similar pictures", "outlines beside boxes"}
"""Kinds of which the number says enough."""

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
        format: As what it was read; "" for data that was made in memory.
    """

    source: str
    images: int
    objects: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    searched: tuple[str, ...] = ()
    format: str = ""

    def counts(self) -> dict[str, int]:
        """Returns how many findings there are of each kind that occurs, worst kind first."""
        return _in_order(Counter(finding.kind for finding in self.findings))

    def problems(self) -> dict[str, int]:
        """Returns ``counts`` without what is ``HARMLESS``."""
        return {kind: n for kind, n in self.counts().items() if kind not in HARMLESS}

    def summary(self) -> str:
        """Returns the report as text: a line per kind with its treatment and up to 3 examples."""
        total = sum(self.objects.values())
        shown = [f"{name} {n:,}" for name, n in self.objects.items()][:_SHOWN_CLASSES]
        if len(self.objects) > _SHOWN_CLASSES:
            shown.append(f"{len(self.objects) - _SHOWN_CLASSES} classes more")
        source = f"{self.source} ({self.format})" if self.format else self.source
        whole = f"{amount(self.images, 'image')}, {amount(total, 'object')}"
        lines = [f"{source}: {whole} ({', '.join(shown)})"]
        for kind, number in self.counts().items():
            lines.append(f"  {number:,} x {kind} ({TREATMENT[kind]})")
            some = [item for item in self.findings if item.kind == kind][:3]
            if kind not in _COUNTED:
                names = [f"{Path(item.image).name}: " if item.image else "" for item in some]
                lines += [f"      {n}{item.detail}" for n, item in zip(names, some, strict=True)]
        if self.searched:
            lines.append(f"  no image was found; searched {', '.join(self.searched)}")
        if not self.problems():
            lines.append("  no problems found")
        return "\n".join(lines)


def validate(annotations: Annotations, progress: Progress | None = None) -> Report:
    """Examines a data set and repairs nothing.

    Of every image the header and the last bytes are looked at, which finds missing, foreign and
    truncated files and wrong sizes without decoding.

    Args:
        annotations: The data set as read.
        progress: Called with the number of images done and the number of all.
    """
    findings, sizes = list(annotations.findings), list[Size | None]()
    places, guesses = dict[Path, int](), Counter[int]()
    examined = _examined(annotations, progress)
    for number, (record, size, found, bits, _) in enumerate(examined, start=1):
        first = places.setdefault(record.path, number)
        if first != number:
            detail = f"images {first} and {number} of the list"
            findings.append(Finding("image listed twice", str(record.path), detail))
        findings += found + _object_findings(record, size, annotations)
        sizes.append(size or record.size)
        guesses.update(() if bits is None else [bits])
    findings += one_depth(guesses)[1]
    findings += label_findings(annotations, sizes)
    return Report(
        annotations.source,
        len(annotations),
        annotations.counts(),
        findings,
        annotations.searched,
        annotations.format,
    )


def clean(
    annotations: Annotations, skip_bad: bool = False, progress: Progress | None = None
) -> tuple[Annotations, dict[str, int]]:
    """Returns the data set as training uses it, and what had to be changed.

    Non-finite and degenerate boxes and boxes wholly outside their image are left out, boxes
    partly outside are clipped (not those around joints or four corners), non-finite joints become
    joints that are not labelled, and every record gets the size of its file, which wins over the
    annotated one. All 16-bit pictures that declare no depth get the deepest. All else is kept.

    Args:
        annotations: The data set as read; it is not changed.
        skip_bad: Leave out images that are missing or unreadable instead of raising.
        progress: Called with the number of images done and the number of all.

    Returns:
        The cleaned data set, whose ``left_out`` continues that of the reader, and the counts by
        kind of everything left out, guessed, clipped or corrected by the reader and here;
        ``describe`` turns them into a sentence.

    Raises:
        HeatpointError: Images are missing or unreadable and ``skip_bad`` is False, none is
            readable, or some are of other bands than others.
    """
    told = [each.kind for each in annotations.findings if each.kind not in annotations.left_out]
    left_out, changed = Counter(annotations.left_out), Counter(told)
    bad: list[Finding] = []
    records, guesses, kinds = list[ImageRecord](), Counter[int](), dict[Bands, Path]()
    for record, size, found, bits, bands in _examined(annotations, progress):
        if size is None:
            bad += found
            continue
        kinds.setdefault(bands, record.path)
        changed.update(finding.kind for finding in found)
        records.append(_cleaned(record, size, left_out, changed))
        guesses.update(() if bits is None else [bits])
    if bad and (not skip_bad or not records):
        raise _bad_images(annotations, bad, bool(records))
    left_out.update(finding.kind for finding in bad)
    depth, found = one_depth(guesses)
    changed.update(finding.kind for finding in found)
    bands = one_kind(kinds, annotations.channels)
    cleaned = replace(annotations, images=records, left_out=dict(+left_out), bits=depth)
    cleaned.bands = bands
    return cleaned, _in_order(left_out + changed)


def _examined(
    annotations: Annotations, progress: Progress | None
) -> Iterator[tuple[ImageRecord, Size | None, list[Finding], int | None, Bands]]:
    """Yields each record with what ``_file_findings`` says of its file."""
    for number, record in enumerate(annotations.images, start=1):
        yield record, *_file_findings(record, annotations.channels)
        if progress is not None:
            progress(number, len(annotations))


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the counts that are not 0, in the order of ``TREATMENT``."""
    return {kind: counts[kind] for kind in TREATMENT if counts.get(kind)}


def describe(counts: Mapping[str, int]) -> str:
    """Returns counts by kind as one phrase, such as "2 x degenerate box (left out)"."""
    return ", ".join(
        f"{count:,} x {kind} ({'left out' if 'left out' in TREATMENT[kind] else TREATMENT[kind]})"
        for kind, count in _in_order(counts).items()
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
