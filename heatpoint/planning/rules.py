"""The rules of a plan, one function for each option, in the order in which they are applied.

Every number that a reader may disagree with stands here with its reason. A rule is given the
options as far as they are decided, those of the user among them, and the survey; it returns a value
and one sentence. Those about what is seen at which size are in ``sizes``, about how pictures vary
in ``variation``, about how weights move in ``learning``. What they were measured with is in
benchmarks/recipes.md and optimisers.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from heatpoint.data.dataset import varied
from heatpoint.planning.learning import heatmap_bias, lr, optimizer, pictured, schedule, seen
from heatpoint.planning.sizes import size, train_size, window
from heatpoint.planning.survey import Decision, Survey
from heatpoint.planning.variation import (
    augment,
    find_upright,
    flip,
    margin,
    mosaic,
    repeat_rare,
    rotate,
)
from heatpoint.training.recipe import Recipe
from heatpoint.views.pictures import Picture
from heatpoint.weights import checkpoint_path, read_header
from heatpoint.weights.packages import BACKBONES, PREFIX
from heatpoint.wording import amount
from heatpoint.zoo.backbone_weights import trunk_in, trunk_of
from heatpoint.zoo.detector import Detector

JOINTED = 0.5
"""Share of the objects that must have joints for joints to be what the data is about."""

ROOM, ROWS = 1.5, 100
"""Rows of an answer over the objects of the fullest picture, and what they are a multiple of."""

NESTED = 0.05
"""Share of the objects that have about the middle of one of another class from which on each class
learns boxes of its own. With 76 % of drawn people, heads, torsos and logos AP was 0.505, and 0.812
so; no smaller share was tried."""

BATCH = {"cpu": 8, "gpu": 16}
"""Whole pictures per update: many small updates learn more in minutes than few large ones."""

LEAST_BATCH, UPDATES = 4, 20
"""Fewer pictures than this spoil batch norm; more updates than this make an epoch of few."""

WINDOWS = ((128**2, 32), (192**2, 16))
"""Windows or crops per update, up to so many pixels; larger ones as whole pictures."""

FROZEN = 4
"""Stride up to which ImageNet's edges and textures stay as they are, which saves much time."""

MINUTES, ENOUGH = 15, 300
"""Minutes on a processor for up to so many pictures, growing with the root of their number."""

LEAST_UPDATES, LEAST_EPOCHS = 6000, 24
"""Updates and epochs at least, where a GPU makes them quick."""

SCORING = 0.05
"""Share of the time that validation may take."""

FORWARD = 0.45
"""Time of looking at a picture over that of learning from it, where the first layers are frozen."""

SAVING, MOVING = {"cpu": 20, "gpu": 1000}, 0.5
"""Examples of 256 x 256 pixels that could be learnt from while a validation saves and draws, and
while the weights are moved by one update."""

MOST_THREADS, MOST_LOADERS = 16, 8
"""Threads and loading processes beyond which there is nothing to gain."""

CACHED = 0.25
"""Share of the memory that decoded pictures may fill."""


def backbone_weights(recipe: Recipe, survey: Survey) -> Decision:
    """A package that is installed; never anything from the network."""
    if recipe.weights or recipe.pretrained:
        return Decision("", "the backbone is trained already")
    here = [record for record in BACKBONES.values() if record.here]
    if here and recipe.model:
        own = trunk_in(_named(recipe, survey).network)
        here = [record for record in here if record.backbone == own]
    if here:
        return Decision(f"{PREFIX}{here[0].name}", "installed here: ImageNet weights learn faster")
    known = next(iter(BACKBONES.values())).command
    return Decision("", f"no ImageNet weights are here; `{known}` brings some")


def _named(recipe: Recipe, survey: Survey) -> Detector:
    from heatpoint.training.start import build_detector

    return build_detector(recipe, survey.sample)[0]


def model(recipe: Recipe, survey: Survey) -> Decision:
    """By what is labelled, and by the trunk that there are weights for."""
    if recipe.weights:
        header = read_header(checkpoint_path(recipe.weights))
        return Decision(header["meta"].get("architecture", ""), "what the weights belong to")
    joints = survey.jointed >= JOINTED
    kind, about = "centernet", "boxes are labelled"
    if recipe.points or survey.pointed:
        kind, about, joints = "points", "points are labelled, or asked for", False
    elif survey.sample.cornered:
        kind, about, joints = "quads", "four corners are labelled", False
    elif joints:
        kind, about = "pose", "joints are labelled: crops of one subject each"
    if recipe.backbone_weights or recipe.pretrained:
        trunk = trunk_of(recipe.backbone_weights) if recipe.backbone_weights else "mobilenetv2_100"
        mobile = trunk == "mobilenetv2_100"
        name = f"{kind}_mobilenetv2" if mobile else f"{kind}_topdown:{trunk}"
        about += "; the trunk that the ImageNet weights are of"
    else:
        name, about = f"{kind}_tiny", f"{about}; small enough to learn from nothing"
    if joints:
        about += "; centerpose_... finds boxes and joints of all in whole pictures, "
        about += "centernet_... boxes alone"
    elif survey.jointed:
        about += f"; {survey.jointed:.0%} of the objects have joints, which pose_... finds"
    return Decision(name, about)


def max_detections(recipe: Recipe, survey: Survey) -> Decision:
    """More where an answer has no room for the fullest picture."""
    codec, fullest = survey.trained.codec, survey.fullest
    needed = math.ceil(ROOM * fullest / ROWS) * ROWS
    room = codec.with_rows(needed).capacity
    if codec.view is not Picture or codec.capacity >= fullest * ROOM or room <= codec.capacity:
        return Decision(None, "")
    return Decision(needed, f"a picture holds {fullest:,} objects, an answer {codec.capacity:,}")


def per_class(recipe: Recipe, survey: Survey) -> Decision:
    """Where objects of several classes have one middle: one map says one box in each cell."""
    if recipe.weights or not hasattr(survey.trained.codec, "per_class"):
        return Decision(None, "")
    if survey.nested < NESTED:
        return Decision(None, "")
    why = f"{survey.nested:.0%} of the objects have the middle of one of another class"
    return Decision(True, f"{why}: each class learns boxes of its own")


def batch_size(recipe: Recipe, survey: Survey) -> Decision:
    """Small ones on processors; several windows or crops are worth one picture."""
    value, why = BATCH[survey.machine.family], "small updates, many of them"
    area, cropped = seen(recipe, survey), survey.trained.codec.view.asks
    if recipe.window or cropped:
        for most, parts in reversed(WINDOWS):
            if area <= most:
                value, why = parts, f"{'crops' if cropped else 'windows'} of {area:,} pixels"
    fitting = max(LEAST_BATCH, survey.examples // UPDATES)
    if fitting < value and not recipe.window:
        value, why = fitting, f"so that {survey.examples} examples make enough updates an epoch"
    share = -(-value // (recipe.devices * recipe.nodes))  # of each device, evenly
    return Decision(share * recipe.devices * recipe.nodes, why)


def freeze(recipe: Recipe, survey: Survey) -> Decision:
    """The first layers of a backbone with ImageNet weights."""
    if not (recipe.backbone_weights or recipe.pretrained):
        return Decision(
            0, "nothing is trained yet" if not recipe.weights else "all goes on learning"
        )
    if FROZEN not in survey.strides:
        return Decision(0, f"this backbone has no map of stride {FROZEN}")
    return Decision(FROZEN, "ImageNet's edges and textures suit most data, and it saves time")


def minutes(recipe: Recipe, survey: Survey) -> Decision:
    """On a processor, where epochs of different data take very different times."""
    if survey.machine.family != "cpu":
        return Decision(None, "")
    factor = max(1.0, survey.examples / ENOUGH) ** 0.5
    value = 5 * round(MINUTES * factor / 5)
    return Decision(value, f"{survey.examples:,} examples; more time makes it better")


def epochs(recipe: Recipe, survey: Survey) -> Decision:
    """On a GPU."""
    if recipe.minutes is not None:
        return Decision(None, "")
    updates = max(1, survey.examples // (recipe.batch_size * recipe.accumulate))
    value = max(LEAST_EPOCHS, math.ceil(LEAST_UPDATES / updates))
    return Decision(value, f"{amount(value * updates, 'update')} in all")


def eval_every(recipe: Recipe, survey: Survey) -> Decision:
    """Seldom enough to leave the time for learning."""
    scoring = FORWARD * survey.scored * pictured(recipe, survey)
    scoring += SAVING[survey.machine.family] * 256**2
    updates = max(1, survey.examples // recipe.batch_size)
    learning = survey.examples * seen(recipe, survey) + MOVING * updates * 256**2
    value = math.ceil(scoring / learning / SCORING)
    if recipe.epochs is not None:
        value = min(value, max(1, recipe.epochs // 2))
    return Decision(value, f"validation takes {SCORING:.0%} of the time at most")


def precision(recipe: Recipe, survey: Survey) -> Decision:
    """bfloat16 where the hardware is faster in it."""
    if survey.machine.bf16:
        return Decision("bf16", f"this {survey.machine.device} is faster in bfloat16")
    return Decision("fp32", f"this {survey.machine.device} is no faster in bfloat16")


def threads(recipe: Recipe, survey: Survey) -> Decision:
    """All cores of a processor, one where others use them; few beside a GPU."""
    share = max(1, survey.machine.cores // recipe.devices)
    if survey.machine.family != "cpu":
        return Decision(min(4, share), "the device computes")
    if survey.machine.crowded:
        return Decision(1, "other programs use the cores: more threads would wait for each other")
    return Decision(min(MOST_THREADS, share), "one for each core")


def workers(recipe: Recipe, survey: Survey) -> Decision:
    """A loading process beside the one that learns, on a single core none."""
    share = max(1, survey.machine.cores // recipe.devices)
    if survey.machine.family != "cpu":
        return Decision(min(MOST_LOADERS, share), "the device must not wait for pictures")
    if share == 1:
        return Decision(0, "there is one core, which loads between updates")
    return Decision(1, "one process loads while the others learn")


def cache(recipe: Recipe, survey: Survey) -> Decision:
    """All pictures, or none: a part of them would hardly ever be hit."""
    size = recipe.train_size or recipe.size or survey.trained.size
    shown = (size, size) if isinstance(size, int) else size
    kind = varied(survey.trained.codec.view)
    decoded = survey.decoded(kind.named(recipe.augment), shown)
    needed = decoded * max(1, recipe.workers) * recipe.devices
    text = f"decoded pictures take {needed / 2**30:.1f} of {survey.machine.memory / 2**30:.0f} GB"
    if needed > CACHED * survey.machine.memory:
        return Decision(0.0, text)
    return Decision(math.ceil(decoded / 2**30 * 10) / 10, f"{text}, and are kept")


RULES: dict[str, Callable[[Recipe, Survey], Decision]] = {
    "backbone_weights": backbone_weights,
    "model": model,
    "max_detections": max_detections,
    "per_class": per_class,
    "window": window,
    "train_size": train_size,
    "size": size,
    "margin": margin,
    "heatmap_bias": heatmap_bias,
    "batch_size": batch_size,
    "optimizer": optimizer,
    "lr": lr,
    "schedule": schedule,
    "warmup": lambda recipe, survey: Decision(0.03, "heads begin with random weights"),
    "ema": lambda recipe, survey: Decision(0.9998, "the average over the last tenth, at most"),
    "freeze": freeze,
    "augment": augment,
    "rotate": rotate,
    "flip": flip,
    "find_upright": find_upright,
    "mosaic": mosaic,
    "repeat_rare": repeat_rare,
    "minutes": minutes,
    "epochs": epochs,
    "eval_every": eval_every,
    "precision": precision,
    "workers": workers,
    "threads": threads,
    "cache": cache,
}
"""The rule of every option that is planned, in the order of application."""
