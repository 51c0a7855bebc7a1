"""Reads Pascal VOC folders: one XML file per image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from defusedxml import ElementTree

from heatpoint.data import Annotations, Box, Objects, check_names
from heatpoint.data.readers import locate, steps
from heatpoint.data.readers.given import Format
from heatpoint.errors import HeatpointError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class _Image(NamedTuple):
    """What one XML file says; objects are class, corners (None if absent) and difficult or not."""

    filename: str
    size: tuple[int, int] | None
    objects: list[tuple[str, Box | None, bool]]


def read_voc(folder: str | Path, split: str | None = None) -> Annotations:
    """Reads a Pascal VOC folder (``Annotations``, ``JPEGImages``, ``ImageSets/Main``).

    The classes are the sorted names found in all of ``Annotations``, whatever the split, so that
    train and val agree on them. Corners stay as they are written. The VOC challenge itself counts
    pixels from 1 and includes the last one, which would make ``xmin - 1`` the continuous corner;
    nearly all other files in this format (LabelImg, CVAT, most published sets) write plain pixel
    corners, nothing in a file tells the two apart, and the difference is at most one pixel.

    An image that is listed but has no XML file is left out and counted: unlike an XML file
    without objects, it may simply not be labelled yet.

    Args:
        folder: The folder that holds ``Annotations``.
        split: Name of a list in ``ImageSets/Main``; None reads every XML file.

    Raises:
        HeatpointError: The folder or split does not exist, there is no XML file, an XML file is
            broken, or no object has a class.
    """
    folder = Path(folder)
    labels, pictures = folder / "Annotations", folder / "JPEGImages"
    files = {path.stem: path for path in sorted(labels.glob("*.xml"))}
    if not files:
        raise steps.unexpected(folder, f"XML files in {labels}", "none")
    images = locate.index_images(pictures)
    parsed = _parse_all(files)
    found = {name for image in parsed.values() for name, _, _ in image.objects if name}
    names = check_names(sorted(found), labels)
    stems = sorted(files.keys() | images.keys()) if split is None else _split(folder, split, files)
    annotations = Annotations(names, [], str(folder))
    listed = (images.get(stem, pictures / f"{stem}.jpg") for stem in stems)
    for path in steps.once(listed, annotations, split):
        image = parsed.get(path.stem)
        if image is None:
            detail = f"expected {labels / path.stem}.xml"
            annotations.leave_out("image without annotation file", str(path), detail)
            continue
        file, objects = files[path.stem].name, Objects()
        if path.stem not in images:
            path = images.get(locate.image_stem(image.filename), path)
        for number, (name, box, difficult) in enumerate(image.objects, start=1):
            what = f"object {number} of {file}"
            if not name:
                annotations.leave_out("object without a class", str(path), f"{what} has no <name>")
            elif box is None:
                detail = f"{what}: expected numbers xmin, ymin, xmax, ymax in <bndbox>"
                annotations.leave_out("object without a box", str(path), detail)
            else:
                objects.add(box, names.index(name), difficult=difficult)
        annotations.images.append(objects.record(path, image.size, len(annotations.images) + 1))
    return annotations


def _parse_all(files: dict[str, Path]) -> dict[str, _Image]:
    parsed: dict[str, _Image] = {}
    broken: list[str] = []
    for stem, path in files.items():
        try:
            parsed[stem] = _parse(ElementTree.parse(path).getroot())
        # Besides broken XML: what defusedxml forbids, and encodings that are unknown.
        except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
            broken.append(f"{path.name} ({getattr(error, 'strerror', None) or error})")
    if broken:
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise HeatpointError(
            f"{len(broken)} of {len(files)} files in {next(iter(files.values())).parent} are not "
            f"valid XML: {'; '.join(broken[:5])}{more}. Write them again, or move them away"
        )
    return parsed


def _parse(root: Element) -> _Image:
    objects: list[tuple[str, Box | None, bool]] = []
    for item in root.findall("object"):
        corners = [_value(item, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        numbers = [value for value in corners if value is not None]
        box = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None
        objects.append((_text(item, "name"), box, bool(_value(item, "difficult"))))
    size = steps.known_size(_value(root, "size/height"), _value(root, "size/width"))
    return _Image(_text(root, "filename"), size, objects)


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _value(element: Element, tag: str) -> float | None:
    """Returns the number in ``tag``, which may be NaN or infinite; None if there is none."""
    try:
        return float(_text(element, tag))
    except ValueError:
        return None


def _split(folder: Path, split: str, files: dict[str, Path]) -> list[str]:
    """Returns the image names of a list; a class list's flag (``name -1``) is dropped."""
    lists = steps.split_lists(folder / "ImageSets/Main")
    stems: list[str] = []
    for line in steps.read_split(folder, split, lists, "lists in ImageSets/Main"):
        head, _, flag = line.rpartition(" ")
        if line not in files and flag in ("-1", "0", "1") and head:
            line = head.strip()
        stems.append(line if line in files else locate.image_stem(line))
    return [stem for stem in stems if stem]


FORMATS = (
    Format(
        "Pascal VOC",
        "Annotations/*.xml",
        folder=True,
        fits=lambda given: any(given.path.glob("Annotations/*.xml")),
        read=lambda given: read_voc(given.without_images(), given.split),
    ),
)
