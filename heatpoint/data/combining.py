"""Joins data sets, and keeps parts of them; classes are known by their names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from heatpoint.data import Annotations, ImageRecord, check_names
from heatpoint.data.quads import all_cornered
from heatpoint.errors import HeatpointError, suggest


def with_classes(annotations: Annotations, names: Sequence[str]) -> Annotations:
    """Returns a data set that knows more classes, of which it has no object; they come last.

    Args:
        annotations: The data set.
        names: The classes it shall know, those it has in any order among them.
    """
    known = annotations.names
    more = tuple(name for name in names if name not in set(known))
    first = _next_id(annotations)
    ids = (*annotations.category_ids, *range(first, first + len(more)))
    skeleton = annotations.skeleton
    if skeleton is not None and skeleton.slices:
        skeleton = replace(skeleton, slices=(*skeleton.slices, *((0, 0),) * len(more)))
    return replace(annotations, names=(*known, *more), category_ids=ids, skeleton=skeleton)


def _next_id(annotations: Annotations) -> int:
    """Returns a number above all ids of classes that are numbers."""
    return 1 + max((each for each in annotations.category_ids if isinstance(each, int)), default=0)


def unified(parts: Sequence[Annotations]) -> list[Annotations]:
    """Returns data sets with the classes of all, in the order in which they come up.

    Classes are the same where their names are. The ids of the first data set stay.

    Raises:
        HeatpointError: The joints of two data sets differ.
    """
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    known = dict(zip(parts[0].names, parts[0].category_ids, strict=True))
    ids = count(_next_id(parts[0]))
    for name in names:
        if name not in known:
            known[name] = next(ids)
    same = [_relabelled(part, names, {name: name for name in part.names}) for part in parts]
    same = all_cornered(same)
    if len({part.pointed for part in same if part.objects}) > 1:
        raise HeatpointError(
            f"of {', '.join(part.source for part in parts)} some are labelled by points, others by "
            "boxes; with --points boxes count as the points in their middle"
        )
    skeletons = [part.skeleton for part in same if part.skeleton is not None]
    if any(each != skeletons[0] for each in skeletons):
        raise HeatpointError(
            f"{', '.join(part.source for part in parts)} have different joints; one data set has "
            "one skeleton, so keep them apart"
        )
    every = tuple(known[name] for name in names)
    skeleton = skeletons[0] if skeletons else None
    return [replace(part, category_ids=every, skeleton=skeleton) for part in same]


def merge(parts: Sequence[Annotations]) -> tuple[Annotations, int]:
    """Joins data sets; a picture that several have is one with the objects of all.

    An object that several parts have at exactly the same place counts once. Ids of images stay
    where they do not collide, else all are numbered from 1.

    Args:
        parts: At least one.

    Returns:
        The data set, and how many objects were in several parts.

    Raises:
        HeatpointError: As for ``unified``.
    """
    same = unified(parts)
    joints = _joints(same)
    records: dict[str, ImageRecord] = {}
    twice = 0
    for part in same:
        here: dict[str, ImageRecord] = {}
        for record in part.images:
            place = os.path.realpath(record.path)
            before = here.get(place) or records.get(place)
            if before is not None:
                record, repeated = _joined(before, record, joints, place not in here)
                twice += repeated
            here[place] = record
        records |= here
    merged = gathered(same, list(records.values()))
    return replace(merged, source=" + ".join(part.source for part in same)), twice


def _joints(parts: Sequence[Annotations]) -> int:
    """Returns how many joints an object has, 0 where there are none.

    Raises:
        HeatpointError: Joints have no names, and not all objects have as many.
    """
    if parts[0].skeleton is not None:
        return len(parts[0].skeleton)
    found: dict[int, str] = {}
    for part in parts:
        for record in part.images:
            if record.keypoints is not None:
                found.setdefault(record.keypoints.shape[1], part.source)
    if len(found) > 1:
        told = ", ".join(f"{count} in {source}" for count, source in found.items())
        raise HeatpointError(f"objects have different numbers of joints ({told}), without names")
    return next(iter(found), 0)


def gathered(parts: Sequence[Annotations], images: list[ImageRecord]) -> Annotations:
    """Returns the first of some data sets with the images of all, and with what is said of all.

    Ids of images stay where they do not collide, else all are numbered from 1.
    """
    if len({record.image_id for record in images}) < len(images):
        images = [replace(record, image_id=i) for i, record in enumerate(images, start=1)]
    left_out = Counter[str]()
    for part in parts:
        left_out.update(part.left_out)
    findings = [finding for part in parts for finding in part.findings]
    places = dict.fromkeys(place for part in parts for place in part.searched)
    return replace(
        parts[0],
        images=images,
        findings=findings,
        left_out=dict(left_out),
        searched=tuple(places) if all(part.searched for part in parts) else (),
    )


def _joined(
    one: ImageRecord, other: ImageRecord, joints: int, apart: bool
) -> tuple[ImageRecord, int]:
    """Returns one record of two of one picture, and how many objects were in both.

    Args:
        one: Comes first.
        other: Comes second.
        joints: J, the joints of an object; 0 where there are none.
        apart: They come from different data sets, so that equal objects are one.
    """
    repeated = 0
    if apart:
        known = {
            (int(label), *box) for label, box in zip(one.labels, one.boxes.tolist(), strict=True)
        }
        rows = zip(other.labels.tolist(), other.boxes.tolist(), strict=True)
        new = np.array([(label, *box) not in known for label, box in rows], np.bool_)
        repeated = int((~new).sum())
        other = other.keep(new)
    columns = {
        name: np.concatenate((getattr(one, name), getattr(other, name)))
        for name in ("boxes", "labels", "crowd", "difficult", "areas")
    }
    if joints and not (one.keypoints is None and other.keypoints is None):
        columns["keypoints"] = np.concatenate((one.joints(joints), other.joints(joints)))
    points = [each.points for each in (one, other) if each.points is not None]
    if points:
        columns["points"] = np.concatenate(points)
    if not (one.heads is None and other.heads is None):
        unknown = [np.full(len(each), np.nan) for each in (one, other)]
        heads = [
            a if a is not None else b
            for a, b in zip((one.heads, other.heads), unknown, strict=True)
        ]
        columns["heads"] = np.concatenate(heads)
    return replace(one, size=one.size or other.size, **columns), repeated  # type: ignore[arg-type]


def select(
    annotations: Annotations,
    classes: Sequence[str] = (),
    without: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    min_side: float = 0,
    empty: bool = True,
) -> Annotations:
    """Returns a part of a data set; ``left_out`` stays that of its reader.

    Args:
        annotations: The data set; it is not changed.
        classes: Names of the classes to keep, in the order they shall have; all by default.
        without: Names of the classes to leave out.
        rename: New names by old ones; classes that get one name become one. This comes first.
        min_side: Least width and height of an object in image pixels.
        empty: Keep images of which no object is left.

    Raises:
        HeatpointError: A name is no class of the data set, no class or image is left, or classes
            that become one have different joints.
    """
    rename = rename or {}
    new = {name: rename.get(name, name) for name in annotations.names}
    present = tuple(dict.fromkeys(new.values()))
    for name, known in [(n, annotations.names) for n in rename] + [
        (n, present) for n in (*classes, *without)
    ]:
        if name not in known:
            raise HeatpointError(
                f"{annotations.source} has no class {name!r}{suggest(name, known)}; it has "
                f"{', '.join(known[:20])}"
            )
    kept = tuple(name for name in classes or present if name not in set(without))
    chosen = _relabelled(annotations, check_names(kept, "the selection"), new)
    images = []
    for record in chosen.images:
        sides = (record.boxes[:, 2:] - record.boxes[:, :2]).min(1, initial=np.inf)
        record = record.keep((record.labels >= 0) & ~(sides < min_side))
        if empty or len(record):
            images.append(record)
    if not images:
        raise HeatpointError(f"no image of {annotations.source} is left; keep more")
    return replace(chosen, images=images)


def _relabelled(
    annotations: Annotations, names: tuple[str, ...], new: Mapping[str, str]
) -> Annotations:
    """Returns the data set with other classes; objects of classes that are no more get label -1.

    Where classes have joints of their own, those of classes that are no more go too.

    Args:
        annotations: The data set.
        names: The classes it shall have.
        new: The name that each class of the data set gets.

    Raises:
        HeatpointError: Classes that become one have different joints.
    """
    place = {name: label for label, name in enumerate(names)}
    label_of = np.array([place.get(new[name], -1) for name in annotations.names], np.int64)
    ids: dict[str, int | str] = {}
    for name, number in zip(annotations.names, annotations.category_ids, strict=True):
        ids.setdefault(new[name], number)
    skeleton, images = annotations.skeleton, annotations.images
    if skeleton is not None and skeleton.slices:
        parts = [(0, 0)] * len(names)
        for label, part in zip(label_of.tolist(), skeleton.slices, strict=True):
            if label < 0 or part == (0, 0):
                continue
            if parts[label] not in ((0, 0), part):
                raise HeatpointError(
                    f"the classes of {annotations.source} that become {names[label]!r} have joints "
                    "of their own; keep them apart"
                )
            parts[label] = part
        skeleton, order = skeleton.chosen(names, parts)
        images = [
            replace(each, keypoints=each.keypoints[:, order] if order else None)
            if each.keypoints is not None
            else each
            for each in images
        ]
    return replace(
        annotations,
        names=names,
        category_ids=tuple(ids.get(name, -1 - label) for name, label in place.items()),
        images=[replace(each, labels=label_of[each.labels]) for each in images],
        skeleton=skeleton,
    )
