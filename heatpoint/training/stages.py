"""The parts of a run by what is shown: one, one for each size of the windows, or two of mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.training.optimize import rate_factor
from heatpoint.training.recipe import Recipe
from heatpoint.views import input_size

Window = tuple[int, int]

MOSAICS_END = 0.75
"""Part of the run after which there are no mosaics: in the end a detector gets used to objects that
are cut off by nothing but the border of a picture."""


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        window: (H, W) in input pixels of what a sample shows; None for the whole input.
        ends: Fraction of the run that is over at its end, in (0, 1].
        batch: Images per forward pass, over all processes.
        accumulate: Forward passes per update.
        rate: Peak learning rate.
        mosaic: Probability that a sample is put together from four; None in runs without mosaics.
    """

    window: Window | None
    ends: float
    batch: int
    accumulate: int
    rate: float
    mosaic: float | None = None

    @property
    def images(self) -> int:
        """Images per update, over all processes."""
        return self.batch * self.accumulate

    def __str__(self) -> str:
        shown = "" if self.window is None else f" of {self.window[0]}x{self.window[1]}"
        what = "images" if self.window is None else "windows"
        pieced = "" if self.mosaic is None else f", {self.mosaic:.0%} of them mosaics"
        return f"{self.images} {what}{shown} per update{pieced}, learning rate {self.rate:.2g}"


def stages_of(
    options: Recipe, size: Window, network: Network, images: int, processes: int
) -> list[Stage]:
    """Returns the parts of a run, one after the other.

    ``batch_size`` and ``lr`` are about the first one. The batches of the others have as many
    pixels as near as whole numbers of images come, and the learning rate follows the images of an
    update; see ``rate_factor``. Batches are lowered where there are too few images.

    Args:
        options: What the user chose.
        size: (H, W) at which whole pictures are shown.
        network: Says which sizes are legal.
        images: Number of samples.
        processes: Among which each batch is divided evenly.

    Raises:
        HeatpointError: A window that does not fit the input, a share that is not above 0, a batch
            that cannot be split evenly over the processes, or one that batch norm cannot measure.
    """
    if options.batch_size % processes:
        raise HeatpointError(
            f"batch_size {options.batch_size} cannot be split evenly over {processes} processes"
        )
    if images < processes:
        raise HeatpointError(f"{images} images cannot be shared by {processes} processes")
    windows, shares = _windows(options, size, network)
    cells = [height * width for height, width in (window or size for window in windows)]
    found: list[Stage] = []
    for window, area, ends in zip(windows, cells, accumulate(shares), strict=True):
        wanted = options.batch_size * cells[0] / area / processes
        batch = min(max(1, round(wanted)), images // processes) * processes
        _check_norms(batch // processes, window or size, network)
        passes = max(1, min(options.accumulate, images // batch))
        more = batch * passes / (found[0].images if found else batch * passes)
        rate = options.lr * rate_factor(options.optimizer, more)
        found.append(Stage(window, min(1.0, ends / sum(shares)), batch, passes, rate))
    if options.mosaic:  # excludes windows
        first = replace(found[0], ends=MOSAICS_END, mosaic=options.mosaic)
        return [first, replace(first, ends=1.0, mosaic=0.0)]
    return found


def _check_norms(batch: int, size: Window, network: Network) -> None:
    """Refuses a batch of which the coarsest map has a single cell: its variance is nothing.

    Raises:
        HeatpointError: It is such a batch.
    """
    rows, columns = ((side + network.trim) // network.multiple for side in size)
    if batch * rows * columns == 1:
        raise HeatpointError(
            f"batch norm cannot learn from one image of {size[0]}x{size[1]} pixels at a time, a "
            f"single cell of the coarsest map, of stride {network.multiple}; choose a larger "
            "batch_size or size"
        )


def _windows(
    options: Recipe, size: Window, network: Network
) -> tuple[list[Window | None], list[float]]:
    """Returns the windows of a run and their shares of it, which need not add up to 1."""
    given = options.window
    if given in (None, 0):
        return [None], [1.0]
    pairs = list(given.items()) if isinstance(given, dict) else [(given, 1.0)]
    shares = [share for _, share in pairs]
    if not shares or any(not isinstance(n, int | float) or not n > 0 for n in shares):
        raise HeatpointError(
            "window gives each size a share of the run, a number above 0, not "
            f"{', '.join(str(share) for share in shares) or 'none'}"
        )
    windows: list[Window | None] = []
    for sides, _ in pairs:
        window = input_size(sides, size, network.multiple, network.trim, "window")
        if window[0] > size[0] or window[1] > size[1]:
            raise HeatpointError(
                f"window {window[0]}x{window[1]} is larger than the input of {size[0]}x{size[1]} "
                "pixels; choose a part of it"
            )
        windows.append(window)
    return windows, shares


def pace(stages: Sequence[Stage], size: Window) -> tuple[list[float], list[float]]:
    """Returns which fraction of the passes over the data is over at which fraction of the run.

    Shares of a run are shares of its work, and a pass with larger windows is more work.

    Args:
        stages: The parts of the run.
        size: (H, W) at which whole pictures are shown.

    Returns:
        Ascending fractions from 0 to 1 of the passes, and of the run.
    """
    ends = [0.0, *(stage.ends for stage in stages)]
    areas = [height * width for height, width in (stage.window or size for stage in stages)]
    work = [(high - low) / area for low, high, area in zip(ends, ends[1:], areas, strict=False)]
    return [0.0, *(done / sum(work) for done in accumulate(work))], ends
