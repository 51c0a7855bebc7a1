"""What people draw on pictures in a labelling tool, made into a data set.

The readers of such tools' files translate what is there into ``Picture``, ``Thing`` and ``Joint``;
what counts as an object, which joints belong to it and what is left out is one rule for all.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heatpoint.data import Annotations, Box, Id, Objects, check_names, joints_box
from heatpoint.data.images import image_size
from heatpoint.data.quads import NONE
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.outlines import ROTATED, Outline
from heatpoint.data.readers.steps import Size
from heatpoint.data.skeleton import Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError

SUBJECT = "object"
"""Class of what nobody named: joints without a box, and boxes of files that know no classes."""

_ROTATED = "rotated box read as upright"

MOST_JOINTS = 1000
"""Joints a skeleton may get from names of points: more are points that are counted, say."""


class Thing(NamedTuple):
    """A shape that may be an object.

    Attributes:
        label: Its class; ``""`` if it has none.
        outline: Where it is.
        where: What messages call it: "shape 3 of a.json".
        group: What its joints have in common with it; None if nothing.
        crowd: A crowd region.
        difficult: Not counted by VOC evaluation.
    """

    label: str
    outline: Outline
    where: str
    group: Hashable = None
    crowd: bool = False
    difficult: bool = False


class Joint(NamedTuple):
    """A named point.

    Attributes:
        name: What the joint is called.
        x: From the left, as the boxes.
        y: From the top.
        where: What messages call it.
        group: Its object, or what it has in common with the other joints of one; None if nothing.
        visibility: 0, 1 or 2 as in ``ImageRecord``.
        subject: The class of its object, where the joint tells.
    """

    name: str
    x: float
    y: float
    where: str
    group: Hashable = None
    visibility: int = 2
    subject: str = ""


class Note(NamedTuple):
    """Something that the owner of a picture should know.

    Attributes:
        kind: A key of ``TREATMENT``.
        detail: What exactly.
        lost: Whether something is left out for it.
    """

    kind: str
    detail: str
    lost: bool = False


class Picture(NamedTuple):
    """A picture and what is drawn on it.

    Attributes:
        name: What the annotations call it.
        size: (height, width) in pixels, or None.
        things: Shapes.
        joints: Points.
        split: The split it belongs to; ``""`` for none.
        notes: What else there is to say of it.
        unlabelled: Why it counts as not annotated, so that it is left out; ``""`` if it is.
    """

    name: str
    size: Size | None
    things: Sequence[Thing]
    joints: Sequence[Joint] = ()
    split: str = ""
    notes: Sequence[Note] = ()
    unlabelled: str = ""


def called(
    pictures: Sequence[Picture], forms: Sequence[Sequence[str]], file: Path, images: Path | None
) -> list[Picture]:
    """Returns pictures under those of several forms of their names that lead to the most files.

    Args:
        pictures: The pictures.
        forms: A name for each of them, the likeliest first.
        file: As for ``locate.most_found``.
        images: As for ``locate.most_found``.
    """
    chosen = forms[locate.most_found(forms, file, images)]
    return [each._replace(name=name) for each, name in zip(pictures, chosen, strict=True)]


def as_annotations(
    pictures: Sequence[Picture],
    file: Path,
    images: Path | None,
    split: str | None = None,
    classes: Iterable[str] = (),
    edges: Iterable[tuple[str, str]] = (),
    relative: bool = False,
) -> Annotations:
    """Returns the data set of pictures that still have to be found.

    An outline counts as the upright box around it, which is told. A point is a joint of the shape
    of its group; without a group, of the one box that holds it. Points of a group without a shape
    are a subject of their own, and so are all points of a picture on which nothing else is drawn
    and no two points are called the same. Where nothing but points is drawn in all of the set, in
    no groups, and some picture has two of one name, each is an object of the class of its name. Any
    other point is left out.

    Args:
        pictures: All pictures of the set, of all splits.
        file: The file of the annotations, or one in their folder.
        images: The folder of the pictures, if the user named one.
        split: The split to keep; None for all.
        classes: Classes in the order of the format; those that are missing are added, sorted, and
            those that are names of joints alone are dropped.
        edges: Names of joints that a bone joins.
        relative: Coordinates are shares of the picture's width and height.

    Raises:
        HeatpointError: There is no such split, no class, or ``locate_images`` refuses.
    """
    if _are_objects(pictures):
        pictures = [each._replace(things=_counted(each.joints), joints=()) for each in pictures]
    used = {thing.label for each in pictures for thing in each.things if thing.label}
    used |= {joint.subject for each in pictures for joint in each.joints if joint.subject}
    called = {joint.name for each in pictures for joint in each.joints if joint.name}
    listed = [name for name in dict.fromkeys(classes) if name in used or name not in called]
    listed = [name for name in listed if name]
    names = [*listed, *sorted(used.difference(listed))]
    if not names and called:
        names = [SUBJECT]
    annotations = Annotations(check_names(names, file), [], str(file))
    if called:
        annotations.skeleton = _skeleton(sorted(called), edges, file)
    if split is not None:
        splits = dict.fromkeys(each.split for each in pictures if each.split)
        if split not in splits:
            raise steps.no_such_split(file, split, splits, "one that its pictures name")
        pictures = [each for each in pictures if each.split == split]
    paths = locate.locate_images([each.name for each in pictures], annotations, file, images)
    taken: dict[Path, Picture] = {}
    for path, picture in zip(paths, pictures, strict=True):
        for kind, detail, lost in picture.notes:
            if lost:
                annotations.leave_out(kind, str(path), detail)
            else:
                annotations.say(kind, str(path), detail)
        if picture.unlabelled:
            annotations.leave_out("image not annotated", str(path), picture.unlabelled)
            continue
        if path in taken:
            detail = f"in {file.name}, with {len(picture.things) + len(picture.joints)} shapes"
            annotations.leave_out("image listed twice", str(path), detail)
        if path not in taken or not (taken[path].things or taken[path].joints):
            taken[path] = picture
    label_of = {name: label for label, name in enumerate(annotations.names)}
    objects = Objects(None if annotations.skeleton is None else len(annotations.skeleton))
    listed_images: list[tuple[Path, Size | None, Id, int]] = []
    for path, picture in taken.items():
        before = len(objects)
        size = _add(objects, path, picture, annotations, label_of, relative)
        listed_images.append((path, size, len(listed_images) + 1, len(objects) - before))
    annotations.images = objects.record(file, None, 0).divided(listed_images)
    return annotations


def _are_objects(pictures: Iterable[Picture]) -> bool:
    """Tells whether points are things that are counted, not joints of something."""
    twice = False
    for picture in pictures:
        if picture.things or any(joint.group is not None for joint in picture.joints):
            return False
        names = Counter(joint.name for joint in picture.joints)
        twice |= max(names.values(), default=0) > 1
    return twice


def _counted(joints: Iterable[Joint]) -> list[Thing]:
    """Returns points as objects of their own; hidden ones are difficult."""
    return [
        Thing(
            joint.name or SUBJECT,
            Outline((joint.x, joint.y, joint.x, joint.y)),
            joint.where,
            difficult=joint.visibility == 1,
        )
        for joint in joints
    ]


def _skeleton(joints: Sequence[str], edges: Iterable[tuple[str, str]], file: Path) -> Skeleton:
    if len(joints) > MOST_JOINTS:
        raise HeatpointError(
            f"{file}: points have {len(joints)} different names, such as {joints[0]!r}; joints of "
            f"a skeleton are {MOST_JOINTS} at most: name points by the joints they are"
        )
    place = {name: index for index, name in enumerate(joints)}
    bones = [(place[a], place[b]) for a, b in dict.fromkeys(edges) if a in place and b in place]
    return Skeleton(tuple(joints), tuple(bones), pairs_by_name(joints))


def _add(
    objects: Objects,
    path: Path,
    picture: Picture,
    annotations: Annotations,
    label_of: Mapping[str, int],
    relative: bool,
) -> Size | None:
    """Adds the objects of a picture and returns its size; what cannot be kept is counted."""
    skeleton, image = annotations.skeleton, str(path)
    size = picture.size
    if relative:
        try:
            size = image_size(path)
        except HeatpointError:
            for where in [each.where for each in picture.things]:
                annotations.leave_out("object of an unreadable image", image, where)
            picture = picture._replace(things=(), joints=())
    height, width = size if relative and size is not None else (1, 1)
    kept: list[Thing] = []
    for thing in picture.things:
        kind = thing.outline.kind
        detail = f"{thing.where}: {kind}" if kind else thing.where
        if thing.outline.box is None:
            annotations.leave_out("object without a box", image, detail)
        elif not thing.label:
            annotations.leave_out("object without a class", image, thing.where)
        else:
            kept.append(thing)
            if kind:
                told = _ROTATED if kind == ROTATED else "polygon read as its box"
                annotations.say(told, image, detail)
    scale = np.array((width, height, 1.0))
    owned = _owners(kept, picture.joints, annotations, image)
    for place, thing in enumerate(kept):
        x1, y1, x2, y2 = thing.outline.box or (math.nan,) * 4
        joints = _table(owned.pop(place, {}), skeleton) * scale if skeleton else None
        box = x1 * width, y1 * height, x2 * width, y2 * height
        corners = NONE if thing.outline.kind else None
        if thing.outline.corners is not None:
            corners = np.array(thing.outline.corners, np.float64) * (width, height)
        mark = thing.crowd, thing.difficult
        objects.add(box, label_of[thing.label], *mark, keypoints=joints, corners=corners)
    for joints_of in owned.values():  # those of subjects that nobody drew a box around
        first = next(iter(joints_of.values()))
        subject = first.subject or (annotations.names[0] if len(annotations.names) == 1 else "")
        table = _table(joints_of, skeleton) * scale if skeleton else np.zeros((0, 3))
        box_around = joints_box(table)
        if not subject:
            detail = f"{first.where} and the points of its group have no box that says their class"
            annotations.leave_out("object without a class", image, detail)
        elif box_around is None:
            annotations.leave_out("object without a box", image, f"{first.where}: none is visible")
        else:
            objects.add(box_around, label_of[subject], keypoints=table)
    return size


def _table(joints: Mapping[str, Joint], skeleton: Skeleton | None) -> np.ndarray:
    """Returns the joints of one object, (J, 3) as in ``ImageRecord``."""
    names = skeleton.joints if skeleton else ()
    rows = [joints.get(name) for name in names]
    points = [(0.0, 0.0) if joint is None else (joint.x, joint.y) for joint in rows]
    seen = [0 if joint is None else joint.visibility for joint in rows]
    return steps.as_joints(np.array(points, np.float64).reshape(-1, 2), seen)


def _owners(
    things: Sequence[Thing], joints: Sequence[Joint], annotations: Annotations, image: str
) -> dict[Hashable, dict[str, Joint]]:
    """Returns the joints of each thing, by its place, and of each subject without a box."""
    if not joints:
        return {}
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, thing in enumerate(things):
        if thing.group is not None:
            groups[thing.group].append(place)
    free = Counter(joint.name for joint in joints if joint.group is None)
    apart = not things and max(free.values(), default=0) < 2
    owned: dict[Hashable, dict[str, Joint]] = defaultdict(dict)
    for joint in joints:
        choice = groups.get(joint.group, []) if joint.group is not None else range(len(things))
        if joint.group is None or len(choice) > 1:
            choice = [place for place in choice if _holds(things[place].outline.box, joint)]
        lonely = not choice and (apart if joint.group is None else True)
        owner: Hashable = ("group", joint.group) if lonely else next(iter(choice), None)
        if not joint.name or len(choice) > 1 or owner is None:
            lies = f"lies in {len(choice) or 'no'} boxes" if things else "is alone"
            detail = f"{joint.where}, {joint.name!r}, {lies}, and no group says whose it is"
        elif joint.name in owned[owner]:
            detail = f"{joint.where} is the second {joint.name!r} of an object"
        else:
            owned[owner][joint.name] = joint
            continue
        annotations.leave_out("point of no object", image, detail)
    return owned


def _holds(box: Box | None, joint: Joint) -> bool:
    return box is not None and box[0] <= joint.x <= box[2] and box[1] <= joint.y <= box[3]
