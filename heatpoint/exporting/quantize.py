"""Makes networks of 8-bit numbers, and compares their score with that of the checkpoint."""

from __future__ import annotations

import logging
import math
import os
import warnings
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heatpoint.data import Annotations
from heatpoint.data.formats import is_left_behind, is_picture
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError, HeatpointWarning, needing
from heatpoint.exporting.parity import counterpart
from heatpoint.geometry import RGB, Bands
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Pixels
from heatpoint.inference.engines.openvino import OpenVinoEngine
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.metrics import score_title
from heatpoint.inference.places import places_of
from heatpoint.inference.sources import Source, expand
from heatpoint.scoring.subjects import is_subject
from heatpoint.views import Whole
from heatpoint.wording import amount
from heatpoint.zoo.detector import Detector

if TYPE_CHECKING:
    import openvino


@dataclass(frozen=True)
class Accuracy:
    """The score of a checkpoint and of the file made of it, on the same pictures.

    Attributes:
        name: The main score of what is found: "ap", "pck@0.1".
        pictures: Number of pictures scored.
        checkpoint: Score in [0, 1] of the checkpoint, which torch runs in fp32.
        exported: That of the exported file.
    """

    name: str
    pictures: int
    checkpoint: float
    exported: float

    @property
    def drop(self) -> float:
        """What the export costs; below 0 where it scores higher."""
        return self.checkpoint - self.exported

    def summary(self) -> str:
        """Returns one line for people."""
        return (
            f"{score_title(self.name)} on {amount(self.pictures, 'picture')}: "
            f"checkpoint {self.checkpoint:.4f}, exported {self.exported:.4f} ({-self.drop:+.4f})"
        )


def check_accuracy(
    detector: Detector, path: str | Path, truth: Annotations, max_drop: float = 0.01
) -> Accuracy | None:
    """Returns what an export costs in the main score of what the detector finds.

    Args:
        detector: What was exported.
        path: The exported file.
        truth: Annotated pictures.
        max_drop: Loss that is acceptable, in [0, 1].

    Returns:
        The two scores; None where the pictures hold nothing to find, and so no score.

    Raises:
        HeatpointError: The loss is larger than ``max_drop``, or the annotations are not of the
            detector's classes or joints.
    """
    if not truth.objects:
        return None
    exported = open_engine(path, device="cpu")
    about = exported.description
    checkpoint = counterpart(detector, about)
    most = min(about.most, about.rows)
    before, after = (
        evaluate(each, truth, size=about.size, max_detections=most, metric=("coco",))
        for each in (checkpoint, exported)
    )
    name = before.main
    if math.isnan(before.scores[name]):
        return None
    accuracy = Accuracy(name, len(truth), before.scores[name], after.scores[name])
    if accuracy.drop > max_drop:
        raise HeatpointError(
            f"{path} scores too low: {accuracy.summary()}, a loss of more than "
            f"{max_drop}; calibrate with more and more varied pictures, accept the loss with a "
            "higher --max-drop, or export with --precision fp16 or fp32"
        )
    return accuracy


MOST = 300
"""Pictures at most that ranges are measured on; more hardly move them."""

_HEADS = "/network/heads/"
"""What the names of nodes begin with that belong to ``Deployed.network.heads``."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pictures to measure ranges on.

    Attributes:
        sources: All of them readable, ``MOST`` at most.
        truth: What is in them, in their order; None where nobody knows.
    """

    sources: list[Source]
    truth: Annotations | None = None


def read_calibration(data: Annotations | str | Path, bands: Bands = RGB) -> Calibration:
    """Returns pictures to measure ranges on, evenly chosen where there are many.

    Args:
        bands: What they have to hold.
        data: A labelled data set or where to read it; or a picture, a pattern, or a folder of
            nothing but pictures. Of a data set of joints, only pictures with labelled subjects
            are taken.

    Raises:
        HeatpointError: Nothing is there, or no picture can be read.
    """
    truth = None
    if isinstance(data, (str, Path)) and _only_pictures(data):
        sources, where = expand(data), str(data)
    else:
        truth = data if isinstance(data, Annotations) else read(data)
        where = truth.source or "the annotations"
        if truth.skeleton is not None:
            full = [i for i, record in enumerate(truth.images) if is_subject(record).any()]
            truth = truth.subset(full)
        sources = [Source(record.path, str(record.path)) for record in truth.images]
    kept, reason = [], "there is none"
    places = np.linspace(0, len(sources) - 1, min(MOST, len(sources))).round().astype(int)
    for place in places.tolist():
        try:
            replace(sources[place], bands=bands).load()
        except HeatpointError as error:
            reason = str(error)
            warnings.warn(f"not used to calibrate: {error}", HeatpointWarning, stacklevel=2)
        else:
            kept.append(place)
    if not kept:
        raise HeatpointError(
            f"{where} holds no picture to calibrate with ({reason}); give a data set or pictures "
            "like those that the model is for"
        )
    chosen = [sources[place] for place in kept]
    return Calibration(chosen, None if truth is None else truth.subset(kept))


def _only_pictures(data: str | Path) -> bool:
    """Tells pictures from a data set, whose folder holds other files or folders besides."""
    path = Path(data).expanduser()
    if path.is_dir():
        names = [entry for entry in path.iterdir() if not is_left_behind(entry.name)]
        return bool(names) and all(map(is_picture, names))
    return is_picture(path) or (has_magic(str(path)) and not path.exists())


def _seen(place: int, calibration: Calibration, about: Description) -> Pixels:
    """Returns one of the pictures as the network sees it, a batch by itself."""
    source, truth = calibration.sources[place], calibration.truth
    image = replace(source, bits=about.bits, bands=about.bands).load()
    view, places = about.natural_view(), None
    if view.asks and truth is not None and truth.skeleton is not None:
        record = truth.images[place]
        places = places_of(record.boxes[is_subject(record)], f"{source}'s annotation")
    looks = view.looks((image.shape[0], image.shape[1]), places)
    # One of the subjects of each picture, not always the first: those may be the clearest.
    look = looks[place % len(looks)].cut(Whole(image))
    # A file for a fixed number of images is measured on so many copies of one.
    return np.repeat(look[None], about.batch or 1, axis=0)


def to_int8(model: openvino.Model, about: Description, calibration: Calibration) -> openvino.Model:
    """Returns a network whose convolutions multiply 8-bit numbers.

    The last convolutions of every head stay as they are, and so does everything behind them: the
    maps they give are offsets and sizes in fractions of a cell, and logits that are compared with
    each other, which 256 steps would round away.

    Args:
        model: As ``to_openvino`` gives it; left as it is.
        about: Says what the network takes.
        calibration: Pictures like those that the network is for.

    Raises:
        HeatpointError: NNCF is not installed, or the network has no convolution to quantise.
    """
    kept = unquantized(model, about)
    convolutions = {node.get_friendly_name() for node in model.get_ops() if _filters(node)}
    if convolutions <= set(kept):
        raise HeatpointError(
            f"{about.called} has no convolution but those of its heads, so that int8 would change "
            "nothing; export it with --precision fp32"
        )
    nncf = _nncf()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    # Processors without VNNI add pairs of products in 16 bits, which overflow; with weights of 7
    # bits they do not. The file is meant for every processor.
    # Ranges reach to the extremes of all pictures: NNCF's default, the mean of each picture's
    # extremes, cuts off what the few largest objects excite, and with it their sizes (on BCCD
    # 0.014 of AP instead of 0.002, nearly all of it that of the large cells).
    settings = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE,
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
    )
    count = len(calibration.sources)
    return nncf.quantize(
        model,
        # NNCF goes over the pictures several times; to hold them would take a gigabyte at
        # 1024 x 1024, so that each is read again.
        nncf.Dataset(range(count), lambda place: _seen(place, calibration, about)),
        # Activations such as SiLU and hard swish lie on one side of 0 for the most part.
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=count,
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
        advanced_parameters=settings,
    )


def unquantized(model: openvino.Model, about: Description) -> list[str]:
    """Returns the names of the nodes that stay as they are: those before no convolution.

    So do depthwise convolutions, which multiply little (on dice they cost 0.01 of AP, all others
    together 0.005). Where corners are pooled, all heads do: a running maximum in 256 steps is the
    same number from its corner to the map's border, and no longer says where (on dice half of the
    AP). So does what has the cells of the maps or finer ones, off which a corner's place in its
    cell is read (0.02 of AP, nothing of AP50). So does what foretells where the taps of deformable
    convolutions lie, which 256 steps would move; those convolutions NNCF leaves alone by itself.
    """
    before: set[str] = set()
    for node in reversed(model.get_ordered_ops()):
        name = node.get_friendly_name()
        if name in before or _filters(node):
            before |= {value.get_node().get_friendly_name() for value in node.input_values()}
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    heads = {name for name in nodes if name.startswith(_HEADS)}
    kept = {name for name, node in nodes.items() if name not in before or _depthwise(node)}
    kept |= _places(model)
    if any(nodes[name].get_type_name() == "Maximum" for name in heads):
        kept |= heads | _fine(model, about, heads)
    return [name for name in nodes if name in kept]


def _fine(model: openvino.Model, about: Description, heads: set[str]) -> set[str]:
    """Returns the nodes whose maps have as many lines as those of the heads, or more."""
    still = model.clone()
    still.reshape({0: [about.batch or 1, about.channels, *about.size]})
    lines = {
        node.get_friendly_name(): list(node.output(0).get_shape())[2]
        for node in still.get_ops()
        if node.get_output_size() and len(node.output(0).get_partial_shape()) == 4
    }
    layers = {node.get_friendly_name() for node in still.get_ops() if _filters(node)}
    least = min(lines[name] for name in layers & heads)
    return {name for name, count in lines.items() if count >= least}


def _places(model: openvino.Model) -> set[str]:
    """Returns the nodes that give deformable convolutions their offsets and masks."""
    found: set[str] = set()
    for node in model.get_ops():
        if node.get_type_name() == "DeformableConvolution":
            behind = [node.input_value(index).get_node() for index in (1, 3)]
            while behind:
                each = behind.pop()
                found.add(each.get_friendly_name())
                if not _filters(each):
                    behind += [value.get_node() for value in each.input_values()]
    return found


def _depthwise(node: Any) -> bool:
    """Tells whether a node is a convolution of every channel by itself."""
    grouped = node.get_type_name() == "GroupConvolution"
    return grouped and list(node.input(1).get_shape()[1:3]) == [1, 1]


def _filters(node: Any) -> bool:
    """Tells whether a node is a convolution of the network.

    A codec may blur maps, each with the same one kernel, which is no layer.
    """
    kind = node.get_type_name().removesuffix("BackpropData")
    if kind not in ("Convolution", "GroupConvolution"):
        return False
    return int(np.prod(node.input(1).get_shape()[:-2])) > 1


def _nncf() -> Any:
    # NNCF reports its use to its makers unless it believes that it is being tested; it imports
    # OpenVINO, which does so too.
    OpenVinoEngine.library()
    os.environ.setdefault("NNCF_CI", "1")
    with needing("int8 is made by NNCF, which cannot be loaded", "openvino"):
        import nncf
    nncf.set_log_level(logging.ERROR)
    return nncf
