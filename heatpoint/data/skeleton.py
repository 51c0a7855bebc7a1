"""Names a subject's joints, says which are joined by a bone and which a mirror image swaps."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.files import read_json

Side = Literal["left", "right", "middle"]
Pairs = tuple[tuple[int, int], ...]

# "LWrist" is L, Wrist; "paw1LH_top" is paw, 1, LH, top.
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SIDES: tuple[Side, Side] = ("left", "right")
_CODES = {
    code: (side, part)
    for side in _SIDES
    for part in ("", "f", "h", "m", "b")
    for code in (side[0] + part, part + side[0])
}
"""Side and limb (front, hind, middle or back) of ``l``, ``LF`` and ``hr``."""


@dataclass(frozen=True)
class Skeleton:
    """The joints of one subject, in the order of every array of joints.

    Where classes have joints of their own, those of all classes stand one behind the other, and
    the joints of a class are a slice of the keypoints, (N, J, 3); ``joined`` makes such a skeleton.

    Attributes:
        joints: Names, all different.
        edges: Indices of two joints each that a drawing connects.
        pairs: Indices of a left and a right joint each that a mirror image swaps.
        slices: First joint and joint behind the last of each class, by label, the same number
            twice for a class without joints; empty where all classes share all joints.

    Raises:
        HeatpointError: No joint, names that are empty or occur twice, an index that is no joint, a
            joint in two pairs or paired with itself (a flip done twice must change nothing), a
            slice that is empty or reaches beyond the joints.

    Example:
        >>> arm = Skeleton(("nose", "left_wrist", "right_wrist"), pairs=((1, 2),))
        >>> arm.flip, arm.sides
        ((0, 2, 1), ('middle', 'left', 'right'))
    """

    joints: tuple[str, ...]
    edges: Pairs = ()
    pairs: Pairs = ()
    slices: Pairs = ()

    def __post_init__(self) -> None:
        if not self.joints:
            raise HeatpointError("a skeleton needs at least one joint, got none")
        known: dict[str, int] = {}
        for index, name in enumerate(self.joints):
            if not name:
                raise HeatpointError(f"joint {index} of the skeleton has an empty name; name it")
            if known.setdefault(name, index) != index:
                raise HeatpointError(
                    f"joints {known[name]} and {index} of the skeleton are both called "
                    f"{name!r}; rename one"
                )
        for what in ("edges", "pairs"):
            for one, other in getattr(self, what):
                if not (0 <= one < len(self.joints) and 0 <= other < len(self.joints)):
                    raise HeatpointError(
                        f"{what} of the skeleton name joints {one} and {other}, expected indices "
                        f"from 0 to {len(self.joints) - 1}"
                    )
        for label, (start, stop) in enumerate(self.slices):
            if not 0 <= start <= stop <= len(self.joints):
                raise HeatpointError(
                    f"slices of the skeleton give class {label} the joints from {start} up to "
                    f"{stop}, expected numbers between 0 and {len(self.joints)} that ascend"
                )
        for index, times in Counter(index for pair in self.pairs for index in pair).items():
            if times > 1:
                raise HeatpointError(
                    f"pairs of the skeleton mention joint {index} ({self.joints[index]}) twice, so "
                    "that a flip done twice would not give the pose back; put a joint into one "
                    "pair at most, and never with itself"
                )

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def flip(self) -> tuple[int, ...]:
        """Joint whose place each joint takes in a mirror image; applied twice it is nothing."""
        order = list(range(len(self.joints)))
        for one, other in self.pairs:
            order[one], order[other] = other, one
        return tuple(order)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Side of each joint: by its name; else by its place in a pair, of which left is first."""
        sides: list[Side] = [name_side(name)[0] for name in self.joints]
        for one, other in self.pairs:
            if {sides[one], sides[other]} != {"left", "right"}:
                sides[one], sides[other] = "left", "right"
        return tuple(sides)

    def joints_of(self, label: int) -> slice:
        """Returns where the joints of class ``label`` are in an array of joints.

        Example:
            >>> dog, car = Skeleton(("nose",)), Skeleton(("bonnet", "boot"))
            >>> both = Skeleton.joined(("dog", "car"), (dog, car))
            >>> both.joints[both.joints_of(1)]
            ('bonnet', 'boot')
        """
        return slice(*self.slices[label]) if self.slices else slice(0, len(self.joints))

    def part(self, label: int) -> Skeleton | None:
        """Returns the joints of class ``label`` as a skeleton; None if it has none."""
        joints = self.joints_of(label)
        return self._cut(joints.start, joints.stop)

    def parts(self, names: Sequence[str]) -> list[Skeleton | None]:
        """Returns the skeleton of each class, of which ``joined`` makes this one.

        Joints have the names that they had before, without those of classes in front.

        Args:
            names: Class names, in label order.
        """
        whole = [self.part(label) for label in range(len(names))]
        owners: dict[Skeleton | None, str] = {}
        for one, name in zip(whole, names, strict=True):
            owners.setdefault(one, name)
        fronts = {one: f"{name}_" for one, name in owners.items() if one is not None}
        behind = [
            joint.removeprefix(front)
            for one, front in fronts.items()
            for joint in one.joints
            if joint.startswith(front)
        ]
        shared = {joint for joint, times in Counter(behind).items() if times > 1}

        def plain(one: Skeleton) -> Skeleton:
            short = {f"{fronts[one]}{joint}": joint for joint in shared}
            return replace(one, joints=tuple(short.get(joint, joint) for joint in one.joints))

        bare = [one and plain(one) for one in whole]
        with suppress(HeatpointError):  # joints called the same
            if self.slices and Skeleton.joined(names, bare) == self:
                return bare
        return whole

    def _cut(self, start: int, stop: int) -> Skeleton | None:
        def within(indices: Pairs) -> Pairs:
            kept = (pair for pair in indices if start <= min(pair) and max(pair) < stop)
            return tuple((one - start, other - start) for one, other in kept)

        if start == stop:
            return None
        return Skeleton(self.joints[start:stop], within(self.edges), within(self.pairs))

    def chosen(
        self, names: Sequence[str], parts: Sequence[tuple[int, int]]
    ) -> tuple[Skeleton | None, list[int]]:
        """Returns the joints of some classes, and the place here of each; None where none is left.

        Args:
            names: Class names.
            parts: The slice of each class, as in ``slices``.
        """
        order = [joint for part in dict.fromkeys(parts) for joint in range(*part)]
        if not order:
            return None, order
        return Skeleton.joined(names, [self._cut(*part) for part in parts]), order

    @classmethod
    def joined(cls, names: Sequence[str], skeletons: Sequence[Skeleton | None]) -> Skeleton:
        """Returns the skeletons of several classes, one behind the other.

        Classes with equal skeletons share the joints; where all do, there are no ``slices``. A
        joint whose name occurs in several skeletons gets the name of its first class in front:
        ``dog_nose`` and ``cat_nose``.

        Args:
            names: Class names, in label order.
            skeletons: The skeleton of each class, without ``slices``; None for one without joints.

        Raises:
            HeatpointError: No class has joints, or joints are called the same even so.
        """
        owners: dict[Skeleton, str] = {}
        for name, one in zip(names, skeletons, strict=True):
            if one is not None:
                owners.setdefault(one, name)
        if len(owners) == 1 and None not in skeletons:
            return next(iter(owners))
        times = Counter(joint for one in owners for joint in one.joints)
        joints: list[str] = []
        edges, pairs = [], []
        places: dict[Skeleton | None, tuple[int, int]] = {None: (0, 0)}
        for one, name in owners.items():
            start = len(joints)
            joints += [f"{name}_{joint}" if times[joint] > 1 else joint for joint in one.joints]
            edges += [(start + a, start + b) for a, b in one.edges]
            pairs += [(start + a, start + b) for a, b in one.pairs]
            places[one] = start, len(joints)
        slices = tuple(places[one] for one in skeletons)
        return cls(tuple(joints), tuple(edges), tuple(pairs), slices)

    def as_dict(self) -> dict[str, Any]:
        """Returns the skeleton as JSON values; ``from_dict`` gives it back."""
        values = {"edges": self.edges, "pairs": self.pairs}
        if self.slices:
            values["slices"] = self.slices
        return {"joints": list(self.joints)} | {k: [list(p) for p in v] for k, v in values.items()}

    @classmethod
    def from_dict(cls, data: Any, where: str | Path) -> Skeleton:
        """Returns the skeleton of ``{"joints": [...], "edges": [...], "pairs": [...]}``.

        Edges and pairs hold indices from 0 or names. Without ``pairs``, those that the names tell
        are taken (``pairs_by_name``); an empty list means none. ``slices`` may be there as well.

        Args:
            data: The object.
            where: What errors call it: the file, say.

        Raises:
            HeatpointError: It is something else, or no sound skeleton; names ``where``.
        """
        wanted = '{"joints": [names], "edges": [[a, b], ...], "pairs": [[left, right], ...]}'
        if not isinstance(data, dict) or not isinstance(data.get("joints"), list):
            got = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise HeatpointError(f"{where}: expected a skeleton {wanted}, got {got}")
        unknown = sorted(set(data) - {"joints", "edges", "pairs", "slices"})
        if unknown:
            raise HeatpointError(f"{where}: a skeleton has no {unknown[0]!r}; expected {wanted}")
        joints = tuple(map(str, data["joints"]))
        given = {"pairs": pairs_by_name(joints)}
        for what in data.keys() - {"joints"}:
            given[what] = _index_pairs(data[what], joints, f"{where}: {what}")
        try:
            return cls(joints, **given)
        except HeatpointError as error:
            raise HeatpointError(f"{where}: {error}") from None

    @classmethod
    def load(cls, path: str | Path) -> Skeleton:
        """Reads a skeleton from a JSON file of the form of ``from_dict``.

        Raises:
            HeatpointError: The file is missing, no JSON, or no sound skeleton.
        """
        return cls.from_dict(read_json(path), path)


def name_side(name: str) -> tuple[Side, str]:
    """Returns the side that a joint's name tells, and the name without it.

    The name is split at separators, digits and capitals. One word must be ``left``, ``right``,
    ``l`` or ``r`` or begin or end in the long forms (``leftear``), or be a code of a limb (``LF``,
    ``hr``: a side with front, hind, middle or back). A name with no such word, or with several,
    is in the middle: ``lankle`` and ``Lear`` say too little.

    Example:
        >>> name_side("left_wrist"), name_side("paw3RF_top")
        (('left', 'wrist'), ('right', 'paw 3 f top'))
    """
    words = [word.lower() for word in _WORD.findall(name)]
    told: list[tuple[int, Side, str]] = []
    for place, word in enumerate(words):
        if word in _CODES:
            told.append((place, *_CODES[word]))
        for side in _SIDES:
            if word.startswith(side) or word.endswith(side):
                told.append((place, side, word.replace(side, "", 1)))
    if len(told) != 1:
        return "middle", " ".join(words)
    place, where, rest = told[0]
    words[place] = rest
    return where, " ".join(word for word in words if word)


def pairs_by_name(joints: Sequence[str]) -> Pairs:
    """Returns the (left, right) pairs that names tell: those equal but for their side.

    Names that match nothing are compared again without their numbers, and paired where just one
    left and one right name are then equal: ``paw1LH_top`` and ``paw4RH_top``.
    """
    told = [name_side(name) for name in joints]
    pairs: list[tuple[int, int]] = []
    for numbers in (True, False):
        found: dict[str, dict[Side, list[int]]] = defaultdict(lambda: {"left": [], "right": []})
        done = {index for pair in pairs for index in pair}
        for index, (side, rest) in enumerate(told):
            if side != "middle" and index not in done:
                words = [word for word in rest.split() if numbers or not word.isdigit()]
                found[" ".join(words)][side].append(index)
        for sides in found.values():
            if len(sides["left"]) == len(sides["right"]) == 1:
                pairs.append((sides["left"][0], sides["right"][0]))
    return tuple(sorted(pairs))


def _index_pairs(value: Any, joints: tuple[str, ...], what: str) -> Pairs:
    """Reads pairs of joints given by index or name."""
    if not isinstance(value, list):
        raise HeatpointError(f"{what}: expected a list of pairs, got {type(value).__name__}")
    pairs: list[tuple[int, int]] = []
    for item in value:
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise HeatpointError(f"{what}: expected two joints, got {item!r}")
        for joint in item:
            if type(joint) is not int and joint not in joints:
                raise HeatpointError(
                    f"{what}: expected a joint's name or index, got {joint!r}"
                    f"{suggest(str(joint), joints)}"
                )
        one, other = (joints.index(joint) if joint in joints else joint for joint in item)
        pairs.append((one, other))
    return tuple(pairs)


def _built(names: str, edges: str) -> Skeleton:
    """Builds a shipped skeleton from names, which tell its pairs, and edges like ``0-1 1-2``.

    Pairs are in the order of their right joints, as files have them that name these skeletons.
    """
    joints = tuple(names.split())
    bones = [(int(one), int(other)) for one, other in re.findall(r"(\d+)-(\d+)", edges)]
    pairs = sorted(pairs_by_name(joints), key=lambda pair: pair[1])
    return Skeleton(joints, tuple(bones), tuple(pairs))


SKELETONS: dict[str, Skeleton] = {
    "coco17": _built(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
        "right_ankle",
        "15-13 13-11 16-14 14-12 11-12 5-11 6-12 5-6 5-7 6-8 7-9 8-10 1-2 0-1 0-2 1-3 2-4 3-5 4-6",
    ),
    "mpii16": _built(
        "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck "
        "head_top right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist",
        "0-1 1-2 2-6 6-3 3-4 4-5 6-7 7-8 8-9 10-11 11-12 12-7 7-13 13-14 14-15",
    ),
    "lsp14": _built(
        "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow "
        "right_shoulder left_shoulder left_elbow left_wrist neck head_top",
        "0-1 1-2 2-3 3-4 4-5 2-8 3-9 8-12 12-9 6-7 7-8 9-10 10-11 12-13",
    ),
    "flic11": _built(
        "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist left_hip "
        "right_hip left_eye right_eye nose",
        "0-1 1-2 3-4 4-5 0-3 0-6 3-7 6-7 0-10 3-10 8-10 9-10",
    ),
    "face5": _built("right_eye left_eye nose right_mouth left_mouth", "0-1 0-2 1-2 2-3 2-4 3-4"),
}
"""Skeletons that ship: COCO keypoints, MPII, Leeds Sports Pose, Frames Labeled In Cinema, and the
five landmarks of WIDER FACE; left is the subject's own."""


def skeleton_of(name_or_path: str | Path) -> Skeleton:
    """Returns the shipped skeleton of that name, or the one of a JSON file.

    Raises:
        HeatpointError: It is neither, or the file holds no sound skeleton.
    """
    if str(name_or_path) in SKELETONS:
        return SKELETONS[str(name_or_path)]
    if not os.path.isfile(name_or_path):
        raise HeatpointError(
            f"{str(name_or_path)!r} is no skeleton; expected one of {', '.join(SKELETONS)}, or a "
            f"JSON file{suggest(str(name_or_path), SKELETONS)}"
        )
    return Skeleton.load(name_or_path)
