"""Runs a network over a batch as fast as the device allows, once or with its mirror image."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from heatpoint.codecs.types import Maps
from heatpoint.engines.device import pick_device
from heatpoint.engines.timings import Timings
from heatpoint.errors import HeatpointError
from heatpoint.networks.fast import Precision, fast
from heatpoint.networks.network import Network


class Merging(Protocol):
    """The one thing a codec knows that this module needs."""

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Averages maps with those of the mirrored image, which are not turned back yet."""


class Forward:
    """A fast copy of a network on a device, called with images and answering with maps.

    Args:
        network: Left as it is.
        codec: Merges the maps of an image and its mirror image.
        flip: Runs the mirror image too.
        precision: "auto", "fp32" or "bf16"; see ``heatpoint.networks.fast.fast``.
        device: "auto" (CUDA, else Apple's MPS, else the CPU) or any torch device.
        timings: Filled as it works; given, the device is waited for after each stage, so that the
            stages are told apart exactly.
    """

    def __init__(
        self,
        network: Network,
        codec: Merging,
        *,
        flip: bool,
        precision: Precision,
        device: str | torch.device,
        timings: Timings | None,
    ) -> None:
        self.device = pick_device(device)
        self.network = fast(network, precision, self.device)
        self.codec, self.flip = codec, flip
        self.waits = timings is not None
        self.timings = timings or Timings()

    def __call__(self, images: Tensor) -> Maps:
        """Returns the last stack's maps of (B, 3, H, W) uint8 images; call in inference mode.

        Raises:
            HeatpointError: The device has not enough memory.
        """
        try:
            with self.timings.stage("network"):
                images = images.to(self.device, memory_format=torch.channels_last)
                maps: Maps = self.network(images)[-1]
                mirrored = self.network(images.flip(-1))[-1] if self.flip else None
                self.wait()
        except torch.OutOfMemoryError:
            raise HeatpointError(
                f"{self.device} has not enough memory for {len(images)} images of "
                f"{images.shape[-2]}x{images.shape[-1]} pixels at once; lower batch_size or size"
            ) from None
        if mirrored is None:
            return maps
        with self.timings.stage("decode"):
            return self.codec.merge_flipped(maps, mirrored)

    def wait(self) -> None:
        """Waits until the device is done, if the time is being measured."""
        if self.waits and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.waits and self.device.type == "mps":
            torch.mps.synchronize()
