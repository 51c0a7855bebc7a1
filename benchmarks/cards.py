"""Draws playing cards over photographs: some 300 pictures of few, large objects of six classes.

    python benchmarks/cards.py ../shared/data/lspet/images cards
    heatpoint train cards/train/annotations.json --val cards/val/annotations.json --minutes 15

None of the folders of real data holds what many people have: a few hundred pictures of large
objects that are told apart by small marks. The background are photographs, each of them behind one
picture only; show the pictures to nobody if the licence of the photographs forbids it. One to four
cards, 110 to 210 pixels wide, lie in 640x480, turned, tilted, in uneven light, over each other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.images import load_image
from heatpoint.geometry import Image
from heatpoint.synthetic import write_set

RANKS = {"nine": "9", "ten": "10", "jack": "J", "queen": "Q", "king": "K", "ace": "A"}
SIZE = 480, 640
WIDE, HIGH = 240, 336
"""Pixels of a card before it is laid down."""

VISIBLE = 0.5
"""Share of itself that each card keeps in view; one that would hide more of another is not laid."""

RED, BLACK = (190, 20, 30), (20, 20, 25)
COLOURS = (RED, RED, BLACK, BLACK)
"""Of hearts, diamonds, spades and clubs, which are numbered in this order."""

PIPS = {
    "nine": [(x, y) for x in (0.33, 0.67) for y in (0.2, 0.4, 0.6, 0.8)] + [(0.5, 0.5)],
    "ten": [(x, y) for x in (0.33, 0.67) for y in (0.2, 0.4, 0.6, 0.8)] + [(0.5, 0.3), (0.5, 0.7)],
    "ace": [(0.5, 0.5)],
}


def pip(card: Image, suit: int, x: float, y: float, size: float) -> None:
    """Paints the sign of a suit, ``size`` pixels high, around a place of the card."""
    colour, half = COLOURS[suit], size / 2

    def disc(dx: float, dy: float, radius: float) -> None:
        middle = (round(x + dx * half), round(y + dy * half))
        cv2.circle(card, middle, max(1, round(radius * half)), colour, -1, cv2.LINE_AA)

    def corners(*places: tuple[float, float]) -> None:
        shape = np.array([(x + dx * half, y + dy * half) for dx, dy in places])
        cv2.fillPoly(card, [shape.round().astype(np.int32)], colour, cv2.LINE_AA)

    if suit == 0:
        disc(-0.42, -0.35, 0.46)
        disc(0.42, -0.35, 0.46)
        corners((-0.85, -0.15), (0.85, -0.15), (0, 1))
    elif suit == 1:
        corners((0, -1), (0.7, 0), (0, 1), (-0.7, 0))
    elif suit == 2:
        disc(-0.42, 0.25, 0.46)
        disc(0.42, 0.25, 0.46)
        corners((-0.85, 0.1), (0.85, 0.1), (0, -1))
    else:
        disc(0, -0.5, 0.45)
        disc(-0.45, 0.2, 0.45)
        disc(0.45, 0.2, 0.45)
    if suit > 1:
        corners((0, 0), (0.3, 1), (-0.3, 1))


def face(rank: str, suit: int, rng: np.random.Generator) -> Image:
    """Returns a card (336, 240, 3) as it lies before somebody who plays."""
    paper = rng.uniform(225, 255)
    card = np.full((HIGH, WIDE, 3), paper, np.uint8)
    colour = COLOURS[suit]
    for _ in range(2):  # the same from both ends
        text, scale = RANKS[rank], 1.5 if rank != "ten" else 1.2
        cv2.putText(card, text, (10, 46), cv2.FONT_HERSHEY_DUPLEX, scale, colour, 3, cv2.LINE_AA)
        pip(card, suit, 27, 70, 30)
        card = np.ascontiguousarray(card[::-1, ::-1])
    for x, y in PIPS.get(rank, []):
        pip(card, suit, x * WIDE, y * HIGH, 90 if rank == "ace" else 48)
    if rank not in PIPS:  # a court card: a frame, and a figure of stripes in its colours
        cv2.rectangle(card, (55, 45), (WIDE - 55, HIGH - 45), (40, 60, 150), 3)
        colours = {"jack": (60, 110, 190), "queen": (200, 60, 110), "king": (215, 160, 40)}
        for step, start in enumerate(range(50, HIGH - 60, 34)):
            shade = colours[rank] if step % 2 else colour
            cv2.ellipse(card, (WIDE // 2, start + 20), (48, 17), 0, 0, 360, shade, -1, cv2.LINE_AA)
    return card


def lay(
    image: Image, card: Image, rng: np.random.Generator
) -> tuple[Image, NDArray[np.bool_], NDArray[np.float64]]:
    """Returns the picture with a card on it, what that covers (H, W), and its corners (4, 2)."""
    width = rng.uniform(110, 210)
    height = width * HIGH / WIDE
    angle = rng.uniform(-np.pi, np.pi)
    turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    flat = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * (width / 2, height / 2)
    tilted = flat * (1, rng.uniform(0.65, 1)) @ turn.T + rng.normal(0, 0.03 * width, (4, 2))
    places = tilted + rng.uniform((0.1 * SIZE[1], 0.1 * SIZE[0]), (0.9 * SIZE[1], 0.9 * SIZE[0]))
    source = np.array(((0, 0), (WIDE, 0), (WIDE, HIGH), (0, HIGH)), np.float32)
    matrix = cv2.getPerspectiveTransform(source, places.astype(np.float32))
    light = np.linspace(rng.uniform(0.55, 1), rng.uniform(0.55, 1), WIDE)[None, :, None]
    shaded = (card * light).astype(np.uint8)
    moved = cv2.warpPerspective(shaded, matrix, SIZE[::-1])
    covers = cv2.warpPerspective(np.full((HIGH, WIDE), 255, np.uint8), matrix, SIZE[::-1]) > 127
    return np.where(covers[..., None], moved, image), covers, places


def draw(photo: Image, rng: np.random.Generator) -> tuple[Image, ImageRecord]:
    """Returns a photograph with cards on it, and their boxes, cut at its edges."""
    scale = max(SIZE[0] / photo.shape[0], SIZE[1] / photo.shape[1])
    size = (
        max(SIZE[1], round(photo.shape[1] * scale)),
        max(SIZE[0], round(photo.shape[0] * scale)),
    )
    image = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)[: SIZE[0], : SIZE[1]]
    ranks, wanted = list(RANKS), int(rng.integers(1, 5))
    views: list[NDArray[np.bool_]] = []
    areas, boxes, labels = list[float](), list[NDArray[np.float64]](), list[int]()
    while len(boxes) < wanted:
        label = int(rng.integers(len(ranks)))
        later, covers, corners = lay(image, face(ranks[label], int(rng.integers(4)), rng), rng)
        area = cv2.contourArea(corners.astype(np.float32))
        left = [*(view & ~covers for view in views), covers]
        if any(
            view.sum() < VISIBLE * whole for view, whole in zip(left, [*areas, area], strict=True)
        ):
            continue
        image, views = later, left
        areas.append(area)
        labels.append(label)
        ends = np.concatenate((corners.min(0), corners.max(0)))
        boxes.append(ends.clip(0, np.tile(SIZE[::-1], 2)))
    noise = rng.normal(0, rng.uniform(1, 6), image.shape)
    image = (image * rng.uniform(0.6, 1.15) + noise).clip(0, 255).astype(np.uint8)
    return image, ImageRecord(Path(), SIZE, np.stack(boxes), np.array(labels, np.int64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, help="folder of photographs, the background")
    parser.add_argument("folder", type=Path, help="folder to write train and val to")
    parser.add_argument("--count", type=int, nargs=2, default=(296, 150), help="train and val")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    photographs = sorted(chosen.photographs.glob("*.jpg"))
    if len(photographs) < sum(chosen.count):
        parser.error(
            f"{chosen.photographs} has {len(photographs)} photographs (.jpg), of "
            f"{sum(chosen.count)} that --count asks for; name another folder, or lower --count"
        )
    order = iter(np.random.default_rng(chosen.seed).permutation(len(photographs)))
    for part, (name, count) in enumerate(zip(("train", "val"), chosen.count, strict=True)):

        def one(rng: np.random.Generator) -> tuple[Image, ImageRecord]:
            return draw(load_image(photographs[next(order)]), rng)

        seed = 2 * chosen.seed + part
        print(
            write_set(chosen.folder / name, count, SIZE, seed, Annotations(tuple(RANKS), []), one)
        )


if __name__ == "__main__":
    main()
