"""An augmentation of the user's own: a function of a plugin, and a look at what it returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from heatpoint import plugins
from heatpoint.data.scene import Rng, Scene
from heatpoint.errors import HeatpointError, suggest


@dataclass(frozen=True)
class OwnAugment:
    """Calls the function that a plugin has under a name in its table ``AUGMENTATIONS``.

    It takes a ``Scene``, in pixels of the picture as it is on the disk, and the only source of
    chance, and returns a scene: of another size, of fewer or moved objects, as it likes. A function
    that mirrors must let left and right joints change places; ``Scene.moved`` does.

    Processes that load pictures look the function up themselves, so that it may be anything that
    can be called.

    Attributes:
        name: Of the function.
        classes: Number of classes, which bounds the labels.

    Raises:
        HeatpointError: No plugin has a function of that name.
    """

    name: str
    classes: int

    def __post_init__(self) -> None:
        known = plugins.augmentations()
        if self.name not in known:
            has = f"the plugins have {', '.join(sorted(known))}" if known else "no plugin has one"
            raise HeatpointError(
                f"augment_with names no function in a plugin's table AUGMENTATIONS: {self.name!r}"
                f"{suggest(self.name, known)}; {has}; name its file with plugin"
            )

    def __call__(self, scene: Scene, rng: Rng) -> Scene:
        """Returns the scene as the function wants it; the one given is not changed.

        Raises:
            HeatpointError: It returns something else than a scene, or one that cannot be.
        """
        # Pixels may be kept for the next epoch.
        changed = plugins.augmentations()[self.name](replace(scene, image=scene.image.copy()), rng)
        fault = self._fault(scene, changed)
        if fault:
            raise HeatpointError(f"augment_with {self.name}: {fault}")
        return changed  # type: ignore[no-any-return]

    def _fault(self, before: Scene, after: object) -> str:
        """Returns what is wrong with a scene, "" if nothing is."""
        if not isinstance(after, Scene):
            return f"it must return the scene (heatpoint.data.scene.Scene), not {type(after)}"
        image, number = np.asarray(after.image), len(after.labels)
        kind, number_of = before.image.dtype, before.image.shape[2]
        if image.dtype != kind or image.ndim != 3 or image.shape[2] != number_of or not image.size:
            return f"its image must be (h, w, {number_of}) {kind}, not {image.shape} {image.dtype}"
        if after.boxes.shape != (number, 4) or not np.isfinite(after.boxes).all():
            return f"its boxes must be finite, (N, 4) for N = {number} labels"
        if number and not (after.labels.min() >= 0 and after.labels.max() < self.classes):
            return f"its labels must lie in [0, {self.classes})"
        for name, called in (("keypoints", "joints"), ("points", "points")):
            own, changed = getattr(before, name), getattr(after, name)
            if (own is None) != (changed is None):
                return (
                    f"it must leave the {called} to scenes that have some, and add none to others"
                )
            if own is not None and changed.shape != (number, *own.shape[1:]):
                return f"its {name} must be {(number, *own.shape[1:])}, not {changed.shape}"
        return ""
