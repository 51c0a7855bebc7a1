"""The rules of a plan about how weights begin and move: heatmaps, optimiser, rate, schedule.

As in ``rules``, every number that a reader may disagree with stands here with its reason.
"""

from __future__ import annotations

import math

from heatpoint.codecs.losses import best_constant
from heatpoint.data.augment import Augment
from heatpoint.planning.survey import Decision, Survey
from heatpoint.planning.variation import FEW
from heatpoint.training.recipe import Recipe
from heatpoint.weights import checkpoint_path, read_header

SMALL = 5_000_000
"""Parameters up to which a network counts as small, and takes larger steps."""

RATE = {True: (3e-3, 8), False: (5e-4, 16)}
"""Peak learning rate of Muon, Adam and AdamW for so many images per update, of small and of large
networks; the square root of their number keeps the noise of an update constant (Malladi et al.
2022)."""

LARGE = (2e-3, 8)
"""The same of Muon for a network of more than ``TINY`` parameters that begins from nothing:
ResNet-18 learnt blood cells to AP 0.589 with 5e-4 and to 0.625 with this (AdamW: 0.586), one
hourglass joints to PCK@0.1 0.303 with 6e-3, 0.346 with 3e-3 and 0.355 with this."""

TINY = 3_000_000
"""Parameters up to which a network that begins from nothing takes the largest steps."""

WORTH = 25_000_000
"""Parameters up to which Muon is worth its own work on a processor: one thread made two thirds of
AdamW's updates of ResNet-18 (16 million) and was far ahead, a third of ResNet-50's (34 million)."""

FRESH = 2
"""Factor of the rate where all of a network of up to ``TINY`` parameters begins from nothing."""

SGD_RATE = (2.5e-3, 16)
"""The same for SGD, in proportion (Goyal et al. 2017, section 2.1)."""

ADAPTING = 1 / 3
"""Factor of the rate where a whole detector goes on learning."""

SHORT = 4
"""Minutes on a processor below which AdamW is ahead from ImageNet weights: on blood cells by 7 and
2 points of AP after 1 and 2, by less than 1 after 4."""

LITTLE = 2.5e6
"""Pixels that all examples have as they are seen, below which AdamW is ahead from ImageNet weights.
Windows of 120 dice have 1 million and lose 2 points by Muon; 60 cards have 4 million, 40 pictures
of blood cells 5, and are even or a little better; 296 cards have 19 and gain 1."""


def optimizer(recipe: Recipe, survey: Survey) -> Decision:
    """By the size of the network, and by how much is learnt how often."""
    if recipe.weights:  # blood cells and cards lost 1 and 4 points of AP by it in five minutes
        return Decision("adamw", "a detector that goes on learning loses by muon")
    if _few_crops(survey):
        return Decision("adamw", "joints in few crops are learnt by heart with muon")
    if recipe.backbone_weights or recipe.pretrained:
        if survey.parameters > SMALL:
            return Decision("adamw", "muon was not tried on large networks with ImageNet weights")
        if recipe.minutes is not None and recipe.minutes < SHORT and survey.machine.device == "cpu":
            return Decision("adamw", "in so few updates new heads learn more by it than by muon")
        if survey.examples * seen(recipe, survey) < LITTLE:
            return Decision(
                "adamw", "few small pictures, seen often, are learnt by heart with muon"
            )
    if survey.parameters > WORTH and survey.machine.device == "cpu":
        return Decision("adamw", "muon takes a processor too long with so many parameters")
    size = "small" if survey.parameters <= SMALL else "large"
    return Decision("muon", f"{size} networks learn more from each update by it")


def lr(recipe: Recipe, survey: Survey) -> Decision:
    """Of small networks higher; it follows the images per update."""
    images, is_small = recipe.batch_size * recipe.accumulate, survey.parameters <= SMALL
    if recipe.optimizer == "sgd":
        rate, base = SGD_RATE
        value, why = rate * images / base, f"{rate:g} for {base} images, in proportion"
    else:
        rate, base = RATE[is_small]
        kind = "a small network" if is_small else "a large network"
        if not (recipe.backbone_weights or recipe.pretrained or recipe.weights):
            if survey.parameters <= TINY:
                rate, kind = rate * FRESH, f"{kind} from nothing"
            elif recipe.optimizer == "muon":
                (rate, base), kind = LARGE, f"{kind} from nothing"
        value = rate * min(1.0, images / base) ** 0.5
        why = f"{rate:g} for {kind} and {base} images or more, less by the root for fewer"
    if recipe.weights:
        value, why = value * ADAPTING, f"a third of {why}, for it goes on learning"
    return Decision(float(f"{value:.2g}"), why)


def heatmap_bias(recipe: Recipe, survey: Survey) -> Decision:
    """Where the loss is least that knows nothing but how rare objects of a class are."""
    codec, shown, names = survey.trained.codec, seen(recipe, survey), survey.sample.names
    if not hasattr(codec, "heatmap_bias"):
        return Decision(None, "")
    if recipe.weights and {*names} <= {*read_header(checkpoint_path(recipe.weights))["names"]}:
        return Decision(None, "")
    objects = survey.objects
    if recipe.window:
        objects = objects * shown / pictured(recipe, survey) + Augment.focus * survey.filled
    share = objects / len(names) / (shown / codec.stride**2)
    why = f"an object of one class is at one cell in {1 / share:,.0f}"
    return Decision(round(best_constant(share), 2), why)


def schedule(recipe: Recipe, survey: Survey) -> Decision:
    """By what is learnt, and of joints by how many there are."""
    if recipe.steps is not None:
        return Decision("steps", "steps are given")
    if _few_crops(survey):
        return Decision("cosine", "joints in few crops lose by a high rate that falls late")
    return Decision("cooldown", "a high rate that falls late gains on most data")


def _few_crops(survey: Survey) -> bool:
    return survey.trained.codec.view.asks and survey.examples < FEW


def seen(recipe: Recipe, survey: Survey) -> int:
    """Returns the pixels of one example, of the first part of the run where windows grow."""
    window = recipe.window
    first = next(iter(window)) if isinstance(window, dict) else window
    return _area(first or recipe.train_size or recipe.size or survey.trained.size)


def pictured(recipe: Recipe, survey: Survey) -> int:
    """Returns the pixels of an input that shows a whole picture."""
    return _area(recipe.size or survey.trained.size)


def _area(size: int | tuple[int, int]) -> int:
    return size**2 if isinstance(size, int) else math.prod(size)
