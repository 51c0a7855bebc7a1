"""What the categories of a COCO file say: classes, their ids and order, and their joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heatpoint.data import Annotations, Id, check_names
from heatpoint.data.findings import Finding
from heatpoint.data.readers import steps
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.system.files import fits


def as_id(value: Any) -> Id | None:
    """Returns an id as the file has it (7.0 is 7); None for what is no number or text."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_classes(
    categories: Sequence[dict[str, Any]], used: Sequence[Any], path: Path
) -> Annotations:
    """Returns a data set without images, its classes by their ids: numbers first, then texts.

    Roboflow lists the project itself as class 0, above the real ones: it is left out where no
    object has it. A file without categories gets one class for each id that its objects have.

    Args:
        categories: The section of the file; empty if it has none.
        used: The ``category_id`` of each object.
        path: The file.

    Raises:
        HeatpointError: A name or id stands for two classes, there is none, or joints are wrong.
    """
    seen = {given for given in map(as_id, _hashable(used)) if given is not None}
    told: list[Finding] = []
    listed: dict[Id, dict[str, Any]] = {}
    for item in categories or [{"id": number} for number in seen]:
        number = as_id(item.get("id"))
        if number is None:
            wanted = f"a number or text as 'id' of {item.get('name')!r} in 'categories'"
            raise steps.unexpected(path, wanted, repr(item.get("id")))
        name = str(item.get("name") or "").strip()
        if not name:
            name = str(number)
            told.append(Finding("class without a name", "", f"class {number!r} in {path.name}"))
        first = listed.setdefault(number, item | {"name": name})
        if first["name"] != name:
            both = f"{first['name']!r} and {name!r}"
            raise HeatpointError(f"{path}: in 'categories', {both} share the id {number}")
    repeated = len(categories) - len(listed) if categories else 0
    root = _root(listed, {str(each) for each in seen})
    if root is not None:
        del listed[root]
    ids = tuple(sorted(listed, key=id_order))
    kept = [listed[number] for number in ids]
    names = check_names([item["name"] for item in kept], path)
    skeleton = _skeleton(kept, names, path)
    annotations = Annotations(names, [], str(path), ids, findings=told, skeleton=skeleton)
    if root is not None:
        detail = f"id {root!r} is Roboflow's name of the project; no object has it"
        annotations.leave_out("class left out", "", detail)
    for _ in range(repeated):
        annotations.leave_out("class left out", "", f"{path.name} lists a class a second time")
    return annotations


def _hashable(values: Sequence[Any]) -> set[Any]:
    try:
        return set(values)
    except TypeError:
        return {value for value in values if isinstance(value, int | float | str)}


def id_order(number: Id) -> tuple[bool, int, str]:
    """Returns what ids are sorted by; "10" comes after "9"."""
    plain = str(number)
    is_number = (plain.isdecimal() and len(plain) < 40) or isinstance(number, int)
    return not is_number, int(number) if is_number else 0, plain


def _root(listed: Mapping[Id, dict[str, Any]], used: set[str]) -> Id | None:
    """Returns the id of the class that is Roboflow's name of the whole project, if there is one."""
    for number, item in listed.items():
        if str(number) == "0" and item.get("supercategory") == "none" and "0" not in used:
            others = [other for other in listed.values() if other is not item]
            if any(item["name"] in (each["name"], each.get("supercategory")) for each in others):
                return number
    return None


def _skeleton(
    categories: Sequence[dict[str, Any]], names: Sequence[str], path: Path
) -> Skeleton | None:
    """Returns the joints that the categories name, of each its own; None if no category names any.

    Pairs come from ``flip_pairs`` (indices from 0) where it is there, else from names that differ
    in their side only (``skeleton.pairs_by_name``).

    Raises:
        HeatpointError: An edge or pair is wrong.
    """
    found: list[Skeleton | None] = []
    for item in categories:
        if not item.get("keypoints"):
            found.append(None)
            continue
        joints, where = item["keypoints"], f"{path}: category {item['name']!r}"
        if not isinstance(joints, list):
            raise steps.unexpected(where, "'keypoints' to list names", repr(joints))
        plain = {"joints": joints, "edges": _from_zero(item.get("skeleton"), len(joints), where)}
        if "flip_pairs" in item:
            plain["pairs"] = item["flip_pairs"]
        found.append(Skeleton.from_dict(plain, where))
    return Skeleton.joined(names, found) if any(found) else None


def _from_zero(edges: Any, joints: int, where: str) -> list[list[int]]:
    edges = edges or []
    for edge in edges if isinstance(edges, list) else [edges]:
        sound = fits(edge, list[int]) and len(edge) == 2
        if not sound or not all(1 <= end <= joints for end in edge):
            wanted = f"edges of 'skeleton' to be two numbers from 1 to {joints}"
            raise steps.unexpected(where, wanted, repr(edge))
    return [[one - 1, other - 1] for one, other in edges]
