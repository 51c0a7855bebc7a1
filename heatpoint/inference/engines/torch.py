"""Runs a detector with PyTorch, from its checkpoint, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from heatpoint.codecs import Maps, Rows, with_honest_scores
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Answer, Pixels, Timings
from heatpoint.inference.engines.replay import Function, Replayed
from heatpoint.networks.fast import Precision, choose_precision, fast
from heatpoint.weights import LEAST
from heatpoint.zoo.detector import Detector


class TorchEngine:
    """A detector whose network runs in this process; an ``Engine``.

    Args:
        detector: Left as it is; the engine works on a faster copy of its network.
        flip: Averages the maps with those of the mirrored image (Objects as Points, section 5);
            of a mirrored subject left and right joints are exchanged.
        max_detections: Rows of the answer at least; the codec's own number may be larger.
        device: "auto" (CUDA, else Apple's MPS, else the CPU) or any torch device.
        precision: "auto", "fp32", "bf16" or "fp16"; see ``heatpoint.networks.fast.fast``.
        timings: Filled as the engine works; given, the device is waited for after each stage, so
            that the stages are told apart exactly.

    Attributes:
        codec: Turns maps into rows.
        network: The copy.
        precision: The numbers that it computes in.
    """

    name = "torch"
    streams = 1

    def __init__(
        self,
        detector: Detector,
        *,
        flip: bool = False,
        max_detections: int = 100,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        timings: Timings | None = None,
    ) -> None:
        self._device = pick_device(device)
        self.device = self._device.type
        self.precision: str = choose_precision(precision, self._device)
        self.network = fast(detector.network, self.precision, self._device)
        self.codec, self.flip = detector.codec.with_rows(max_detections), flip
        self._look: Function = self._looked
        self._look_back: Function = self._looked
        self._decode: Function = self._decoded
        if self.device == "cuda":
            # Two of the same, for what one has found is wanted while the other one runs.
            self._look = Replayed(self._looked, "the network")
            self._look_back = Replayed(self._looked, "the network")
            self._decode = Replayed(self._decoded, "reading the maps")
        self._waits = timings is not None
        self.timings = timings or Timings()
        self.description = describe(detector, flip=flip, max_detections=max_detections)

    def __call__(self, images: Pixels) -> Answer:
        """Returns what the network says about (B, C, H, W) images.

        Raises:
            HeatpointError: The images do not fit, or the device has not enough memory.
        """
        with torch.inference_mode():
            return self.read(self.maps(torch.from_numpy(images)))

    def maps(self, images: Tensor) -> Maps:
        """Returns the last stack's maps of (B, C, H, W) images; call in inference mode.

        On a GPU the next call with images of this shape may overwrite them.

        Raises:
            HeatpointError: The device has not enough memory.
        """
        try:
            with self.timings.stage("network"):
                images = images.to(self._device, memory_format=torch.channels_last)
                maps = self._look({"images": images})
                if self.flip:
                    mirrored = self._look_back({"images": images.flip(-1)})
                self.wait()
        except torch.OutOfMemoryError:
            raise HeatpointError(
                f"{self._device} has not enough memory for {len(images)} images of "
                f"{images.shape[-2]}x{images.shape[-1]} pixels at once; lower batch_size or size"
            ) from None
        if not self.flip:
            return maps
        with self.timings.stage("decode"):
            return self.codec.merge_flipped(maps, mirrored)

    def read(self, maps: Maps) -> Answer:
        """Returns what maps say."""
        with self.timings.stage("decode"), torch.inference_mode():
            rows = self._decode(maps)
            self.wait()
            return {name: values.cpu().numpy() for name, values in rows.items()}

    def _looked(self, given: dict[str, Tensor]) -> Maps:
        maps: Maps = self.network(given["images"])[-1]
        return maps

    def _decoded(self, maps: Maps) -> Rows:
        return with_honest_scores(self.codec.decode(maps), maps)

    def wait(self) -> None:
        """Waits until the device is done, if the time is being measured."""
        if self._waits and self.device == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._waits and self.device == "mps":
            torch.mps.synchronize()


def pick_device(device: str | torch.device) -> torch.device:
    """Returns the device of a name; "auto" is the first of CUDA, MPS and CPU that is there.

    Raises:
        HeatpointError: There is no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise HeatpointError(
            f"device {device!r} is not auto, cpu, cuda, cuda:N or mps; tensorrt, gpu and npu are "
            "for exported files, see heatpoint export"
        ) from None
    cuda_missing = chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()
    if cuda_missing or (chosen.type == "mps" and not torch.backends.mps.is_available()):
        raise HeatpointError(f"device {device} is not available here; use device='auto'")
    return chosen


def describe(detector: Detector, *, flip: bool = False, max_detections: int = 100) -> Description:
    """Returns what running a detector needs to know about it.

    Args:
        detector: The detector.
        flip: The mirrored image is run too.
        max_detections: Rows of the answer at least.
    """
    codec, network = detector.codec.with_rows(max_detections), detector.network
    return Description(
        names=detector.names,
        size=detector.size,
        multiple=network.multiple,
        trim=network.trim,
        answer=codec.answer,
        rows=codec.rows(flip),
        capacity=codec.capacity,
        suppression=codec.suppression,
        view=codec.view.__name__,
        settings=detector.settings,
        skeleton=detector.skeleton,
        flip=flip,
        bits=detector.meta.get("bits"),
        channels=detector.bands.channels,
        dtype=detector.bands.dtype,
        architecture=str(detector.meta.get("architecture", "")),
        least=detector.meta.get(LEAST),
    )
