"""Which input size is meant."""

from __future__ import annotations

from heatpoint.errors import HeatpointError
from heatpoint.geometry.sizes import less


def input_sides(
    size: int | tuple[int, int] | None, own: tuple[int, int], step: int, trim: int = 0
) -> tuple[int, int]:
    """Returns the (H, W) that is meant by ``size``, ``own`` if it is None.

    Raises:
        HeatpointError: A side is not a positive multiple of ``step``, less ``trim``.
    """
    sides = own if size is None else (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(side < 1 or (side + trim) % step for side in sides):
        raise HeatpointError(
            f"size must be one or two multiples of {step} pixels{less(trim)}, not {size}"
        )
    return sides[0], sides[1]
