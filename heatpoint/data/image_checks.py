"""Says whether an image file is there, whole, and as large as it was annotated."""

from __future__ import annotations

from pathlib import Path

from heatpoint.data.annotations import Finding, ImageRecord
from heatpoint.data.images import image_size, load_image
from heatpoint.errors import HeatpointError

_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"


def examine(record: ImageRecord, decode: bool) -> tuple[tuple[int, int] | None, list[Finding]]:
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
        if decode or not _ends_well(path):
            load_image(path)
    except HeatpointError as error:
        return None, [Finding("unreadable image", str(path), str(error))]
    if record.size is None or record.size == size:
        return size, []
    turned = "; width and height are swapped" if record.size == size[::-1] else ""
    detail = f"annotated {record.size[1]}x{record.size[0]}, file {size[1]}x{size[0]}{turned}"
    return size, [Finding("size mismatch", str(path), detail)]


def _ends_well(path: Path) -> bool:
    """Returns False for JPEG and PNG files without an end, which decoding may confirm as cut."""
    with open(path, "rb") as file:
        start = file.read(8)
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 64))
        end = file.read()
    if start.startswith(b"\xff\xd8"):
        return _JPEG_END in end
    if start.startswith(b"\x89PNG"):
        return _PNG_END in end
    return True
