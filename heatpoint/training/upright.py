"""Whether pictures have an upright, found out from a detector that has learnt for a while.

People, cars and arrows have one; cells, grains, dice and most things seen from above have none. A
detector that has seen pictures only as they are finds the latter just as well upside down and on
their side. Then there are eight ways to show each picture, and where pictures are few, the seven
new ones are worth much.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from heatpoint.data import Annotations, Size
from heatpoint.data.augment import Augment
from heatpoint.data.dataset import TrainSet, collate
from heatpoint.training.processes import on_first
from heatpoint.zoo.detector import Detector

if TYPE_CHECKING:
    from heatpoint.training.setup import Run

ASKED, LEARNT = 0.25, 250
"""Part of the run, and number of updates, after which it is found out: an untrained detector
recognises nothing either way."""

FOUND = 0.1
"""Best validation score so far, below which nothing is asked yet: what finds nothing tells nothing.
After 5 minutes with 41 photographs of 80 classes (AP 0.000), these seemed to have no upright."""

ALIKE = 1.15
"""Loss of turned pictures over that of pictures as they are, up to which they look alike. Held out
and measured: blood cells 1.06 to 1.10, dice 1.04, people in sports 1.26, arrows 3.3."""

PICTURES, OBJECTS = 32, 30
"""Pictures that are looked at, at most, and objects that must be in them to tell anything."""

TOGETHER = 8
"""Pictures that are looked at together."""

KEPT = 2**28
"""Bytes of decoded pictures that are kept for the second and third look."""

TURNS: tuple[dict[str, Any], ...] = ({}, {"flip_vertical": 1.0}, {"quarter_turn": 1.0})
"""As they are, upside down, and with x and y in each other's place."""


def find_upright(run: Run) -> None:
    """Turns pictures from the running epoch on, if it is time to ask and they have no upright.

    Nothing happens within an epoch, so that a resumed run asks when the whole one did.
    """
    position = run.position
    if not run.options.find_upright or position.turns is not None or position.step:
        return
    if position.updates < LEARNT or run.clock.position(run.passes) < ASKED:
        return
    if position.best is not None and position.best < FOUND:
        return
    shown, meta = run.stage.window or run.train_size, run.averaged.meta
    learner = replace(run.averaged, meta={**meta, "size": list(run.train_size)})
    ask = partial(turned_loss, learner, run.data.shown, shown, run.fabric.device)
    loss = on_first(run.fabric, ask)
    position.turns = loss <= ALIKE
    said = f"upside down or on their side, held-out pictures have {loss:.2f} times the loss"
    if not math.isfinite(loss):
        few = f"fewer than {OBJECTS} objects in held-out pictures"
        run.display.say(f"{few} do not tell whether these have an upright: they are not turned")
    elif position.turns:
        run.turn()
        run.display.say(f"{said}: they have no upright, and are mirrored and turned from now on")
    else:
        run.display.say(f"{said}: they have an upright, and are not turned")


def turned_loss(
    detector: Detector, held_out: Annotations, size: Size, device: torch.device
) -> float:
    """Returns the loss of turned pictures over that of the same pictures as they are.

    Of upside down and on their side, the larger one counts. Each look is at the same square part of
    a picture, so that nothing but the turn differs.

    Args:
        detector: Has learnt from pictures as they are, or mirrored left and right.
        held_out: Pictures that it has not learnt from.
        size: (H, W) of what training shows.
        device: Computes.

    Returns:
        A number about 1 where pictures have no upright; infinite where there are too few objects
        to tell.
    """
    number = min(PICTURES, len(held_out))
    some = held_out.subset(np.linspace(0, len(held_out) - 1, number).round().astype(int).tolist())
    codec, network, side = detector.codec, detector.network.eval(), min(size)
    # Windows lie over objects, as in training; of whole pictures the square lies within.
    looked = replace(Augment.none(), window=(side, side))
    if side == min(detector.size):
        looked = replace(looked, focus=0.0)
    samples = TrainSet(some, detector.size, cache_bytes=KEPT, learns=codec.learns)
    losses = []
    for turn in TURNS:
        samples.augment = replace(looked, **turn)
        views, total, objects = [samples[0, index] for index in range(len(samples))], 0.0, 0
        for start in range(0, len(views), TOGETHER):
            batch = collate(views[start : start + TOGETHER]).to(device)
            wanted = codec.encode(batch.targets, (side, side))
            with torch.inference_mode():
                terms = codec.loss(network(batch.images)[-1], wanted)
            total += float(torch.stack([*terms.values()]).sum()) * len(batch.targets)
            objects += sum(len(target.boxes) for target in batch.targets)
        if objects < OBJECTS:
            return math.inf
        losses.append(total)
    return max(losses[1:]) / losses[0]
