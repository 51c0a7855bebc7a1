"""Gives boxes identities by how they move: ByteTrack's filter and its matching, of all at once.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (2022). Its
second round, of boxes with low scores, is left out: what a model keeps is sure enough.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry import box_iou

_LEAST = 0.1
"""Overlap of a box with where a track is expected, below which they are not the same thing."""

_SEEN, _DRIFT = 0.1, 0.01
"""Variances of a corner that is found, and of what place and speed change by in a frame."""

_STEADY = 0.004
"""Seconds by which frames may come early or late and still count as one frame apart."""

_TICK = 1e-4
"""Seconds by which a frame is later than the one before at least."""

_TRACK = np.dtype(
    [
        ("box", float, 4),
        ("speed", float, 4),  # of each corner, in pixels for each frame
        ("spread", float, 3),  # variance of a corner, of it with its speed, of its speed
        ("unseen", float),  # seconds
        ("streak", int),  # frames in a row in which it was seen
        ("identity", int),
    ]
)


class ByteTrack:
    """The identities of boxes that move straight on, more or less.

    Args:
        rate: Frames per second.
        wait: Seconds for which a box that is out of sight keeps its identity.

    Attributes:
        count: How many identities were given.
    """

    def __init__(self, rate: float, wait: float) -> None:
        self._rate, self._wait = rate, wait
        self._tracks = np.zeros(0, _TRACK)
        self._last: float | None = None
        self.count = 0

    def update(self, boxes: NDArray[np.float64], seconds: float) -> NDArray[np.int64]:
        """Returns the identity of each box of the next frame, from 1.

        It is -1 for a box that was not seen in the frame before as well and has none from earlier.

        Args:
            boxes: (N, 4), xyxy, in pixels.
            seconds: When the frame is shown.
        """
        # Here, so that films without identities start sooner.
        from scipy.optimize import linear_sum_assignment

        elapsed = 1 / self._rate
        if self._last is not None:
            elapsed = max(seconds - self._last, _TICK)
            seconds = self._last + elapsed
        self._last = seconds
        self._predict(elapsed)
        tracks, told = self._tracks, np.full(len(boxes), -1, np.int64)
        overlap = box_iou(tracks["box"], boxes)
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        near = overlap[rows, columns] >= _LEAST
        rows, columns = rows[near], columns[near]
        self._correct(rows, boxes[columns])
        fresh = rows[(tracks["streak"][rows] >= 2) & (tracks["identity"][rows] < 0)]
        tracks["identity"][fresh] = self.count + 1 + np.arange(len(fresh))
        self.count += len(fresh)
        told[columns] = tracks["identity"][rows]
        begun = np.zeros(len(boxes) - len(columns), _TRACK)
        begun["box"], begun["spread"] = np.delete(boxes, columns, 0), (1, 0, 1)
        begun["streak"], begun["identity"] = 1, -1
        kept = tracks[(tracks["identity"] > 0) | (tracks["unseen"] == 0)]
        self._tracks = np.concatenate((kept, begun))
        return told

    def _predict(self, elapsed: float) -> None:
        """Moves all tracks on, and ends those that were out of sight for too long."""
        tracks, step = self._tracks, elapsed * self._rate
        tracks["streak"][tracks["unseen"] > 0] = 0
        tracks["unseen"] += elapsed
        # What was seen in the frame before is not out of sight, however long ago that is.
        self._tracks = tracks = tracks[tracks["unseen"] <= max(self._wait, elapsed)]
        tracks["box"] += step * tracks["speed"]
        place, both, speed = tracks["spread"].T
        # Over a gap, an unknown acceleration of one size.
        drift = np.array((step**4 / 4, step**3 / 2, step**2))
        if abs(step - 1) <= _STEADY * self._rate:
            drift = np.array((1, 0, 1))
        moved = place + step * (2 * both + step * speed), both + step * speed, speed
        tracks["spread"] = np.stack(moved, 1) + _DRIFT * drift

    def _correct(self, rows: NDArray[np.int64], boxes: NDArray[np.float64]) -> None:
        """Takes the tracks of some rows to the boxes in which they were seen."""
        tracks = self._tracks
        place, both, speed = tracks["spread"][rows].T
        gain, gain_speed = place / (place + _SEEN), both / (place + _SEEN)
        missed = boxes - tracks["box"][rows]
        tracks["box"][rows] += gain[:, None] * missed
        tracks["speed"][rows] += gain_speed[:, None] * missed
        left = (1 - gain) * place, (1 - gain) * both, speed - gain_speed * both
        tracks["spread"][rows] = np.stack(left, 1)
        tracks["unseen"][rows] = 0
        tracks["streak"][rows] += 1
