"""Counts what crosses lines and what is in zones of a film, and draws them, with trails."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data.draw import Colour, colour_of, line_width, write_texts
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image

Corners = tuple[tuple[float, float], ...]
"""x and y in pixels of the frame."""

_LINE: Colour = (255, 255, 255)
_ZONE: Colour = (255, 220, 0)
_RIM: Colour = (0, 0, 0)


class Counts:
    """Lines and zones of one film; supervision counts.

    What counts is the middle of a row's box. A line counts identities that go from one side to the
    other between its ends. A zone counts identities that were in it, and all rows that are.

    Args:
        lines: Two corners each.
        zones: Three corners or more each.
        names: Class names.
    """

    def __init__(
        self, lines: Sequence[Corners], zones: Sequence[Corners], names: Sequence[str]
    ) -> None:
        self._given, self._names = {"--count-line": lines, "--count-zone": zones}, names
        self._lines: list[Any] = []
        if lines:
            import supervision

            middle, point = [supervision.Position.CENTER], supervision.Point
            self._lines = [
                supervision.LineZone(point(*start), point(*end), middle) for start, end in lines
            ]
        self._zones: list[Any] = []
        self._corners = [np.round(zone).astype(int) for zone in zones]
        self._been: list[set[int]] = [set() for _ in zones]
        self._most = [0 for _ in zones]
        self._now = [0 for _ in zones]

    def update(self, found: Detections, size: tuple[int, int]) -> dict[str, Any]:
        """Returns the counts up to a frame and in it, as they stand in its JSON line.

        Args:
            found: What is in it, with the column ``track``.
            size: Height and width of the frame.

        Raises:
            HeatpointError: A line or zone is not in the picture.
        """
        if not self._lines and not self._corners:
            return {}
        import supervision

        self._check(size)
        if not self._zones:
            middle = [supervision.Position.CENTER]
            self._zones = [supervision.PolygonZone(zone, middle) for zone in self._corners]
        track = found.columns["track"]
        rows = supervision.Detections(
            found.boxes.astype(np.float64), class_id=found.labels, tracker_id=track
        )
        for line in self._lines:
            line.trigger(rows)
        for place, zone in enumerate(self._zones):
            inside = zone.trigger(rows)
            self._been[place].update(track[inside & (track > 0)].tolist())
            self._now[place] = int(inside.sum())
            self._most[place] = max(self._most[place], self._now[place])
        told: dict[str, Any] = {}
        if self._lines:
            told["lines"] = [{"in": line.in_count, "out": line.out_count} for line in self._lines]
        if self._zones:
            pairs = zip(self._now, self._been, strict=True)
            told["zones"] = [{"now": now, "tracks": len(been)} for now, been in pairs]
        return told

    def summary(self) -> list[str]:
        """Returns a sentence for each line and zone."""
        told = []
        for number, line in enumerate(self._lines, 1):
            parts = [
                f"{self._names[label]} {line.in_count_per_class.get(label, 0)} in, "
                f"{line.out_count_per_class.get(label, 0)} out"
                for label in sorted({*line.in_count_per_class, *line.out_count_per_class})
            ]
            classes = f" ({'; '.join(parts)})" if len(parts) > 1 else ""
            told.append(f"line {number}: {line.in_count} in, {line.out_count} out{classes}")
        for number, (been, most) in enumerate(zip(self._been, self._most, strict=True), 1):
            told.append(f"zone {number}: {len(been)} tracks, at most {most} at once")
        return told

    def drawn(self, image: Image) -> Image:
        """Returns a copy of an (H, W, 3) uint8 RGB picture with lines, zones and their counts.

        An arrow shows which side of a line is in.
        """
        canvas, width = image.copy(), 1 + line_width(image)
        places, texts, inks = [], [], []
        zones = zip(self._corners, self._now, self._been, strict=True)
        for number, (zone, now, been) in enumerate(zones, 1):
            cv2.polylines(canvas, [zone.astype(np.int32)], True, _ZONE, width, cv2.LINE_AA)
            places.append(zone[zone[:, 1].argmin()])
            texts.append(f"zone {number}: {now} now, {len(been)} tracks")
            inks.append(_ZONE)
        pairs = zip(self._lines, self._given["--count-line"], strict=True)
        for number, (line, corners) in enumerate(pairs, 1):
            start, end = np.array(corners)
            along, middle = end - start, (start + end) / 2
            tip = middle + np.array((along[1], -along[0])) / np.hypot(*along) * 12 * width
            first, last, foot, head = np.round((start, end, middle, tip)).astype(int).tolist()
            for grown, ink in ((2, _RIM), (0, _LINE)):  # a rim shows it on light ground
                cv2.line(canvas, first, last, ink, width + grown, cv2.LINE_AA)
                cv2.arrowedLine(canvas, foot, head, ink, width + grown, cv2.LINE_AA, tipLength=0.4)
            places.append(np.array(first))
            texts.append(f"line {number}: {line.in_count} in, {line.out_count} out")
            inks.append(_LINE)
        write_texts(canvas, np.array(places).reshape(-1, 2), inks, texts)
        return canvas

    def _check(self, size: tuple[int, int]) -> None:
        height, width = size
        for flag, shapes in self._given.items():
            for shape in shapes:
                for x, y in shape:
                    if not (0 <= x <= width and 0 <= y <= height):
                        raise HeatpointError(
                            f"{flag} has a corner at {x:g},{y:g}, outside of the picture, which is "
                            f"{width} x {height} pixels (width x height)"
                        )


class Trails:
    """The ways that identities took, as lines of their colours.

    Args:
        rate: Frames per second that are looked at.
    """

    def __init__(self, rate: float) -> None:
        self._past: deque[dict[int, NDArray[np.int32]]] = deque(maxlen=max(2, round(rate)))

    def draw(self, image: Image, found: Detections) -> None:
        """Draws the last second of each row's way into an (H, W, 3) uint8 RGB picture itself.

        Args:
            image: The frame.
            found: What is in it, with the column ``track``.
        """
        known = found.columns["track"] > 0
        tracks, reach = found.columns["track"][known], sum(image.shape[:2])
        middles = found.boxes[known].reshape(-1, 2, 2).mean(1).clip(-reach, 2 * reach)
        self._past.append(dict(zip(tracks.tolist(), middles.astype(np.int32), strict=True)))
        width = (1 if "points" in found.columns else 2) * line_width(image)
        for track in tracks.tolist():
            way = np.array([moment[track] for moment in self._past if track in moment])
            cv2.polylines(image, [way], False, colour_of(track), width)
