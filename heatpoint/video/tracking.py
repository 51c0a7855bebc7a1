"""Gives what is found in a film identities that last from frame to frame.

Boxes are followed by how they move; nothing looks at pixels. What is here says which box stands for
a point, and counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.video.bytetrack import ByteTrack

WAIT = 1.0
"""Seconds for which something that is out of sight keeps its identity."""

_ALONE = 0.1
"""Side of the box around a single point, as a share of the picture's shorter side."""


class Tracks:
    """The identities of one film, or of one camera.

    They depend on what was found and when alone, not on how many frames were looked at together.

    Args:
        rate: Frames per second that are looked at.
        wait: Seconds for which something that is out of sight keeps its identity.
        side: Pixels, side of the square around each point that is followed; None takes the median
            distance of the points from their nearest neighbours in the first frame that has any.

    Attributes:
        rows: How many rows were seen.
        followed: How many of them got an identity.

    Raises:
        HeatpointError: A number makes no sense.
    """

    def __init__(self, rate: float, wait: float = WAIT, side: float | None = None) -> None:
        if wait < 0:
            raise HeatpointError(f"--track-wait must be at least 0 seconds, not {wait:g}")
        if side is not None and side <= 0:
            raise HeatpointError(f"--track-box must be more than 0 pixels, not {side:g}")
        self._tracker, self._side = ByteTrack(rate, wait), side
        self.rows = self.followed = 0

    @property
    def count(self) -> int:
        """How many identities there are."""
        return self._tracker.count

    def follow(self, found: Detections, seconds: float, size: tuple[int, int]) -> Detections:
        """Returns the rows with a column ``track``.

        It holds the identity, from 1, or -1 for a row without one: it is given to what was seen in
        two frames, so that what is found by mistake once has none.

        Args:
            found: What is in the next frame, in its pixels.
            seconds: When it is shown.
            size: Height and width of the frame.
        """
        track = self._tracker.update(self._boxes(found, size), seconds)
        self.rows += len(track)
        self.followed += int((track > 0).sum())
        return replace(found, columns={**found.columns, "track": track})

    def complaint(self) -> str:
        """Returns a sentence if most rows have no identity, else ""."""
        if 2 * self.followed >= self.rows:
            return ""
        return (
            f"only {self.followed} of {self.rows} rows have an identity: from one frame that is "
            "looked at to the next, most things move farther than their own size, or are found in "
            "single frames only; a smaller --every helps, for points a larger --track-box"
        )

    def _boxes(self, found: Detections, size: tuple[int, int]) -> NDArray[np.float64]:
        """Returns what is followed: boxes, at least a pixel wide, or squares around points."""
        corners = found.boxes.astype(np.float64).reshape(-1, 2, 2)
        middles, halves = corners.mean(1), np.diff(corners, axis=1)[:, 0] / 2
        least = 0.5
        if "points" in found.columns and len(found):
            if self._side is None:
                self._side = _spacing(middles, size)
            least = self._side / 2
        halves = np.maximum(halves, least)
        return np.concatenate((middles - halves, middles + halves), 1)


def _spacing(points: NDArray[np.float64], size: tuple[int, int]) -> float:
    """Returns the median distance of points from their nearest neighbours, in pixels."""
    if len(points) < 2:
        return _ALONE * min(size)
    from scipy.spatial import KDTree

    nearest = KDTree(points).query(points, k=2)[0][:, 1]
    return max(1.0, float(np.median(nearest)))
