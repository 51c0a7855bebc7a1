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
    from heatpoint.demonstration import demo as demo
    from heatpoint.detector import Detector as Detector
    from heatpoint.engines import open_engine as open_engine
    from heatpoint.error_analysis import limits as limits
    from heatpoint.errors import HeatpointError as HeatpointError
    from heatpoint.evaluation import evaluate as evaluate
    from heatpoint.exporting import export as export
    from heatpoint.fetching import fetch as fetch
    from heatpoint.inspection import inspect as inspect
    from heatpoint.pose.evaluation import evaluate_pose as evaluate_pose
    from heatpoint.pose.prediction import predict_pose as predict_pose
    from heatpoint.pose.results import Poses as Poses
    from heatpoint.prediction import predict as predict
    from heatpoint.results import Detections as Detections
    from heatpoint.skeleton import Skeleton as Skeleton
    from heatpoint.training import train as train
    from heatpoint.zoo import build as build

__version__ = "0.1.0"

_HOME = {
    "Annotations": "heatpoint.data.annotations",
    "CenterCodec": "heatpoint.codecs.center",
    "CornerCodec": "heatpoint.codecs.corners",
    "Detections": "heatpoint.results",
    "Detector": "heatpoint.detector",
    "HeatpointError": "heatpoint.errors",
    "Poses": "heatpoint.pose.results",
    "Skeleton": "heatpoint.skeleton",
    "benchmark": "heatpoint.benchmarking.run",
    "build": "heatpoint.zoo",
    "demo": "heatpoint.demonstration",
    "evaluate": "heatpoint.evaluation",
    "evaluate_pose": "heatpoint.pose.evaluation",
    "export": "heatpoint.exporting",
    "fetch": "heatpoint.fetching",
    "inspect": "heatpoint.inspection",
    "limits": "heatpoint.error_analysis",
    "open_engine": "heatpoint.engines",
    "predict": "heatpoint.prediction",
    "predict_pose": "heatpoint.pose.prediction",
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
