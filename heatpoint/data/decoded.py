"""Decodes images for training, and remembers as many as there is room for."""

from __future__ import annotations

from heatpoint.data.annotations import Annotations
from heatpoint.data.images import load_image
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image


class BadImage(HeatpointError):
    """An image that cannot be read, also after the trip from a worker process.

    A ``DataLoader`` rebuilds a worker's exception from its printed traceback; what counts is the
    sentence behind the last mention of this class.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class DecodedImages:
    """Decoded images by index, kept as long as the byte budget lasts.

    Args:
        annotations: Whose images.
        budget: Bytes of memory for decoded images.
    """

    def __init__(self, annotations: Annotations, budget: int) -> None:
        self._records = annotations.images
        self._left = budget
        self._kept: dict[int, Image] = {}

    def __getitem__(self, index: int) -> Image:
        """Returns image ``index``, (h, w, 3) uint8 RGB.

        Raises:
            BadImage: The file cannot be read; names it.
        """
        if index in self._kept:
            return self._kept[index]
        try:
            image = load_image(self._records[index].path)
        except HeatpointError as error:
            raise BadImage(str(error)) from None
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[index] = image
        return image
