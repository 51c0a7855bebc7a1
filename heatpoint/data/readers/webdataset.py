"""Reads WebDataset: .tar files of pictures, each with a .json file of its name beside it.

The .json file holds what COCO says of one image::

    {"image": {"id": 7, "height": 480, "width": 640},
     "annotations": [{"category_id": 1, "bbox": [10, 20, 30, 40]}],
     "categories": [{"id": 1, "name": "cat"}]}

``image`` may be lacking, and its fields stand beside ``annotations`` then. Without ``categories``,
the categories of the others count, or ``category_id`` is the name itself. ``data.shards`` says how
pictures are read from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from heatpoint.data import Annotations, Id
from heatpoint.data.formats import is_picture, matching
from heatpoint.data.readers import steps
from heatpoint.data.readers.coco_classes import as_id, read_classes
from heatpoint.data.readers.coco_objects import Columns, Item
from heatpoint.data.readers.given import Given
from heatpoint.data.shards import PACKED, SHARD, Place, files_in, named, plain_name
from heatpoint.errors import HeatpointError

_NOTHING = msgspec.Raw(b"null")


class _Image(msgspec.Struct):
    id: Any = None
    height: Any = None
    width: Any = None


class _Sample(_Image):
    """What a .json file says of its picture."""

    image: _Image | None = None
    annotations: list[Item] | None = None
    categories: msgspec.Raw = _NOTHING


class _Found:
    """What is found in the shards, one after the other."""

    def __init__(self, source: str) -> None:
        self.data = Annotations((), [], source)
        self.paths: list[Path] = []
        self.sizes: list[steps.Size | None] = []
        self.ids: list[Id | None] = []
        self.items: list[Item] = []
        self.classes = _Classes()
        self._decode = msgspec.json.Decoder(_Sample).decode

    def add(self, shard: Path) -> None:
        """Adds the samples of a shard.

        Raises:
            HeatpointError: It is damaged, or what it says means nothing.
        """
        pictures, texts = self._sorted(shard)
        with open(shard, "rb") as file:
            for key, picture in pictures.items():
                text = texts.pop(key, None)
                if text is None:
                    detail = f"no {key}.json is there"
                    self._leave_out("image without annotation file", shard / picture, detail)
                    continue
                file.seek(text.start)
                self._take(shard / picture, shard / f"{key}.json", file.read(text.length))
        for key in texts:
            detail = "no picture of this name is there"
            self._leave_out("unused label file", shard / f"{key}.json", detail)

    def _sorted(self, shard: Path) -> tuple[dict[str, str], dict[str, Place]]:
        """Returns the pictures, and where the .json files lie, by names without their endings."""
        pictures: dict[str, str] = {}
        texts: dict[str, Place] = {}
        for name, place in files_in(shard):
            plain = plain_name(name)
            path = PurePosixPath(plain)
            key = str(path.with_suffix("")) if plain else ""
            if not plain:
                if is_picture(PurePosixPath(name)):
                    detail = f"{name!r:.80} leads out of the file, or into a hidden folder"
                    self._leave_out("picture under a strange name", shard, detail)
            elif is_picture(path) and key in pictures:
                detail = f"{pictures[key]} is in {shard.name} already"
                self._leave_out("image listed twice", shard / plain, detail)
            elif is_picture(path):
                pictures[key] = plain
            elif path.suffix.lower() == ".json":
                texts.setdefault(key, place)
        return pictures, texts

    def _take(self, picture: Path, called: Path, text: bytes) -> None:
        try:
            sample = self._decode(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise steps.unexpected(called, "the JSON of one image", f"{error}") from None
        if sample.annotations is None:
            detail = f"{called.name} has no 'annotations'"
            self._leave_out("image not annotated", picture, detail)
            return
        about = sample if sample.image is None else sample.image
        self.classes.name(sample.categories, sample.annotations, called)
        for item in sample.annotations:
            item.image_id, item.id = len(self.paths), None
        self.items += sample.annotations
        self.paths.append(picture)
        self.sizes.append(steps.known_size(about.height, about.width))
        self.ids.append(as_id(about.id))

    def _leave_out(self, kind: str, path: Path, detail: str) -> None:
        self.data.leave_out(kind, str(path), detail)

    def finished(self, where: Path) -> Annotations:
        """Returns the data set.

        Raises:
            HeatpointError: No picture has an annotation.
        """
        if not self.paths:
            told = [f"; {f.image}: {f.detail}" for f in self.data.findings[:1]]
            raise HeatpointError(
                f"{where} holds no picture with a .json file of its name that has 'annotations'"
                f"{''.join(told)}"
            )
        listed = self.classes.listed(self.items, self.data)
        data = read_classes(listed, [item.category_id for item in self.items], where)
        data.findings += self.data.findings
        data.left_out |= self.data.left_out
        ids: Sequence[Id | None] = self.ids
        if None in ids or len(set(ids)) < len(ids):
            ids = range(1, len(self.paths) + 1)
        places: dict[Id, int] = {number: number for number in range(len(self.paths))}
        record, counts = Columns(self.items, places, self.paths, data).read(self.sizes)
        rows = zip(self.paths, self.sizes, ids, counts.tolist(), strict=True)
        data.images = record.divided(rows)  # type: ignore[arg-type]
        return data


class _Classes:
    """The categories of all samples, which are the same where their names are."""

    def __init__(self) -> None:
        self._ids: dict[str, Id] = {}
        self._content: dict[str, tuple[dict[str, Any], Path]] = {}
        self._read: dict[bytes, dict[Id, str]] = {}
        self._differ = 0

    def name(self, text: msgspec.Raw, items: Iterable[Item], where: Path) -> None:
        """Puts names in the place of ids, where a sample says what they mean.

        Raises:
            HeatpointError: A category is none, or of other joints than in another sample.
        """
        raw = bytes(text)
        if raw == bytes(_NOTHING):
            return
        if raw not in self._read:
            self._read[raw] = self._named(raw, where)
        meant = self._read[raw]
        for item in items:
            number = as_id(item.category_id)
            name = None if number is None else meant.get(number)
            item.category_id = item.category_id if name is None else name

    def _named(self, raw: bytes, where: Path) -> dict[Id, str]:
        try:
            categories = msgspec.json.decode(raw, type=list[dict[str, Any]])
        except msgspec.DecodeError:
            wanted = "'categories' to be a list of objects"
            raise steps.unexpected(where, wanted, f"{raw[:60]!r}") from None
        meant: dict[Id, str] = {}
        for item in categories:
            number, name = as_id(item.pop("id", None)), str(item.get("name") or "").strip()
            if number is None or not name:
                wanted = "categories to have an 'id' and a 'name'"
                raise steps.unexpected(where, wanted, f"{item!r:.60}")
            first, other = self._content.setdefault(name, (item, where))
            if any(first.get(key) != item.get(key) for key in ("keypoints", "skeleton")):
                raise HeatpointError(
                    f"{where}: the joints of {name!r} are others than in {other}; name and order "
                    "them alike"
                )
            self._differ += self._ids.setdefault(name, number) != number
            meant[number] = name
        return meant

    def listed(self, items: Iterable[Item], data: Annotations) -> list[dict[str, Any]]:
        """Returns all categories, and puts their ids in the place of names."""
        ids = self._ids
        if self._differ or len(set(ids.values())) < len(ids):
            detail = "one id means two classes, or one class has two; they are told by their names"
            data.say("class ids that differ", "", detail)
            ids = {name: number for number, name in enumerate(sorted(ids), start=1)}
        for item in items:
            if isinstance(item.category_id, str):
                item.category_id = ids.get(item.category_id, item.category_id)
        content = self._content
        return [content[name][0] | {"id": number} for name, number in ids.items()]


def _groups(folder: Path) -> dict[str, list[Path]]:
    """Returns the shards of a folder by their splits: what stands before their number, or a folder.

    ``train-000000.tar`` and ``train/000000.tar`` are of ``train``.
    """
    found: dict[str, list[Path]] = {}
    for path in matching(folder, f"*{SHARD}", f"*/*{SHARD}"):
        if path.is_file():
            own = path.parent.name if path.parent != folder else path.stem.rstrip("0123456789")
            found.setdefault(own.rstrip("-_.") or path.stem, []).append(path)
    return found


def read_webdataset(given: Given) -> Annotations:
    """Reads a .tar file, several that a pattern names, or those of a folder."""
    path = given.path
    if given.images is not None:
        raise HeatpointError(f"the pictures of {path} are in it; leave --images off")
    if path.name.lower().endswith(PACKED):
        raise HeatpointError(
            f"{path} is compressed, so that no part of it can be read alone; decompress it: "
            "pictures get no smaller by it"
        )
    if given.is_folder:
        groups = _groups(path)
        if given.split is not None and given.split not in groups:
            wanted = f"{given.split}-000000{SHARD} or a folder of {SHARD} files"
            raise steps.no_such_split(path, given.split, groups, wanted)
        shards = [
            one for name, some in groups.items() if given.split in (None, name) for one in some
        ]
    else:
        shards = named(given.without_split())
    found = _Found(str(path))
    with steps.without_collection():
        for shard in shards:
            found.add(shard)
        return found.finished(path)


def fits(given: Given) -> bool:
    """Returns whether it is a .tar file, or a folder of some."""
    if given.is_folder:
        return bool(_groups(given.path))
    return given.path.name.lower().endswith((SHARD, *PACKED))
