"""The naive contender: the network as trained, run the way that published programs run it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from heatpoint.benchmarking.stages import Laps, Row
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.types import Maps
from heatpoint.detector.detector import Detector
from heatpoint.engines.engine import Answer
from heatpoint.engines.torch import arrays
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Affine, Image, letterbox
from heatpoint.geometry.crops import PADDING, crop_affine
from heatpoint.inference.finish import finish
from heatpoint.inference.poses import Poses, finish_poses
from heatpoint.inference.results import Detections
from heatpoint.inference.suppress import SoftNms
from heatpoint.views.picture import Frame
from heatpoint.views.subjects import whole_picture


class NaivePassage:
    """One picture at a time, eagerly in float32, channels first, batch norms and all stacks' heads.

    OpenCV reads and warps, NumPy normalises all pixels in float on the processor before the network
    sees them. Peaks of centres are found by sigmoid, max pooling and two rounds of top-k over all
    cells, and sorted by class. What has no such published form that differs in cost (pairs of
    corners, joints, centres with settings of their own) is decoded by the codec and finished as
    everywhere else, so that only what lies before it is naive.

    Args:
        detector: Used as it is.
        size: Input (height, width) in pixels.
    """

    def __init__(self, detector: Detector, size: tuple[int, int]) -> None:
        self.detector, self.size = detector, size
        self.network = detector.network.eval()
        self._mean, self._std = (value.numpy() for value in (self.network.mean, self.network.std))

    def __call__(self, path: str) -> Row:
        """Returns the seconds of each stage for the picture of a file.

        Raises:
            HeatpointError: OpenCV cannot decode the picture.
        """
        laps = Laps()
        self.find(path, laps)
        return laps.row

    def find(self, path: str, laps: Laps) -> list[NDArray[np.float32]] | Detections | Poses:
        """Returns what is in the picture of a file, and measures the stages on the way.

        Returns:
            Boxes as ``by_class`` gives them, or what the codec's own decoding leads to.

        Raises:
            HeatpointError: OpenCV cannot decode the picture.
        """
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
        laps("read")
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR)
        if pixels is None:
            raise HeatpointError(f"OpenCV cannot decode {path}; give JPEG or PNG pictures")
        image: Image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)  # type: ignore[assignment]
        laps("decode")
        batch, frame = self._prepared(image, path)
        laps("prepare")
        with torch.no_grad():
            features = self.network.backbone(batch)
            stacks: Maps | list[Maps] = self.network.heads(self.network.neck(features))
            maps = stacks[-1] if isinstance(stacks, list) else stacks
            laps("network")
            codec = self.detector.codec
            found: list[NDArray[np.float32]] | Detections | Poses
            if isinstance(codec, CenterCodec) and is_published(codec):
                rows = published_decode(maps, codec).numpy()
                laps("maps")
                found = by_class(rows, frame.to_image, codec.classes)
            else:
                answer = arrays(codec.decode(maps))
                laps("maps")
                found = self._finished(answer, frame)
        laps("finish")
        return found

    def _finished(self, answer: Answer, frame: Frame) -> Detections | Poses:
        detector, codec = self.detector, self.detector.codec
        if isinstance(codec, JointCodec):
            assert detector.skeleton is not None
            whole = whole_picture(frame.image_size)
            return finish_poses(answer, [frame], whole.boxes, whole.scores, detector.skeleton)
        kind: SoftNms = "none" if codec.soft_nms is None else "gaussian"
        sigma = codec.soft_nms or 0.5
        return finish(answer, [frame], detector.names, soft_nms=kind, sigma=sigma)[0]

    def _prepared(self, image: Image, path: str) -> tuple[Tensor, Frame]:
        """Returns (1, 3, H, W) normalised float32 and its frame."""
        height, width = image.shape[:2]
        if self.detector.task == "pose":
            padding = float(self.detector.meta.get("padding", PADDING))
            to_input = crop_affine((0, 0, width, height), self.size, padding)
        else:
            to_input = letterbox((height, width), self.size)
        matrix = to_input.numpy()
        matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5  # OpenCV's pixels have their centre at 0
        warped = cv2.warpAffine(image, matrix, (self.size[1], self.size[0])).astype(np.float32)
        planes = ((warped - self._mean) / self._std).transpose(2, 0, 1)[None]
        batch = torch.from_numpy(np.ascontiguousarray(planes))
        return batch, Frame(path, (height, width), to_input.inverse())


def is_published(codec: CenterCodec) -> bool:
    """Tells whether centres are decoded as the released CenterNet does."""
    return codec.offset and not codec.one_class_per_cell and codec.soft_nms is None


def published_decode(maps: Maps, codec: CenterCodec) -> Tensor:
    """Returns (K, 6) of one image's maps: boxes xyxy in input pixels, score, class.

    Every step goes over all cells of all classes.

    Args:
        maps: Of one image; needs heatmap, size and offset.
        codec: Says the stride, K (100 at least) and the neighbourhood of a peak.
    """
    heat = maps["heatmap"].sigmoid()
    kernel = codec.peak_kernel
    pooled = functional.max_pool2d(heat, kernel, stride=1, padding=kernel // 2)
    heat = heat * (pooled == heat).float()
    _, classes, height, width = heat.shape
    count = min(max(100, codec.max_detections), height * width)
    values, places = heat.view(classes, -1).topk(count)
    scores, best = values.view(-1).topk(count)
    labels, cells = best // count, places.view(-1)[best]
    sides, inside = (maps[name][0].flatten(1)[:, cells] for name in ("size", "offset"))
    centers = torch.stack((cells % width, cells // width)) + inside
    boxes = torch.cat((centers - sides / 2, centers + sides / 2)).T * codec.stride
    return torch.cat((boxes, scores[:, None], labels[:, None].float()), 1)


def by_class(
    rows: NDArray[np.float32], to_image: Affine, classes: int
) -> list[NDArray[np.float32]]:
    """Returns (N, 5) for each class: boxes in image pixels and their scores."""
    boxes = to_image.boxes(rows[:, :4].astype(np.float64)).astype(np.float32)
    found = np.concatenate((boxes, rows[:, 4:5]), 1)
    return [found[rows[:, 5] == label] for label in range(classes)]
