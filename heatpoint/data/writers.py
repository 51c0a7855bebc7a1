"""Writes data sets for other tools: COCO, YOLO, Pascal VOC and WebDataset, with their pictures."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal
from xml.sax.saxutils import escape

import msgspec
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord, Size
from heatpoint.data.combining import unified
from heatpoint.data.dividing import picture_names
from heatpoint.data.images import image_size
from heatpoint.data.readers.coco import as_coco
from heatpoint.data.shards import content, inside, is_file
from heatpoint.errors import HeatpointError
from heatpoint.system.files import partial_name, write_json

Form = Literal["coco", "yolo", "voc", "shards"]
Placing = Literal["leave", "link", "copy"]
"""What is done with pictures: nothing, a symbolic link to each, a copy of each."""

BYTES = 1 << 30
"""A new .tar file is begun where one holds so much: quick to copy, and few of them."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OUTSIDE = "corners outside of their picture, for which ultralytics leaves out the picture"


def write(
    parts: Mapping[str, Annotations],
    form: Form,
    out: str | Path,
    pictures: Placing | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Writes a data set as a new folder, all of it or nothing.

    ``coco``: ``NAME.json`` for each part, pictures in ``images``. ``yolo``: ``data.yaml``, pictures
    in ``images/NAME``, labels in ``labels/NAME``; keypoints and four corners as ultralytics reads
    them (pose, OBB). ``voc``: ``Annotations``, pictures in ``JPEGImages``, a list of each part in
    ``ImageSets/Main``; boxes are written as they are, pixel ``i`` covering ``[i, i + 1)``.
    ``shards``: ``NAME-000000.tar`` and more of each part, which hold pictures and annotations.

    A picture is called by its path below the folder that all of them have in common; in VOC, which
    has no folders, these become part of the name. Of pictures that differ in their endings only,
    the second is renamed, for labels are found by names without endings.

    Args:
        parts: The data sets by the names of their splits; their classes are brought together.
        form: The format.
        out: The folder to make; there may be an empty one.
        pictures: By default ``link``, for these formats find pictures beside their labels; with
            ``leave``, COCO files name the pictures where they are. Pictures in shards are copied.
        progress: Called with the number of pictures that are placed and of all.

    Returns:
        How many of each thing the format cannot say, in words: it is left out, or lost.

    Raises:
        HeatpointError: The folder holds something, a part has no images, YOLO or VOC would write
            the labels of a picture twice, a picture is missing (so that it cannot be placed, or its
            size is unknown), or the system refuses.
    """
    if form == "shards" and pictures == "leave":
        raise HeatpointError("shards hold their pictures, which cannot be left where they are")
    same = dict(zip(parts, unified(list(parts.values())), strict=True))
    paths = list(dict.fromkeys(record.path for part in same.values() for record in part.images))
    if form in ("yolo", "voc"):  # which have one file of labels for each picture
        often = Counter(record.path for part in same.values() for record in part.images)
        if twice := [path for path, times in often.items() if times > 1]:
            raise HeatpointError(
                f"{twice[0]} is listed more than once ({len(twice)} pictures are), and {form} has "
                "one file of labels for each; heatpoint merge joins what one data set says of a "
                "picture, and a picture can be in one split only"
            )
    lost = Counter[str]()
    with _new_folder(Path(out)) as folder:
        names = _names(paths, form)
        writer, home = _FORMS[form]
        homes = {
            record.path: home.format(name=name)
            for name, part in same.items()
            for record in part.images
        }
        for number, path in enumerate(paths if home and pictures != "leave" else (), start=1):
            _place(path, folder / homes[path] / names[path], pictures or "link")
            if progress is not None:
                progress(number, len(paths))
        # COCO files can name pictures anywhere: without names, they stay where they are.
        named = {} if form == "coco" and pictures == "leave" else names
        writer(_Job(same, folder, named, lost, progress))
    return dict(+lost)


@dataclass(frozen=True)
class _Job:
    """What a writer is told: the data sets, where they go, and what each picture is called there.

    Attributes:
        parts: The data sets by the names of their splits.
        folder: Where they go.
        names: What each picture is called; those that are left where they are have no name.
        lost: Grows by what the format cannot say.
        progress: Called with the number of pictures written and of all, by who writes pictures.
    """

    parts: Mapping[str, Annotations]
    folder: Path
    names: Mapping[Path, str]
    lost: Counter[str]
    progress: Callable[[int, int], None] | None


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yields a folder that becomes ``out`` once everything is in it."""
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HeatpointError(f"{out} holds something already; choose a new folder")
    temporary = partial_name(out)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise HeatpointError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _names(paths: Sequence[Path], form: str) -> dict[Path, str]:
    """Returns a name for each picture; no two are the same without their endings.

    There are no folders in them for VOC, nor for YOLO where one would lead to other labels.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path, name in zip(paths, picture_names(paths), strict=True):
        leads = not {"images", "labels", "label"}.isdisjoint(name.lower().split("/")[:-1])
        flat = form == "voc" or (form == "yolo" and leads)
        whole = PurePosixPath(name.replace("/", "_") if flat else name)
        stems = (whole.stem, f"{whole.stem}_{whole.suffix[1:]}")
        numbered = (f"{whole.stem}_{number}" for number in range(2, len(paths) + 3))
        choice = (whole.with_name(f"{stem}{whole.suffix}") for stem in (*stems, *numbered))
        # Some file systems take a.jpg and A.jpg for one.
        chosen = next(each for each in choice if _key(each) not in taken)
        taken.add(_key(chosen))
        names[path] = str(chosen)
    return names


def _key(name: PurePosixPath) -> str:
    return str(name.with_suffix("")).casefold()


def _place(path: Path, target: Path, how: Placing) -> None:
    if not is_file(path):
        raise HeatpointError(
            f"{path} does not exist, so it cannot be placed beside its labels; give the folder of "
            "the pictures by --images, or --pictures leave"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if inside(path):
        target.write_bytes(content(path))
    elif how == "copy":
        shutil.copy2(path, target)
    else:
        target.symlink_to(os.path.realpath(path))


def _write_coco(job: _Job) -> None:
    for name, part in job.parts.items():
        images = [_sound(record, job.lost) for record in part.images]
        if job.names:
            images = [
                replace(each, path=job.folder / "images" / job.names[each.path]) for each in images
            ]
        write_json(job.folder / f"{name}.json", as_coco(replace(part, images=images), job.folder))


def _sound(record: ImageRecord, lost: Counter[str]) -> ImageRecord:
    """Returns the record without boxes that no format can say, which are counted."""
    finite = np.asarray(np.isfinite(record.boxes).all(1))
    lost["non-finite boxes, left out"] += int((~finite).sum())
    return record.keep(finite)


def _plain(record: ImageRecord, lost: Counter[str]) -> tuple[ImageRecord, Size]:
    """Returns a record without what YOLO and VOC cannot say, which is counted, and its size."""
    record = _sound(record, lost)
    lost["crowd regions, left out"] += int(record.crowd.sum())
    record = record.keep(~record.crowd)
    good = np.asarray((record.boxes[:, 2:] > record.boxes[:, :2]).all(1))
    lost["boxes without area, left out"] += int((~good).sum())
    record = record.keep(good)
    if record.heads is not None:
        lost["head sizes"] += int(np.isfinite(record.heads).sum())
    try:
        return record, image_size(record.path)
    except HeatpointError:
        if record.size is None:
            raise
        return record, record.size


def _write_yolo(job: _Job) -> None:
    import yaml

    parts, lost = job.parts, job.lost
    first = next(iter(parts.values()))
    skeleton = first.skeleton
    content: dict[str, object] = {name: f"images/{name}" for name in parts}
    content["names"] = dict(enumerate(first.names))
    if skeleton is not None:
        content["kpt_shape"] = [len(skeleton), 3]
        content["flip_idx"] = list(skeleton.flip)
        content["kpt_names"] = {label: list(skeleton.joints) for label in range(len(first.names))}
        content["skeleton"] = [list(edge) for edge in skeleton.edges]
        lost["classes with joints of their own"] += len(skeleton.slices)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (job.folder / "data.yaml").write_text(text, encoding="utf-8")
    for name, part in parts.items():
        for record in part.images:
            record, (height, width) = _plain(record, lost)
            lost["marks of difficult objects"] += int(record.difficult.sum())
            scale = np.array((width, height), np.float64)
            corners = record.boxes.reshape(-1, 2, 2) / scale
            rows = np.column_stack((corners.mean(1), corners[:, 1] - corners[:, 0]))
            if record.quads is not None and skeleton is not None:
                lost["four corners, of which the box is left"] += len(record)  # no line has both
            elif record.quads is not None:
                rows = (record.quads / scale).reshape(-1, 8)
                lost[_OUTSIDE] += int((np.abs(rows - 0.5) > 0.51).any(1).sum())
            if skeleton is None and record.keypoints is not None:
                lost["joints without names"] += int((record.keypoints[..., 2] > 0).sum())
            if skeleton is not None:
                joints = record.joints(len(skeleton))
                joints = joints / (*scale, 1)
                rows = np.column_stack((rows, joints.reshape(len(rows), 3 * len(skeleton))))
            lines = (_numbers(label, row) for label, row in zip(record.labels, rows, strict=True))
            name_there = PurePosixPath(job.names[record.path]).with_suffix(".txt")
            file = job.folder / "labels" / name / name_there
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(lines), encoding="utf-8")


def _numbers(label: int, row: NDArray[np.float64]) -> str:
    # Nine digits are a ten-thousandth of a pixel of any picture.
    return " ".join((str(label), *(f"{value:.9g}" for value in row.tolist()))) + "\n"


def _write_voc(job: _Job) -> None:
    folder, names, lost = job.folder, job.names, job.lost
    present = Counter[str]()
    for name, part in job.parts.items():
        stems = []
        for record in part.images:
            record, size = _plain(record, lost)
            if record.quads is not None:
                lost["four corners, of which the box is left"] += len(record)
            if record.keypoints is not None:
                lost["joints"] += int((record.keypoints[..., 2] > 0).sum())
            present.update(part.names[label] for label in record.labels.tolist())
            stems.append(PurePosixPath(names[record.path]).stem)
            file = folder / "Annotations" / f"{stems[-1]}.xml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(_xml(record, names[record.path], size, part.names), encoding="utf-8")
        listed = folder / "ImageSets" / "Main" / f"{name}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    classes = next(iter(job.parts.values())).names
    lost["classes without an object, which VOC does not list"] += len(classes) - len(present)


def _xml(record: ImageRecord, name: str, size: Size, names: Sequence[str]) -> str:
    """Returns the VOC file of one picture."""
    height, width = size
    head = f"  <filename>{escape(name)}</filename>\n  <size><width>{width}</width>"
    head += f"<height>{height}</height><depth>3</depth></size>\n"
    rows = zip(record.labels.tolist(), record.boxes.tolist(), record.difficult, strict=True)
    objects = "".join(
        f"  <object>\n    <name>{escape(names[label])}</name>\n"
        f"    <difficult>{int(difficult)}</difficult>\n    <bndbox>"
        + "".join(f"<{key}>{side:.9g}</{key}>" for key, side in zip(_CORNERS, box, strict=True))
        + "</bndbox>\n  </object>\n"
        for label, box, difficult in rows
    )
    return f"<annotation>\n{head}{objects}</annotation>\n"


def _write_shards(job: _Job) -> None:
    """Writes ``NAME-000000.tar``, ``NAME-000001.tar`` ... of each part."""
    parts, lost = job.parts, job.lost
    done, total = 0, sum(map(len, parts.values()))
    used = set[int]()
    for part_name, part in parts.items():
        packer = _Packer(job.folder / part_name)
        written = set[Path]()
        with closing(packer):
            for record in part.images:
                if record.path in written:
                    lost["pictures listed a second time, left out with their objects"] += 1
                else:
                    used.update(record.labels.tolist())
                    packer.add(job.names[record.path], record, part)
                written.add(record.path)
                done += 1
                if job.progress is not None:
                    job.progress(done, total)
    classes = next(iter(parts.values())).names
    lost["classes without an object, which shards do not list"] += len(classes) - len(used)


class _Packer:
    """The .tar files of one split."""

    def __init__(self, start: Path) -> None:
        self._start, self._number = start, 0
        self._archive: tarfile.TarFile | None = None
        self._keys = set[str]()

    def add(self, name: str, record: ImageRecord, part: Annotations) -> None:
        """Adds a picture and its annotation."""
        try:
            picture = content(record.path)
        except OSError as error:
            raise HeatpointError(
                f"{record.path} cannot be read ({error.strerror or 'it is not there'}), so it "
                "cannot be packed; give the folder of the pictures by --images"
            ) from None
        if record.size is None:
            with suppress(HeatpointError):  # whoever trains is told
                record = replace(record, size=image_size(picture, str(record.path)))
        # Other readers of such files take what follows the first dot for the ending.
        path = PurePosixPath(name)
        key = str(path.with_name(path.stem.replace(".", "_")))
        while key in self._keys:  # a_1.0.jpg beside a_1_0.jpg
            key += "_"
        self._keys.add(key)
        for ending, data in ((path.suffix, picture), (".json", _told(record, part, key))):
            member = tarfile.TarInfo(key + ending)
            member.size = len(data)
            archive = self._open(ending != ".json")
            archive.addfile(member, io.BytesIO(data))
            archive.members = []  # type: ignore[attr-defined] # it would keep all of them

    def _open(self, may_change: bool) -> tarfile.TarFile:
        """Returns the file to write to, a new one where the last is full."""
        if may_change and self._archive is not None and self._archive.offset >= BYTES:
            self.close()
        if self._archive is None:
            self._archive = tarfile.open(f"{self._start}-{self._number:06}.tar", "w")  # noqa: SIM115
            self._number += 1
        return self._archive

    def close(self) -> None:
        """Ends the file that is written."""
        if self._archive is not None:
            self._archive.close()
        self._archive = None


def _told(record: ImageRecord, part: Annotations, key: str) -> bytes:
    """Returns the JSON that stands beside a picture."""
    whole = as_coco(replace(part, images=[replace(record, path=Path(key + record.path.suffix))]))
    return msgspec.json.encode(
        {
            "image": whole["images"][0],
            "annotations": whole["annotations"],
            "categories": [whole["categories"][i] for i in sorted(set(record.labels.tolist()))],
        }
    )


_FORMS: dict[Form, tuple[Callable[[_Job], None], str]] = {
    "coco": (_write_coco, "images"),
    "yolo": (_write_yolo, "images/{name}"),
    "voc": (_write_voc, "JPEGImages"),
    "shards": (_write_shards, ""),
}
"""Who writes each format, and the folder of its pictures; "" where they go into its own files."""
