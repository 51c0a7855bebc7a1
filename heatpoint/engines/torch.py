"""Runs a detector with PyTorch, from its checkpoint, on any device."""

from __future__ import annotations

import dataclasses

import torch

from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.types import Candidates, CornerCandidates, JointCandidates, Maps
from heatpoint.detector.detector import Detector
from heatpoint.detector.file import BoxCodec
from heatpoint.engines.description import Description
from heatpoint.engines.engine import Answer, Pixels
from heatpoint.engines.forward import Forward
from heatpoint.engines.timings import Timings
from heatpoint.errors import HeatpointError
from heatpoint.geometry.crops import PADDING
from heatpoint.networks.fast import Precision


class TorchEngine:
    """A detector whose network runs in this process.

    Args:
        detector: Left as it is; the engine works on a faster copy of its network.
        flip: Averages the maps with those of the mirrored image (Objects as Points, section 5);
            of a mirrored subject left and right joints are exchanged.
        max_detections: Rows of the answer at least; the codec's own number may be larger.
        device: "auto" (CUDA, else Apple's MPS, else the CPU) or any torch device.
        precision: "auto", "fp32" or "bf16"; see ``heatpoint.networks.fast.fast``.
        timings: Filled as the engine works; given, the device is waited for after each stage, so
            that the stages are told apart exactly.

    Attributes:
        codec: Turns maps into candidates.
        forward: Turns images into maps.
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
        codec = detector.codec
        if not isinstance(codec, JointCodec):
            most = max(max_detections, codec.max_detections)
            codec = dataclasses.replace(codec, max_detections=most)
        self.codec = codec
        self.forward = Forward(
            detector.network,
            codec,
            flip=flip,
            precision=precision,
            device=device,
            timings=timings,
        )
        self.device = self.forward.device.type
        self.precision: str = precision
        self.timings = self.forward.timings
        self.description = describe(detector, flip=flip, max_detections=max_detections)

    def __call__(self, images: Pixels) -> Answer:
        """Returns what the network says about (B, 3, H, W) uint8 images.

        Raises:
            HeatpointError: The images do not fit, or the device has not enough memory.
        """
        with torch.inference_mode():
            return self.read(self.forward(torch.from_numpy(images)))

    @property
    def box_codec(self) -> BoxCodec:
        """The codec of a detector of boxes, with the number of results that was asked for.

        Raises:
            HeatpointError: The detector finds joints.
        """
        if not isinstance(self.codec, JointCodec):
            return self.codec
        raise HeatpointError(f"{self.description.called} finds joints, not boxes")

    def read(self, maps: Maps) -> Answer:
        """Returns what maps say."""
        with self.forward.timings.stage("decode"), torch.inference_mode():
            candidates = self.codec.decode(maps)
            self.forward.wait()
            return arrays(candidates)


def arrays(candidates: Candidates | CornerCandidates | JointCandidates) -> Answer:
    """Returns the candidates of a codec as the arrays an engine answers with."""
    return {name: value.cpu().numpy() for name, value in candidates._asdict().items()}


def describe(detector: Detector, *, flip: bool = False, max_detections: int = 100) -> Description:
    """Returns what running a detector needs to know about it.

    Args:
        detector: Of boxes or joints.
        flip: The mirrored image is run too.
        max_detections: Boxes per image at least.
    """
    codec, network = detector.codec, detector.network
    common = Description(
        task=detector.task,
        names=detector.names,
        size=detector.size,
        multiple=network.multiple,
        trim=network.trim,
        flip=flip,
        max_detections=0,
        architecture=str(detector.meta.get("architecture", "")),
    )
    if isinstance(codec, JointCodec):
        padding = float(detector.meta.get("padding", PADDING))
        return dataclasses.replace(common, padding=padding, skeleton=detector.skeleton)
    most = max(max_detections, codec.max_detections)
    # The boxes of the mirrored image's corners stand beside those of the image's.
    rows = 2 * most if flip and isinstance(codec, CornerCodec) else most
    return dataclasses.replace(common, max_detections=rows, sigma=codec.soft_nms)
