"""Gives what is found in a film identities that last from frame to frame.

ByteTrack of the package ``trackers`` follows boxes by how they move; nothing looks at pixels. What
is here only says which box stands for a point, and takes the identities back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError

TRACKERS = "'trackers>=2.6.1,<3'"
"""What pip installs. Without its dependencies, all of which heatpoint has: it asks for
opencv-python, whose files are those of opencv-python-headless."""

WAIT = 1.0
"""Seconds for which something that is out of sight keeps its identity."""

_ALONE = 0.1
"""Side of the box around a single point, as a share of the picture's shorter side."""

_TICK = 1e-4
"""Seconds by which a frame is later than the one before at least."""


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
        count: How many identities there are.

    Raises:
        HeatpointError: The package is missing, or a number makes no sense.
    """

    def __init__(self, rate: float, wait: float = WAIT, side: float | None = None) -> None:
        if wait < 0:
            raise HeatpointError(f"--track-wait must be at least 0 seconds, not {wait:g}")
        if side is not None and side <= 0:
            raise HeatpointError(f"--track-box must be more than 0 pixels, not {side:g}")
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            raise HeatpointError(
                f"following things through a film needs the package trackers ({error}); install it "
                f"with: pip install --no-deps {TRACKERS}"
            ) from None
        # The package counts in frames of 1/30 s. What the model kept is sure enough: the scores of
        # peaks are lower than those that its thresholds are made for.
        self._tracker: Any = ByteTrackTracker(
            lost_track_buffer=round(30 * wait),
            frame_rate=rate,
            track_activation_threshold=0.0,
            high_conf_det_threshold=0.0,
        )
        self._side, self._last = side, -_TICK
        self.rows = self.followed = self.count = 0

    def follow(self, found: Detections, seconds: float, size: tuple[int, int]) -> Detections:
        """Returns the rows with a column ``track``.

        It holds the identity, from 1, or -1 for a row without one: ByteTrack gives it to what it
        has seen in two frames, so that what is found by mistake once has none.

        Args:
            found: What is in the next frame, in its pixels.
            seconds: When it is shown.
            size: Height and width of the frame.
        """
        import supervision

        self._last = max(seconds, self._last + _TICK)
        # The package numbers frames by their times, and answers in an order of its own.
        given = supervision.Detections(
            self._boxes(found, size), confidence=found.scores, data={"row": np.arange(len(found))}
        )
        told = self._tracker.update(given, timestamp=self._last)
        track = np.full(len(found), -1, np.int64)
        if len(told):
            track[told.data["row"]] = np.where(told.tracker_id < 0, -1, told.tracker_id + 1)
        self.rows += len(track)
        self.followed += int((track > 0).sum())
        self.count = max(self.count, int(track.max(initial=0)))
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
