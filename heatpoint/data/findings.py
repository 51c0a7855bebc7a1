"""Everything that can be said about a data set, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass

TREATMENT = {
    "missing image": "an error in training unless skip_bad; then left out",
    "unreadable image": "an error in training unless skip_bad; then left out",
    "image listed twice": "kept from COCO and text files, else left out the second time",
    "image without annotation file": "left out",
    "picture of a format that is not read": "left out",
    "text in a national encoding": "read so; --encoding names another",
    "unused label file": "left out",
    "no label files": "the pictures are kept as pictures without objects",
    "label file of several pictures": "used for each of them",
    "label file under a near name": "used",
    "split that is not there": "left out",
    "split under another path": "used",
    "number of classes mismatch": "the names count",
    "picture under a strange name": "left out",
    "images under shorter names": "found so and used",
    "image under a near name": "used",
    "image named by an address": "looked for among the files here; nothing is fetched",
    "image not annotated": "left out",
    "second annotation of an image": "left out; the first one counts",
    "annotations in a second format": "left out",
    "not an annotation file": "left out",
    "pictures unpacked": "written to the folder that --images names",
    "predicted, not labelled": "left out",
    "images numbered anew": "kept",
    "class left out": "left out: no class of its own",
    "class ids that differ": "classes are told by their names",
    "class without a name": "called by its id",
    "file without annotations": "kept; all its images count as empty",
    "object id used twice": "kept",
    "unknown image id": "left out",
    "unknown category id": "left out",
    "object without a box": "left out",
    "ambiguous line": "left out",
    "class numbers from 1 on": "read from 0 on; if 1 is the first class, lower all by one",
    "boxes that seem to be corners": "read as centre and size",
    "confidence behind a box": "left out, that number alone",
    "joints without kpt_shape": "left out; the box is kept",
    "polygon read as its box": "kept; the box is the extent of the polygon or mask",
    "rotated box read as upright": "kept; the box is the extent of its corners",
    "four corners among other outlines": "all are kept as boxes",
    "four corners without area": "left out",
    "boxes taken as four corners": "learnt as they are, upright",
    "object without a class": "left out",
    "object of several classes": "kept, in the first of them",
    "shares of the image as coordinates": "turned into pixels",
    "point of no object": "left out",
    "object of an unreadable image": "left out",
    "part of an object": "left out",
    "deleted object": "left out",
    "corners swapped": "put in order",
    "joints read as their box": "kept; the box is the extent of the joints and a margin",
    "field that cannot be read": "passed over",
    "boxes in other units": "kept as they are",
    "non-finite box": "left out",
    "degenerate box": "left out",
    "box outside the image": "left out",
    "point outside the image": "left out",
    "box partly outside": "clipped",
    "size of the unturned picture": "the upright picture is used; if the boxes were drawn on the "
    "picture before EXIF turned it, turn the files for good and take EXIF out",
    "size mismatch": "the file's size is used",
    "picture of several frames": "the first is used",
    "picture of few grey levels": "kept; spread the range in use over 16 bits first, in all "
    "pictures by one rule",
    "16-bit picture of fewer bits": "all that declare none are scaled as the deepest of them",
    "16-bit pictures of several depths": "scaled as the deepest; write sBIT into those that are "
    "not, if they come from several cameras",
    "duplicate box": "kept",
    "nearly the same box": "kept; one object labelled twice?",
    "two classes in one place": "kept; which of them is it?",
    "box unlike its class": "kept; a wrong label or box?",
    "sliver of a box": "kept; a slip of the mouse?",
    "outlines beside boxes": "kept in the given files alone; boxes are used, and written",
    "crowd region": "kept; not trained on, neither right nor wrong in evaluation",
    "malformed joints": "the object's joints are left out",
    "joints that no class names": "the object's joints are left out",
    "non-finite joint": "left out, that joint alone",
    "joint outside the image": "kept",
    "joint at (0, 0)": "kept; not labelled, perhaps: then its visibility is 0",
    "class names alike": "kept apart",
    "class of one split only": "kept; cannot be learnt, or not be scored",
    "picture in both splits": "kept; the score says too much",
    "similar picture in both splits": "kept; the score says too much",
    "same picture twice": "kept",
    "similar pictures": "kept; keep them in one split",
    "person without joints": "kept; no pose to learn",
    "class without objects": "kept; nothing to learn",
    "image without objects": "kept",
    "picture turned by EXIF": "kept; upright in training and prediction, and so must be the boxes",
}
"""Everything that can be said about a data set, in the order of a report, and what the readers and
``validate.clean`` do about it."""


@dataclass(frozen=True)
class Finding:
    """One thing about the data that its owner should know.

    Attributes:
        kind: What it is, a key of ``TREATMENT``.
        image: Path of the image it concerns; "" if it belongs to none.
        detail: What exactly, with numbers: the box, the line, the sizes.

    Raises:
        ValueError: The kind is unknown, so that no report would show it.
    """

    kind: str
    image: str
    detail: str

    def __post_init__(self) -> None:
        if self.kind not in TREATMENT:
            raise ValueError(f"kind: expected one of {', '.join(TREATMENT)}, got {self.kind!r}")
