"""Objects and poses as peaks of heatmaps: train, evaluate, predict and export.

Importing the package touches no GPU, network, disk, logger or thread count: every public name is
loaded when it is first used.

Example:
    >>> import heatpoint
    >>> detector = heatpoint.build("centernet_resnet18", names=["cat", "dog"])
    >>> detector.save("untrained.safetensors")
    >>> results = heatpoint.predict("untrained.safetensors", ["photo.jpg"])  # doctest: +SKIP
    >>> heatpoint.load("untrained.safetensors")("photo.jpg").show()  # doctest: +SKIP
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than all that --help needs
if TYPE_CHECKING:
    from typing import Any

    from heatpoint import plugins
    from heatpoint import ray as ray
    from heatpoint.benchmarking.benchmark import benchmark as benchmark
    from heatpoint.codecs.center import CenterCodec as CenterCodec
    from heatpoint.codecs.corners import CornerCodec as CornerCodec
    from heatpoint.codecs.joints import JointCodec as JointCodec
    from heatpoint.convert import fetch as fetch
    from heatpoint.data import Annotations as Annotations
    from heatpoint.data.combining import merge as merge
    from heatpoint.data.combining import select as select
    from heatpoint.data.dividing import split as split
    from heatpoint.data.readers import read as read
    from heatpoint.data.results import Detections as Detections
    from heatpoint.data.skeleton import Skeleton as Skeleton
    from heatpoint.data.writers import write as write
    from heatpoint.demonstration.demo import demo as demo
    from heatpoint.errors import HeatpointError as HeatpointError
    from heatpoint.exporting.export import export as export
    from heatpoint.inference.engines import open_engine as open_engine
    from heatpoint.inference.evaluate import evaluate as evaluate
    from heatpoint.inference.limits import limits as limits
    from heatpoint.inference.loaded import Model as Model
    from heatpoint.inference.loaded import load as load
    from heatpoint.inference.predict import predict as predict
    from heatpoint.inspection.inspect import inspect as inspect
    from heatpoint.planning import plan as plan
    from heatpoint.planning import train as train
    from heatpoint.weights.hub import pull as pull
    from heatpoint.weights.hub import push as push
    from heatpoint.zoo import build as build
    from heatpoint.zoo.detector import Detector as Detector

    plugin = plugins.load

__version__: str

_HOME = {
    "__version__": "heatpoint.system:VERSION",
    "Annotations": "heatpoint.data",
    "CenterCodec": "heatpoint.codecs.center",
    "CornerCodec": "heatpoint.codecs.corners",
    "Detections": "heatpoint.data.results",
    "Detector": "heatpoint.zoo.detector",
    "HeatpointError": "heatpoint.errors",
    "JointCodec": "heatpoint.codecs.joints",
    "Model": "heatpoint.inference.loaded",
    "Skeleton": "heatpoint.data.skeleton",
    "benchmark": "heatpoint.benchmarking.benchmark",
    "build": "heatpoint.zoo",
    "demo": "heatpoint.demonstration.demo",
    "evaluate": "heatpoint.inference.evaluate",
    "export": "heatpoint.exporting.export",
    "fetch": "heatpoint.convert",
    "inspect": "heatpoint.inspection.inspect",
    "limits": "heatpoint.inference.limits",
    "load": "heatpoint.inference.loaded",
    "merge": "heatpoint.data.combining",
    "open_engine": "heatpoint.inference.engines",
    "plan": "heatpoint.planning",
    "plugin": "heatpoint.plugins:load",
    "predict": "heatpoint.inference.predict",
    "pull": "heatpoint.weights.hub",
    "push": "heatpoint.weights.hub",
    "read": "heatpoint.data.readers",
    "select": "heatpoint.data.combining",
    "split": "heatpoint.data.dividing",
    "train": "heatpoint.planning",
    "write": "heatpoint.data.writers",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "ray":  # a module of its own, for it has a predict, too
        return import_module("heatpoint.ray")
    if name not in _HOME:
        raise AttributeError(f"module 'heatpoint' has no attribute {name!r}")
    module, _, there = _HOME[name].partition(":")
    value = getattr(import_module(module), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
