"""Every choice of a training run in one flat place: the keywords of ``train`` and its flags."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from heatpoint.data.annotations import Annotations
from heatpoint.errors import HeatpointError

PUBLISHED_EPOCHS = 140

FREE_ON_RESUME = frozenset(
    {
        *("data", "val", "images", "val_images", "out"),
        *("epochs", "minutes", "stop_after", "eval_every", "resume"),
        *("devices", "nodes", "accelerator", "strategy", "workers", "threads", "cache", "pictures"),
    }
)
"""Options that may differ when a run is resumed.

Files may have moved (their content is compared instead), the machine may be another one, and the
run may be made longer or shorter, which bends the learning-rate schedule. All others must agree.
"""


@dataclass
class TrainOptions:
    """Says what to train, on what, for how long, and how."""

    data: str | Annotations
    """training data: COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file"""

    val: str | Annotations = ""
    """validation data in any of these formats, with the same class names"""

    model: str = "centernet_resnet18"
    """architecture; heatpoint models lists them"""

    out: str = "runs/train"
    """folder for checkpoints, logs and pictures"""

    images: str = ""
    """folder of the training images, if not beside the annotations"""

    val_images: str = ""
    """folder of the validation images, if not beside the annotations"""

    size: int | list[int] | None = None
    """input height and width in pixels, one number for both; the model's own by default"""

    epochs: int | None = None
    """passes over the data; 140, as published, unless minutes is given"""

    minutes: float | None = None
    """wall-clock budget from the first step to the last save, validation included; beside epochs,
    whichever ends first, and the learning rate follows it to its end"""

    batch_size: int = 16
    """images per forward pass, over all devices together"""

    accumulate: int = 1
    """forward passes per weight update; equals a larger batch up to batch norm's statistics"""

    lr: float | None = None
    """peak learning rate; by default 5e-4 (Adam, AdamW) or 2.5e-3 (SGD) for 16 images per update,
    growing with the square root of their number for the former and linearly for SGD"""

    weight_decay: float | None = None
    """decay of weights, never of norms and biases; 0.01 for adamw, 0 for adam, 1e-4 for sgd"""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """adamw, adam (as published) or sgd with momentum 0.9"""

    schedule: Literal["cosine", "steps"] = "cosine"
    """cosine to zero, or steps: a tenth at every milestone, as published"""

    steps: list[int] | None = None
    """epochs after which the schedule steps divides the learning rate by ten; by default after
    90/140 and 120/140 of the run, as published"""

    warmup: float = 0.03
    """linear warm-up: below 1 a fraction of the run, from 1 on a number of updates"""

    clip: float = 35.0
    """largest norm of the gradient; 0 for no limit"""

    ema: float = 0.9998
    """decay of the averaged weights that are validated and saved; 0 for none"""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """arithmetic of the network; weights stay fp32. auto is bf16 where the hardware has it"""

    weights: str = ""
    """checkpoint to start from; its heads are adapted to the classes of the data"""

    backbone_weights: str = ""
    """file with ImageNet weights for the backbone"""

    pretrained: bool = False
    """let timm download ImageNet weights for the backbone"""

    augment: Literal["published", "mild", "none"] = "published"
    """published: scale 0.6 to 1.3, shift, flip, colour; mild: less of it; none: letterbox only"""

    flip_vertical: bool = False
    """mirror up and down too: for microscopes, aerial pictures, table tops"""

    mosaic: float = 0.0
    """probability that a training image is pieced together from four"""

    radius: Literal["", "legacy", "fixed", "half-fixed"] = ""
    """rule for the radius of the peaks in the target heatmaps; the model's own by default"""

    overlap: float | None = None
    """IoU that a box moved by the radius keeps; the model's own (0.7) by default"""

    max_detections: int | None = None
    """objects found at most per image; the model's own (100) by default"""

    freeze: int = 0
    """keep the backbone's layers up to this stride (4 or 8, say) as they are; 0 trains them all"""

    size_region: float | None = None
    """share of a box around its centre where its size is learnt; the model's own by default"""

    giou_weight: float | None = None
    """weight of an additional IoU loss of the boxes; the model's own by default"""

    eval_every: int = 1
    """epochs between validations, each of which saves"""

    stop_after: int | None = None
    """stop after this many epochs as if interrupted; resume goes on to the end of the schedule"""

    resume: bool = False
    """go on with the run in the folder out; with the same options it ends bit for bit equal"""

    skip_bad: bool = False
    """leave unreadable images out instead of stopping"""

    seed: int = 0
    """seed of initial weights, order and augmentation"""

    cache: float = 0.0
    """gigabytes of decoded images that each loading process keeps in memory"""

    pictures: bool = True
    """draw curves.png and val_predictions.png at each validation"""

    workers: int | None = None
    """processes that load images, per device; chosen by the number of cores by default"""

    threads: int | None = None
    """threads of torch in the main process; torch's choice by default"""

    devices: int = 1
    """devices per machine"""

    nodes: int = 1
    """machines; start the same command on each with torchrun or SLURM"""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """kind of device"""

    strategy: str = "auto"
    """how processes are started and joined, a name known to Lightning Fabric (ddp, ddp_spawn)"""

    sync_batchnorm: bool = False
    """share batch norm's statistics between CUDA devices"""


def check(options: TrainOptions) -> None:
    """Refuses values that cannot be meant.

    Raises:
        HeatpointError: Names the option, the value, and what is allowed.
    """
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise HeatpointError(f"{name} must be at least {least}, not {value}")
    for name in ("epochs", "minutes", "lr", "stop_after"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise HeatpointError(f"{name} must be above 0, not {value}")
    for name, allowed in _CHOICES.items():
        if getattr(options, name) not in allowed:
            named = ", ".join(repr(word) for word in allowed if word)
            raise HeatpointError(f"{name} is one of {named}, not {getattr(options, name)!r}")
    if not 0 <= options.ema < 1:
        raise HeatpointError(f"ema is a decay of at least 0 and below 1, not {options.ema}")
    if not 0 <= options.mosaic <= 1:
        raise HeatpointError(f"mosaic is a probability, not {options.mosaic}")
    if options.overlap is not None and not 0 < options.overlap < 1:
        raise HeatpointError(f"overlap is an IoU between 0 and 1, not {options.overlap}")
    epochs = total_epochs(options)
    if options.steps is not None and options.schedule == "steps":
        if epochs is None:
            raise HeatpointError("steps are epochs: say how many there are with epochs")
        if any(not 0 < epoch < epochs for epoch in options.steps):
            raise HeatpointError(
                f"steps are epochs above 0 and below epochs={epochs}, not {options.steps}"
            )
    if isinstance(options.val, str) and not options.val:
        raise HeatpointError(
            "name validation data with val (or --val): it decides which weights are best; "
            "heatpoint never holds out part of the training data unasked"
        )
    if options.weights and (options.backbone_weights or options.pretrained):
        raise HeatpointError(
            "weights already holds a trained backbone; leave out backbone_weights and pretrained"
        )


def total_epochs(options: TrainOptions) -> int | None:
    """Returns the number of epochs the run may take; None if only its time is limited."""
    if options.epochs is None and options.minutes is None:
        return PUBLISHED_EPOCHS
    return options.epochs


def milestones(options: TrainOptions) -> tuple[float, ...]:
    """Returns where the schedule steps drops, in ascending fractions of the run."""
    epochs = total_epochs(options)
    if options.steps is None or epochs is None:
        return (90 / PUBLISHED_EPOCHS, 120 / PUBLISHED_EPOCHS)
    return tuple(sorted(epoch / epochs for epoch in options.steps))


def input_size(
    size: int | list[int] | None, own: tuple[int, int], multiple: int
) -> tuple[int, int]:
    """Returns the (height, width) to train at.

    Args:
        size: What the user said.
        own: The model's own size, used if the user said nothing.
        multiple: Number of pixels that every side must be divisible by.

    Raises:
        HeatpointError: A side is not a positive multiple; names the next legal size.
    """
    sides = own if size is None else (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise HeatpointError(f"size is one number or height and width, not {size}")
    height, width = sides
    legal = tuple(max(1, -(-side // multiple)) * multiple for side in (height, width))
    if legal != (height, width):
        next_size = str(legal[0]) if legal[0] == legal[1] else f"{legal[0]} by {legal[1]}"
        raise HeatpointError(
            f"size {height}x{width}: this model needs sides divisible by {multiple}; "
            f"the next legal size is {next_size}"
        )
    return height, width


def plain(options: TrainOptions) -> dict[str, Any]:
    """Returns the options as JSON values; data given in memory is named by its source."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    for name in ("data", "val"):
        if isinstance(values[name], Annotations):
            values[name] = values[name].source
    values["steps"] = None if options.steps is None else list(options.steps)
    if options.size is not None and not isinstance(options.size, int):
        values["size"] = list(options.size)
    return values


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns one phrase for every option that resuming does not allow to differ."""
    names = [name for name in now if name not in FREE_ON_RESUME]
    return [
        f"{name} was {saved.get(name)!r} and is {now[name]!r}"
        for name in names
        if saved.get(name) != now[name]
    ]


_LEAST: dict[str, float] = {
    **{"batch_size": 1, "accumulate": 1, "eval_every": 1, "max_detections": 1},
    **{"devices": 1, "nodes": 1, "threads": 1},
    **{"workers": 0, "weight_decay": 0, "warmup": 0, "clip": 0, "seed": 0, "cache": 0},
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "steps"),
    "precision": ("auto", "bf16", "fp32"),
    "augment": ("published", "mild", "none"),
    "radius": ("", "legacy", "fixed", "half-fixed"),
    "accelerator": ("auto", "cpu", "cuda", "mps"),
}
