"""Random colours: brightness, contrast, saturation and lighting as one 3 x 4 matrix per picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry.affine import Image

_GREY = np.array([0.299, 0.587, 0.114])
# Principal components of COCO's colours for values in [0, 1]; one row per channel. The released
# table is for blue, green, red pixels, so its rows are reversed here.
_COMPONENTS = np.array(
    [
        [-0.56089297, 0.71832671, 0.41158938],
        [-0.58327470, 0.00994535, -0.81221408],
        [-0.58752847, -0.69563484, 0.41340352],
    ]
)
_SPREAD = np.array([0.2141788, 0.01817699, 0.00341571])


def recolour(image: Image, rng: np.random.Generator, colour: float, lighting: float) -> Image:
    """Returns the image under a random ``colour_matrix``, cut to 0-255.

    The released CenterNet goes on with the uncut floats; otherwise the result is the same to one
    grey level.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: The only source of chance.
        colour: Brightness, contrast and saturation each change by up to this share.
        lighting: Spread of the shift along the principal components of colour.
    """
    if colour == 0 and lighting == 0:
        return image
    grey = float(_GREY @ cv2.mean(image)[:3])
    matrix = colour_matrix(grey, rng, colour, lighting)
    return cv2.transform(image, matrix)  # type: ignore[return-value]


def colour_matrix(
    grey: float, rng: np.random.Generator, colour: float, lighting: float
) -> NDArray[np.float64]:
    """Returns a random (3, 4) matrix: new RGB = matrix @ (R, G, B, 1), values 0-255.

    Brightness multiplies, contrast blends with the image's mean grey, saturation blends with the
    pixel's grey, in random order; both greys are those of the unchanged image, as released.
    Lighting (Krizhevsky et al. 2012) comes last.

    Args:
        grey: Mean grey of the image, 0-255.
        rng: The only source of chance.
        colour: As for ``recolour``.
        lighting: As for ``recolour``.
    """
    matrix = np.eye(3, 4)
    for step in rng.permutation(3):
        keep = 1 + rng.uniform(-colour, colour)
        matrix *= keep
        if step == 1:
            matrix[:, 3] += (1 - keep) * grey
        elif step == 2:
            matrix[:, :3] += (1 - keep) * _GREY
    matrix[:, 3] += 255 * _COMPONENTS @ (_SPREAD * rng.normal(size=3) * lighting)
    return matrix
