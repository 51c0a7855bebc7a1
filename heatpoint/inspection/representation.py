"""Says how a data set is looked at: as a model would, at the size that the user wants."""

from __future__ import annotations

from pathlib import Path

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.scene import subject_name, with_skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines import Engine, is_exported, open_engine
from heatpoint.views import View, input_size
from heatpoint.weights import PUBLISHED
from heatpoint.zoo.detector import SIZE, Detector
from heatpoint.zoo.rows import RELEASED, fitted


def codec_and_view(
    annotations: Annotations,
    detector: Detector | None,
    called: str,
    size: int | tuple[int, int] | None,
    stride: int | None,
    max_detections: int | None,
    padding: float | None,
) -> tuple[Codec, View]:
    """Returns codec and view: the model's, changed by what the user said.

    Args:
        annotations: The data.
        detector: The model; None for centre points, or for points or quads where the data has
            these.
        called: What messages call it.
        size: Height and width of the input in pixels; the model's own by default.
        stride: Input pixels per cell, likewise.
        max_detections: Candidates decoded per image, likewise.
        padding: Side of a subject's crop over that of its box, likewise.

    Raises:
        HeatpointError: The model has another stride, cannot take the size, or finds other joints
            than there are; or an option is not for such a model.
    """
    own, multiple, trim = (SIZE, SIZE), 1, 0
    usual = "points" if annotations.pointed else "quads" if annotations.cornered else "centernet"
    codec, skeleton = RELEASED[usual], None
    settings: dict[str, float] = {}
    if detector is not None:
        codec, skeleton, settings = detector.codec, detector.skeleton, detector.settings
        multiple, trim = detector.network.multiple, detector.network.trim
        own = detector.size
        if stride is not None and stride != codec.stride:
            raise HeatpointError(
                f"this model works at stride {codec.stride}, not {stride}; leave out model or "
                "stride"
            )
    if codec.view.asks and (stride is not None or max_detections is not None):
        raise HeatpointError(
            f"{called} finds the joints of one subject; leave out stride and max_detections"
        )
    given = {"stride": stride, "max_detections": max_detections}
    chosen = {name: value for name, value in given.items() if value is not None}
    joints = None if skeleton is None else annotations.skeleton
    codec = fitted(codec, annotations.names, joints).tuned(called, chosen)
    sides = input_size(size, own, max(multiple, codec.stride), trim)
    if padding is not None and "padding" not in settings:
        raise HeatpointError("padding is about crops of subjects; name a model of joints with it")
    if padding is not None:
        settings = {**settings, "padding": padding}
    return codec, codec.view(sides, multiple, trim, **settings)


def models_of(
    model: str | Path | None, annotations: Annotations
) -> tuple[Detector | None, Detector | Engine | None]:
    """Returns the model whose representation is used, and the trained one that judges the labels.

    An exported file does not say what it was taught by, an architecture knows nothing yet. Of a
    model of joints, the data must have just those.

    Args:
        model: A checkpoint, an exported file, or the name of published weights or of an
            architecture.
        annotations: The data.

    Raises:
        HeatpointError: There is no such model, or the data has no joints, or others.
    """
    if model is None:
        return None, None
    if is_exported(model):
        return None, open_engine(model)
    # What does not look like a file is meant as a name, so that a misspelt one gets a suggestion.
    path = Path(model)
    is_file = path is model or path.suffix == ".safetensors" or path.is_file()
    trained = is_file or model in PUBLISHED
    if trained:
        detector = Detector.load(model)
    else:
        joints = zoo.learns_joints(str(model))
        if joints:
            annotations = with_skeleton(annotations, "")
        asks = zoo.kind(str(model)).view.asks
        names = [subject_name(annotations, joints)] if asks else annotations.names
        detector = zoo.build(str(model), names, skeleton=annotations.skeleton)
    if detector.skeleton is None:
        return detector, detector if trained else None
    known, skeleton = detector.skeleton.joints, with_skeleton(annotations, "").skeleton
    if skeleton is not None and known != skeleton.joints:
        raise HeatpointError(
            f"the model finds {len(known)} joints ({', '.join(known)}), but {annotations.source} "
            f"has {len(skeleton.joints)} ({', '.join(skeleton.joints)}); give a model by its "
            "architecture's name to look at the data alone"
        )
    return detector, detector if trained else None
