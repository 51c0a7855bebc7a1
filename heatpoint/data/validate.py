"""Says what is wrong with a data set, and leaves out what cannot be trained on; never silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from heatpoint.data.annotations import TREATMENT, Annotations, Finding, ImageRecord
from heatpoint.data.checks import clean_record, file_findings, object_findings
from heatpoint.errors import HeatpointError

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
