"""The rules of a plan about what is seen at which size: whole pictures, windows of them, crops.

As in ``rules``, every number that a reader may disagree with stands here with its reason.
"""

from __future__ import annotations

import math

from heatpoint.data.augment import Augment
from heatpoint.data.dataset import varied
from heatpoint.inspection.report import window_side
from heatpoint.planning.learning import SMALL
from heatpoint.planning.survey import Decision, Survey
from heatpoint.training.recipe import Recipe
from heatpoint.views.fields import BOXES, POINTS
from heatpoint.views.pictures import Picture
from heatpoint.weights import checkpoint_path, read_header

STEP = 32
"""Sides of inputs are multiples of this many pixels: so are all strides, and rows of SIMD lanes."""

WORK = {"cpu": (256**2, 384**2), "gpu": (384**2, 512**2)}
"""Least and greatest number of input pixels of a whole picture that are worth their time."""

CLEAR = 48
"""Input pixels that nine in ten objects should have: a peak is two or three cells of stride 4."""

APART = 4
"""Cells that nine in ten points should be apart."""

COARSE = 16
"""Input pixels, four cells, below which even enlarging a picture beyond its own pixels pays."""

LOST = 0.02
"""AP of a perfect network that a smaller input may cost."""

FINE, STRETCH = 24, 1.5
"""Input pixels that nine in ten objects should have in predictions, where training shows pictures
smaller, and how far these are enlarged for it. Of drawn traffic with 5 pixels AP was 0.66, and 0.70
with 7; of dice with 19 it was 0.55, and 0.60 with 27; of blood cells with 52 it did not grow."""

WINDOWED = 40
"""Input pixels of the median object where windows are trained on: there is room for detail ..."""

WHOLE, FINER = {"cpu": 1024**2, "gpu": 2048**2}, 2
"""... up to this many pixels of whole pictures, which validation and prediction still see, with
sides up to twice as long where objects would be ``BLURRED``: of dice with 21 pixels, AP was 0.512,
and 0.613 with 39."""

BLURRED = 30
"""Input pixels of the median object below which windows are worth it in crowds, too: of cells with
24 pixels in whole pictures, AP was 0.457 so, and 0.553 where windows showed them with 40."""

CROP_SIDES, CROP_SHARE = (128, 192, 256), 0.6
"""Sides of crops, the smallest of which that has this share of the median crop's own pixels."""


LARGEST = "the largest that is worth its time"


def window(recipe: Recipe, survey: Survey) -> Decision:
    """Where objects cover little of the pictures, or whole pictures would show them too small."""
    codec, network = survey.trained.codec, survey.trained.network
    if varied(codec.view) is not Augment:
        return Decision(0, "this model looks at parts of pictures anyway")
    if recipe.mosaic or recipe.train_size:
        given = "mosaic" if recipe.mosaic else "train_size"
        return Decision(0, f"{given} is given, and shows whole pictures")
    size = recipe.size or _for_windows(recipe, survey)
    shown = (size, size) if isinstance(size, int) else size
    report, sides = survey.measured(shown)
    what = "points with the room between them" if report.pointed else "objects"
    covered = f"{what} cover {report.covered:.0%} of a picture"
    if report.window is not None:
        why = f"{covered}: windows around them see more of them in the time"
        return Decision(report.window, why)
    whole, is_point = _possible(survey)[-1], POINTS in codec.answer
    side = window_side(sides, shown, network.multiple, network.trim)
    if side is not None and not recipe.size and math.prod(whole) < math.prod(shown):
        seen = survey.side(whole, 0.1 if is_point else 0.5)
        if seen < (APART * codec.stride if is_point else BLURRED):
            how = "points {:.0f} pixels apart" if is_point else "objects with {:.0f} pixels"
            why = f"whole pictures that are worth their time show {how.format(seen)}"
            return Decision(side, f"{why}: windows show them larger")
    return Decision(0, f"{covered}: whole pictures")


def _for_windows(recipe: Recipe, survey: Survey) -> tuple[int, int]:
    """Returns the input at which the median object has ``WINDOWED`` pixels, or the picture's own.

    Weights that were trained at a size keep it.
    """
    if recipe.weights:
        return survey.trained.size
    height, width = survey.picture
    side = max(survey.side(survey.legal(height, width, STEP), 0.5), 1.0)
    most = math.sqrt(WHOLE[survey.machine.family] / (height * width))
    if most * side < BLURRED:
        most *= FINER
    zoom = min(1.0, WINDOWED / side, most)
    return survey.legal(height * zoom, width * zoom, STEP)


def train_size(recipe: Recipe, survey: Survey) -> Decision:
    """Smaller than predictions where over one object in ten is small: learning takes more time."""
    codec = survey.trained.codec
    if codec.view is not Picture or BOXES not in codec.answer:
        return Decision(None, "")
    if recipe.size or recipe.window:
        return Decision(None, "")
    if recipe.weights:
        kept = read_header(checkpoint_path(recipe.weights))["meta"].get("train_size")
        return Decision(kept and (kept[0], kept[1]), "what the weights were trained at")
    found = _possible(survey)[-1]
    if _stretched(found, survey) == found:
        return Decision(None, "")
    said = f"nine in ten objects have {survey.side(found):.0f} pixels or more"
    return Decision(found, f"{LARGEST}: {said}")


def size(recipe: Recipe, survey: Survey) -> Decision:
    """The smallest at which objects are clear enough, within what the device does in time."""
    own, codec = survey.trained.size, survey.trained.codec
    is_point = POINTS in codec.answer
    if recipe.weights:
        return Decision(own, "what the weights predict at")
    if codec.view.asks and survey.parameters <= SMALL:
        return _crop(recipe, survey)
    if codec.view is not Picture or not {BOXES, POINTS} & {*codec.answer}:
        return Decision(own, "the model's own")
    if recipe.window:
        side = survey.side(found := _for_windows(recipe, survey), 0.5)
        said = "points are {:.0f} pixels apart" if is_point else "objects have {:.0f} pixels"
        return Decision(found, f"half of the {said.format(side)} or more, seen through windows")
    *smaller, found = _possible(survey)
    why, clear = f"{LARGEST}: ", APART * codec.stride if is_point else CLEAR
    if recipe.train_size:
        smaller, found = [], _stretched(recipe.train_size, survey)
        why = "larger than in training, to see small objects: "
    best = score = survey.reached(found)
    for each in smaller:
        if survey.side(each) >= clear and (reached := survey.reached(each)) >= best - LOST:
            found, score, why = each, reached, ""
            break
    said = "points are {:.0f} pixels apart" if is_point else "objects have {:.0f} pixels or more"
    why += f"nine in ten {said.format(survey.side(found))}, and a perfect network reaches "
    return Decision(found, f"{why}{'F1' if is_point else 'AP'} {score:.3f}")


def _stretched(shown: int | tuple[int, int], survey: Survey) -> tuple[int, int]:
    """Returns the input to predict at: the first at which objects are ``FINE``, or the largest."""
    found = (shown, shown) if isinstance(shown, int) else shown
    height, width = found
    for each in survey.inputs(STEP, 1):
        larger = each != (height, width) and each[0] >= height and each[1] >= width
        if larger and math.prod(each) <= STRETCH**2 * height * width:
            if survey.side(found) >= FINE:
                break
            found = each
    return found


def _possible(survey: Survey) -> list[tuple[int, int]]:
    """Returns inputs of the pictures' shape, ascending, from and up to what is worth its time."""
    least, most = WORK[survey.machine.family]
    enlarged = 1 if survey.side(survey.legal(*survey.picture, STEP)) >= COARSE else 2
    sizes = survey.inputs(STEP, enlarged)
    affordable = [each for each in sizes if math.prod(each) <= most] or sizes[:1]
    return [each for each in affordable if math.prod(each) >= 0.9 * least] or affordable[-1:]


def _crop(recipe: Recipe, survey: Survey) -> Decision:
    padding = recipe.padding or survey.trained.settings.get("padding", 1.0)
    own = padding * survey.crop
    side = next((each for each in CROP_SIDES if each >= CROP_SHARE * own), CROP_SIDES[-1])
    return Decision(survey.legal(side, side), f"the median crop has {own:.0f} pixels of its own")
