"""An open model that is called with one picture after the other, in a notebook or a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from heatpoint.data.images import ImageSource, load_image
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, Image
from heatpoint.inference import LoadOptions
from heatpoint.inference.places import ImageBoxes, places_among, places_of
from heatpoint.inference.predict import check_keep, not_everywhere, open_finder, open_runner
from heatpoint.inference.runner import Runner
from heatpoint.options import keywords

if TYPE_CHECKING:
    import torch

    Picture = ImageSource | torch.Tensor

_ADDRESS = ("http://", "https://")


@keywords(LoadOptions, positional=1)
def load(options: LoadOptions) -> Model:
    """Opens a model once, to be called with one picture after the other.

    Example:
        >>> model = load("best.safetensors", score=0.4)  # doctest: +SKIP
        >>> found = model("photo.jpg")  # doctest: +SKIP
        >>> found.show()  # doctest: +SKIP

    Args:
        options: Say which model, and how it is run; ``score``, ``nms``, ``size``, ``tiles``,
            ``device`` and the others are those of ``predict``.

    Raises:
        HeatpointError: The model cannot be read, or an option is not for it.
    """
    return open_model(options)


def open_model(options: LoadOptions) -> Model:
    """Returns the model that options describe; ``load`` takes them as keywords.

    Raises:
        HeatpointError: As ``load``.
    """
    runner = open_runner(options.model, options.run, options.keep)
    finder = None
    if options.detector and not runner.view.asks:
        raise HeatpointError(f"detector {not_everywhere(runner.engine.description)}")
    check_keep(runner, options.keep, bool(options.detector))
    if options.detector:
        finder = open_finder(options.detector, options.run, options.keep)
    return Model(runner, finder)


class Model:
    """An open model; what ``load`` returns. It is called by one thread at a time.

    Args:
        runner: Runs the model.
        finder: Finds where it looks, if it looks at one subject at a time.

    Attributes:
        names: Its classes.
        skeleton: Its joints; None of a model that finds none.
        size: (height, width) of its usual input in pixels.
        engine: The open engine, which ``predict``, ``evaluate`` and ``video`` take as a model.
        runner: What runs it.
        finder: What finds where it looks, or None.
    """

    def __init__(self, runner: Runner, finder: Runner | None = None) -> None:
        about = runner.engine.description
        self.engine, self.names, self.size = runner.engine, about.names, about.size
        self.skeleton: Skeleton | None = about.skeleton
        self.runner, self.finder = runner, finder

    def __repr__(self) -> str:
        about, engine = self.engine.description, self.engine
        return (
            f"<{about.called}: finds {about.finds} of {len(self.names)} classes, {engine.name} on "
            f"{engine.device} in {engine.precision}>"
        )

    def __call__(
        self, image: Picture, boxes: ImageBoxes | None = None, *, bgr: bool = False
    ) -> Detections:
        """Returns what is in a picture, in its pixels.

        Args:
            image: A file, its bytes, a Pillow image, an array or a tensor. Arrays are (H, W), or
                (H, W, 3) in the order red, green, blue, uint8 or float in [0, 1]; tensors the same
                as (3, H, W). Addresses are for ``predict``, which says what it fetches.
            boxes: Where a model of joints looks, (N, 4) xyxy in image pixels; by default where
                ``detector`` finds something, and without one the whole picture.
            bgr: The array's or tensor's order is blue, green, red, as OpenCV reads it.

        Raises:
            HeatpointError: It is no picture, or boxes are not for this model.
        """
        about = self.engine.description
        pixels = as_pixels(image, bgr, about.bits, about.bands)
        found = self._found(pixels, boxes)
        found.picture = pixels
        return found

    def each(self, images: Iterable[Picture], *, bgr: bool = False) -> Iterator[Detections]:
        """Yields what is in each picture; ``predict`` is quicker, for it reads ahead."""
        return (self(image, bgr=bgr) for image in images)

    def _found(self, pixels: Image, boxes: ImageBoxes | None) -> Detections:
        runner, places = self.runner, None
        if boxes is not None:
            if not runner.view.asks:
                raise HeatpointError(f"boxes {not_everywhere(self.engine.description)}")
            places = places_of(boxes, "the picture")
        elif self.finder is not None:
            places = places_among(self.finder([pixels])[0], self.names[0])
        return runner([pixels], [places])[0]


def as_pixels(
    image: Picture, bgr: bool = False, bits: int | None = None, bands: Bands = RGB
) -> Image:
    """Returns a picture as (H, W, 3) uint8 RGB, or with the channels that a model takes.

    Args:
        image: As ``Model`` takes it.
        bgr: Its order is blue, green, red.
        bits: Depth of 16-bit files that declare none; see ``load_image``.
        bands: The channels of the model's pictures.

    Raises:
        HeatpointError: It is no picture, or has no order of colours that could be another.
    """
    given: Any = image
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
        if given.ndim != 3 or given.shape[0] not in (1, bands.channels):
            colours = "(3, H, W), red, green and blue" if bands == RGB else "(channels, H, W)"
            raise HeatpointError(
                f"a tensor is a picture as {colours}, not {given.shape}; give the pictures of a "
                "batch one by one"
            )
        given = np.ascontiguousarray(given.transpose(1, 2, 0))
    if isinstance(given, str) and given.lower().startswith(_ADDRESS):
        raise HeatpointError(
            f"{given} is an address; heatpoint.predict fetches those that it is given"
        )
    if not bgr:
        return load_image(given, bits=bits, bands=bands)
    if not isinstance(given, np.ndarray) or given.ndim != 3 or given.shape[2] != 3:
        raise HeatpointError(
            "bgr is for arrays (H, W, 3) and tensors (3, H, W); files and Pillow images know the "
            "order of their colours: leave it out"
        )
    return np.ascontiguousarray(load_image(given, bits=bits)[..., ::-1])
