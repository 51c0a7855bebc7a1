"""How far subjects of a data set agree about which way is up, by their joints."""

from __future__ import annotations

import numpy as np

from heatpoint.data import Annotations

_ROUNDS = 10  # of turning all to their mean, and averaging again; little changes after three

_BETTER = 1.05
"""How much better its mirror image must fit a subject to count: of many shapes both fit alike."""

_TINY = 1e-6  # pixels that joints are apart at least, and what must not divide by nothing


def upright_agreement(annotations: Annotations) -> float:
    """Returns how far subjects agree about which way is up, from 0 (none does) to 1.

    Each is turned until its joints, or those of its mirror image, in which left and right joints
    change places, fit the mean shape best (Gower 1975); the answer is the length of the mean of
    their turns as unit vectors. It is 1 where fewer than two subjects show two joints apart.

    Args:
        annotations: With keypoints (N, J, 3) in image pixels, all of one kind of subject.
    """
    rows = [record.keypoints for record in annotations.images if record.keypoints is not None]
    if annotations.skeleton is None or not rows:
        return 1.0
    joints = np.concatenate(rows)
    seen = joints[..., 2] > 0
    count = np.maximum(seen.sum(1, keepdims=True), 1)
    places = np.where(seen, joints[..., 0] + 1j * joints[..., 1], 0)
    places = np.where(seen, places - places.sum(1, keepdims=True) / count, 0)
    reach = np.abs(places).sum(1, keepdims=True)
    apart = reach[:, 0] > _TINY  # two joints or more, not all in one place
    places, seen = (places / np.maximum(reach, _TINY))[apart], seen[apart]
    if len(places) < 2:
        return 1.0
    flip = list(annotations.skeleton.flip)
    shapes = np.stack((places, -places[:, flip].conj()))  # (2, N, J), the second mirrored
    shown = np.stack((seen, seen[:, flip]))
    mean, each = places[seen.sum(1).argmax()], np.arange(len(places))
    for _ in range(_ROUNDS):
        fits = (mean.conj() * shapes).sum(2)  # whose angles turn the mean to each shape best
        known = np.abs(fits) / np.sqrt(np.maximum((np.abs(mean) ** 2 * shown).sum(2), _TINY))
        better = (known[1] > _BETTER * known[0]).astype(np.intp)
        turns = np.exp(1j * np.angle(fits[better, each]))
        upright = shapes[better, each] * turns[:, None].conj()
        mean = upright.sum(0) / np.maximum(shown[better, each].sum(0), 1)
    return float(np.abs(turns.mean()))
