"""Stops a run whose loss or gradient is no longer a number, and says on which images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heatpoint.errors import HeatpointError


class Watch:
    """Collects the numbers of the last updates and looks at them all at once.

    Looking costs a wait for the device; so on a GPU it is done every few updates, on the CPU at
    each. In either case it comes before anything is saved.

    Args:
        names: Names of the loss terms.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = (*names, "gradient norm")
        self._pending: list[tuple[Tensor, Sequence[int], int, float]] = []

    def add(self, values: Tensor, images: Sequence[int], update: int, rate: float) -> None:
        """Remembers one update.

        Args:
            values: (T + 1,) the loss terms and the norm of the gradient, on any device.
            images: Indices of the images in the data.
            update: Number of the update.
            rate: Its learning rate.
        """
        self._pending.append((values, images, update, rate))

    def trouble(self, paths: Sequence[str]) -> str:
        """Looks at what was remembered and forgets it.

        Args:
            paths: Path of each image in the data.

        Returns:
            What went wrong and what helps; "" if every number is finite.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return ""
        values = torch.stack([entry[0] for entry in pending]).cpu()
        bad = (~values.isfinite().all(dim=1)).nonzero()
        if not len(bad):
            return ""
        first = int(bad[0])
        _, images, update, rate = pending[first]
        terms = ", ".join(
            f"{name} {value:.4g}"
            for name, value in zip(self._names, values[first].tolist(), strict=True)
        )
        shown = ", ".join(paths[i] for i in images[:16])
        more = f" and {len(images) - 16} more" if len(images) > 16 else ""
        return (
            f"the loss is not finite at update {update}: {terms}; learning rate {rate:.3g}; "
            f"images {shown}{more}. Look at these images and boxes with heatpoint inspect, lower "
            "lr, lengthen warmup, or use precision fp32. The saved checkpoints are from before it"
        )


def stop_on(troubles: Sequence[str]) -> None:
    """Raises ``HeatpointError`` with the first trouble that any process had."""
    for trouble in troubles:
        if trouble:
            raise HeatpointError(trouble)
