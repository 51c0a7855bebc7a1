"""The rules of a plan about how pictures are shown and vary, and which come more often.

As in ``rules``, every number that a reader may disagree with stands here with its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from heatpoint.data.augment import Augment
from heatpoint.data.dataset import varied
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.skeleton import name_side
from heatpoint.planning.survey import Decision, Survey
from heatpoint.training.recipe import Recipe

FEW = 2000
"""Examples below which milder variation learns more in the time there is, turned pictures, mosaics
and rare classes are worth a question, and joints in crops want a rate that falls all the time."""

RARE = 0.1
"""Share of the pictures that a class is in, below which these come more often. In 400 drawn
pictures, 10 of them with the rarest class, a tenth gained 8 points of its AP and 2 of all."""

UPRIGHT, TURNED = 0.7, 90.0
"""Agreement about which way is up, from 0 to 1, below which subjects are turned in crops, and how
far in degrees. Of 300 people in sports, who agree by 0.32, PCK@0.1 was 0.513 with 30 degrees, 0.524
with 60, 0.529 with 90 and 0.527 with 180; of 2,500, which come by less often, 180 lost 0.015."""

DIGITS = 10
"""Classes named by digits from which on these are what is seen: fewer may be pips, or numbers of
classes without a name, and dice mirrored are dice."""

CROWD = 8
"""Objects in a picture, on average, from which on one teaches enough alone. Mosaics gained nothing
on blood cells (14), but 4 points of AP on drawn shapes (3.5), 1 on cards (2), 6 on people (1); with
joints of people (1) 1 to 3 of each score, and 2 on four corners of slips (2)."""


MARGIN, CUT = 4.0, 0.02
"""Input pixels around a picture, a cell of most models, and the share of objects cut by its edges
from which on they are left. A quarter of bccd's cells are cut, and many of the cut ones have no
label: margins of 2 to 16 pixels gained 1 to 3 points of AP there, and of points 5 to 11. Where
nothing is cut, a margin only makes pictures smaller."""


def margin(recipe: Recipe, survey: Survey) -> Decision:
    """Where pictures cut objects, which a network cannot tell from those that a view cuts."""
    settings = survey.trained.settings
    if "margin" not in settings:
        return Decision(None, "")
    if recipe.weights:
        return Decision(settings["margin"], "what the weights were trained with")
    if survey.pointed:
        return Decision(MARGIN, "points do not say what edges cut: the network sees the edges")
    share = f"edges cut {survey.cut:.0%} of the objects"
    if survey.cut < CUT:
        return Decision(0.0, share)
    return Decision(MARGIN, f"{share}: the network sees the edges")


def augment(recipe: Recipe, survey: Survey) -> Decision:
    """Milder for few examples."""
    if survey.examples < FEW:
        return Decision("mild", f"{survey.examples:,} examples; from {FEW:,} on as published")
    return Decision("published", f"{survey.examples:,} examples bear it")


def rotate(recipe: Recipe, survey: Survey) -> Decision:
    """Further where few subjects point many ways."""
    codec = survey.trained.codec
    crops = varied(codec.view) is PoseAugment and "keypoints" in codec.learns
    if not crops or recipe.augment != "mild":
        return Decision(None, "")
    agreed = survey.agreed
    if agreed >= UPRIGHT:
        return Decision(PoseAugment.mild().rotation, f"subjects agree by {agreed:.2f} about up")
    return Decision(TURNED, f"few subjects point many ways: they agree by {agreed:.2f} about up")


def flip(recipe: Recipe, survey: Survey) -> Decision:
    """No mirror images where they would seem to be of another class, or of none."""
    codec, classes = survey.trained.codec, sided(survey.sample.names)
    if codec.view.asks or codec.handed:  # joints change their names, or nothing is mirrored
        return Decision(None, "")
    if not classes or (len(classes) < DIGITS and all(name.isdigit() for name in classes)):
        return Decision(None, "")
    return Decision(0.0, f"in a mirror image {classes[0]} may be another class, or none")


def find_upright(recipe: Recipe, survey: Survey) -> Decision:
    """Where turned pictures may help; the run itself finds out whether they have no upright."""
    codec = survey.trained.codec
    if recipe.flip_vertical or recipe.quarter_turns:
        return Decision(False, "pictures are turned as it is")
    if varied(codec.view) is not Augment or "keypoints" in codec.learns:
        return Decision(False, "this model learns joints, or from parts of pictures")
    if codec.handed:
        return Decision(False, "in a mirror image another corner may be the first")
    if recipe.window:  # dice, which can be turned, lost a point of AP by it
        return Decision(False, "windows vary enough as it is")
    if recipe.flip == 0 or sided(survey.sample.names):
        return Decision(False, "a mirror image may be of another class")
    if survey.examples >= FEW:
        return Decision(False, f"{survey.examples:,} examples are enough without")
    return Decision(True, "few examples; whether they may be turned is found out in the run")


def mosaic(recipe: Recipe, survey: Survey) -> Decision:
    """Where few whole pictures hold few objects that have an extent."""
    codec = survey.trained.codec
    if varied(codec.view) is not Augment or "points" in codec.learns:
        return Decision(0.0, "off unless asked for")
    if recipe.window or recipe.augment == "none":
        return Decision(0.0, "pictures are shown otherwise")
    if survey.examples >= FEW:
        return Decision(0.0, f"{survey.examples:,} examples are enough without")
    if survey.objects >= CROWD:
        return Decision(0.0, f"{survey.objects:.0f} objects in a picture are enough")
    why = f"{survey.objects:.1f} objects in a picture: parts of four show more of them"
    return Decision(0.5, why)


def sided(names: Sequence[str]) -> list[str]:
    """Returns the classes that a mirror image seems to confuse: left and right, or letters."""
    either = [name for name in names if name_side(name)[0] != "middle"]
    letters = [name for name in names if re.fullmatch(r"[A-Za-z0-9]", name)]
    return either or (letters if len(letters) > 1 else [])


def repeat_rare(recipe: Recipe, survey: Survey) -> Decision:
    """Where examples are few, and a class is in few of them."""
    if survey.trained.codec.view.asks or survey.examples >= FEW:
        return Decision(0.0, "off unless asked for")
    seen = Counter(label for one in survey.sample.images for label in {*one.labels.tolist()})
    label, count = min(seen.items(), key=lambda item: item[1])
    few = f"{survey.sample.names[label]} is in {count} of {len(survey.sample)} pictures"
    if count >= RARE * len(survey.sample):
        return Decision(0.0, f"no class is rare: {few}")
    return Decision(RARE, f"{few}, which come more often")
