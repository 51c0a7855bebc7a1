"""Objects and poses as peaks of heatmaps: train, evaluate, predict and export.

Importing the package touches no GPU, network, disk, logger or thread count: every public name is
loaded when it is first used.

Example:
    >>> import heatpoint
    >>> detector = heatpoint.build("centernet_resnet18", names=["cat", "dog"])
    >>> detector.save("untrained.safetensors")
    >>> results = heatpoint.predict("untrained.safetensors", ["photo.jpg"])  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heatpoint.benchmarking.run import benchmark as benchmark
    from heatpoint.codecs.center import CenterCodec as CenterCodec
    from heatpoint.codecs.corners import CornerCodec as CornerCodec
    from heatpoint.data.annotations import Annotations as Annotations
    from heatpoint.data.read import read as read
    from heatpoint.data.skeleton import Skeleton as Skeleton
    from heatpoint.demonstration import demo as demo
    from heatpoint.detector.detector import Detector as Detector
    from heatpoint.engines import open_engine as open_engine
    from heatpoint.errors import HeatpointError as HeatpointError
    from heatpoint.exporting import export as export
    from heatpoint.inference.poses import Poses as Poses
    from heatpoint.inference.predict import predict as predict
    from heatpoint.inference.predict_pose import predict_pose as predict_pose
    from heatpoint.inference.results import Detections as Detections
    from heatpoint.inspection import inspect as inspect
    from heatpoint.scoring.evaluate import evaluate as evaluate
    from heatpoint.scoring.evaluate_pose import evaluate_pose as evaluate_pose
    from heatpoint.scoring.limits import limits as limits
    from heatpoint.training import train as train
    from heatpoint.weights.fetch import fetch as fetch
    from heatpoint.zoo import build as build

__version__ = "0.1.0"

_HOME = {
    "Annotations": "heatpoint.data.annotations",
    "CenterCodec": "heatpoint.codecs.center",
    "CornerCodec": "heatpoint.codecs.corners",
    "Detections": "heatpoint.inference.results",
    "Detector": "heatpoint.detector.detector",
    "HeatpointError": "heatpoint.errors",
    "Poses": "heatpoint.inference.poses",
    "Skeleton": "heatpoint.data.skeleton",
    "benchmark": "heatpoint.benchmarking.run",
    "build": "heatpoint.zoo",
    "demo": "heatpoint.demonstration",
    "evaluate": "heatpoint.scoring.evaluate",
    "evaluate_pose": "heatpoint.scoring.evaluate_pose",
    "export": "heatpoint.exporting",
    "fetch": "heatpoint.weights.fetch",
    "inspect": "heatpoint.inspection",
    "limits": "heatpoint.scoring.limits",
    "open_engine": "heatpoint.engines",
    "predict": "heatpoint.inference.predict",
    "predict_pose": "heatpoint.inference.predict_pose",
    "read": "heatpoint.data.read",
    "train": "heatpoint.training",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'heatpoint' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
