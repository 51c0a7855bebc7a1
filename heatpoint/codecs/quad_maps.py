"""How a cell of the maps says four corners: one by one, or as what is left without a first one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from heatpoint.codecs import MapSpec
from heatpoint.codecs.box_maps import MOST
from heatpoint.views.fields import MIRRORED

_DIAGONAL = math.sqrt(0.5)
"""Parts of a unit vector along a diagonal."""

_SHORT = 1e-6
"""Least length by which is divided."""


class QuadMaps(Protocol):
    """What a codec asks of a way to say four corners in one map.

    Ways (..., 4, 2) lead from the middle of a cell to corners that follow each other clockwise, x
    and y in cells; numbers (..., n) are what the map says of them.
    """

    @property
    def spec(self) -> MapSpec:
        """The map."""

    def written(self, ways: Tensor) -> Tensor:
        """Returns what the map says about corners."""

    def read(self, numbers: Tensor) -> Tensor:
        """Returns the ways to the corners that a map says."""

    def away(self, numbers: Tensor, ways: Tensor) -> Tensor:
        """Returns how far corners (..., 4, 2) that a map says are from true ones, to learn from."""

    def like(self, quads: Tensor, own: Tensor) -> Tensor:
        """Returns quads (..., S, 4, 2) with the first corner of those that they are compared with.

        Args:
            quads: Of S cells, in the order of ``read``.
            own: (..., 4, 2), of another cell.
        """

    def unflip(self, numbers: Tensor) -> Tensor:
        """Returns numbers (B, n, h, w) of the mirrored image (x to W - x) as those of the image."""


@dataclass(frozen=True)
class Corners:
    """The four ways one after the other, for corners of which one is the first.

    A way is written as it is up to a length of one cell, and beyond in its direction with the
    length ``1 + ln``: an error of the map is a share of a long way and a part of a cell of a short
    one (see ``box_maps.Sides``), and what is written turns with the object. Coordinates written
    each by itself are slow to learn: they jump where a corner passes above or beside the middle.
    """

    @property
    def spec(self) -> MapSpec:
        """``corners``, x and y of four ways."""
        return MapSpec("corners", 8, branch="corners", std=0.001)

    def written(self, ways: Tensor) -> Tensor:
        """Returns x and y of each way as it is written."""
        return _written(ways).flatten(-2)

    def read(self, numbers: Tensor) -> Tensor:
        """Returns the four ways."""
        return _read(_pairs(numbers, -1))

    def away(self, numbers: Tensor, ways: Tensor) -> Tensor:
        """Returns the corners that a map says, less the true ones, in cells."""
        return self.read(numbers) - ways

    def like(self, quads: Tensor, own: Tensor) -> Tensor:
        """Returns quads as they are: the map says which corner is the first."""
        return quads

    def unflip(self, numbers: Tensor) -> Tensor:
        """Returns ways that point to the other side, in an order that is clockwise again."""
        ways = _pairs(numbers.flip(-1), 1)[:, MIRRORED]
        return (ways * ways.new_tensor((-1.0, 1.0))[:, None, None]).flatten(1, 2)


@dataclass(frozen=True)
class Outline:
    """Numbers that are the same for each of the four turns, for corners of which none is first.

    Half a turn of a rectangle, or a quarter of a square, gives the same picture. Whatever says four
    corners one after the other, and never jumps, has by then gone on to the next corner: so it must
    jump at some angle, and near it a network says the mean of two turns, which is a diamond. What
    is written here never jumps. With corners as complex numbers z_k, a turn k to k + 1 multiplies
    the terms of their Fourier transform

        middle = mean z_k,  a = mean z_k i^-k,  b = mean z_k i^k,  c = mean z_k (-1)^k

    by 1, i, -i and -1: ``a`` is the square that fits best, ``b`` what makes a rectangle of it,
    ``c`` what parallelograms lack. With e = a / |a|, the map says

        1 + ln |a|,  middle,  e^4,  e b / |a|,  e^2 c / |a|

    whose values no turn changes (lengths as in ``Corners``). Any fourth root of e^4 gives the
    corners back, in one turn or another. ``a`` is never 0: the area is 2 (|a|^2 - |b|^2), and
    corners are clockwise. Yu and Da (2023) say the angles of rotated boxes by such 2- and
    4-fold ones; this holds for all quads.
    """

    @property
    def spec(self) -> MapSpec:
        """``outline``, a length, and x and y of four complex numbers."""
        return MapSpec("outline", 9, branch="corners", std=0.001)

    def written(self, ways: Tensor) -> Tensor:
        """Returns what no turn of the corners changes."""
        one, two, three, four = ways.unbind(-2)
        leaning = (one - three + _quarter(two - four)) / 4
        rest = (one - two + three - four) / 4
        along, length = _square(ways)
        twice = _times(along, along)
        values = (
            torch.where(length < 1, length, 1 + length.clamp(min=1).log()),
            _written(ways.mean(-2)),
            _times(twice, twice),
            _times(along, leaning) / length,
            _times(twice, rest) / length,
        )
        return torch.cat(values, -1)

    def read(self, numbers: Tensor) -> Tensor:
        """Returns the four ways, from the one on that leads to the upper left."""
        written, pairs = numbers[..., :1], numbers[..., 1:]
        middle, fourth, leaning, rest = _pairs(pairs, -1).unbind(-2)
        beyond = (written - 1).clamp(max=MOST).exp()
        length = torch.where(written < 1, written.clamp(min=0), beyond)
        # The root is within an eighth of a turn of the right, so turned of the upper left.
        root = _root(_root(-fourth / _norm(fourth).clamp(min=_SHORT)))
        along = -_DIAGONAL * (root + _quarter(root))  # times -_DIAGONAL (1 + i)
        a = along * length
        b = _times(_conjugate(along), leaning) * length
        c = _times(_conjugate(_times(along, along)), rest) * length
        return _read(middle).unsqueeze(-2) + _corners(a, b, c)

    def away(self, numbers: Tensor, ways: Tensor) -> Tensor:
        """Returns how far corners are moved, in cells, by what numbers are off, to first order.

        Reading is no way to learn: it takes a root of a number whose direction means nothing until
        it is learnt. So the derivative is taken at the true corners. With the numbers (l, m, f, B,
        C) of a quad and what they are off, the square turns by dt = Im(df / f) / 4, and

            da = e (dL + i L dt),  db = (B dL + L (dB - i B dt)) / e,
            dc = (C dL + L (dC - 2 i C dt)) / e^2,

        where L = |a| grows by dL = L dl, or by dl below one cell. The middle is read.
        """
        along, length = _square(ways)
        _, fourth, leaning, rest = _pairs((true := self.written(ways))[..., 1:], -1).unbind(-2)
        off = numbers - true
        _, turned, leant, bent = _pairs(off[..., 1:], -1).unbind(-2)
        grown = off[..., :1] * length.clamp(min=1)
        turn = _times(_conjugate(fourth), turned)[..., 1:] / 4
        leant = leaning * grown + length * (leant - _quarter(leaning) * turn)
        bent = rest * grown + length * (bent - 2 * _quarter(rest) * turn)
        a = _times(along, torch.cat((grown, length * turn), -1))
        b, c = _times(_conjugate(along), leant), _times(_conjugate(_times(along, along)), bent)
        middle = _read(numbers[..., 1:3]) - ways.mean(-2)
        return middle.unsqueeze(-2) + _corners(a, b, c)

    def like(self, quads: Tensor, own: Tensor) -> Tensor:
        """Returns quads in that of their four turns whose corners are the nearest."""
        turns = torch.stack([quads.roll(turn, -2) for turn in range(4)], -3)
        away = (turns - own[..., None, None, :, :]).square().sum((-1, -2))
        nearest = away.argmin(-1)[..., None, None, None].expand(*away.shape[:-1], 1, 4, 2)
        return turns.gather(-3, nearest).squeeze(-3)

    def unflip(self, numbers: Tensor) -> Tensor:
        """Returns numbers turned back: each z is minus its conjugate, in the other order."""
        signs = numbers.new_tensor((1.0, -1, 1, 1, -1, 1, -1, -1, 1))
        return numbers.flip(-1) * signs[:, None, None]


def _square(ways: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a / |a| (..., 2) and |a| (..., 1) of the square that fits corners best."""
    one, two, three, four = ways.unbind(-2)
    square = (one - three + _quarter(four - two)) / 4
    length = _norm(square).clamp(min=_SHORT)
    return square / length, length


def _corners(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Returns corners (..., 4, 2) around their middle, of the terms of their Fourier transform."""
    turned, other = _quarter(a), _quarter(b)
    return torch.stack((a + b + c, turned - other - c, c - a - b, other - turned - c), -2)


def _pairs(numbers: Tensor, axis: int) -> Tensor:
    """Returns eight numbers along an axis as four pairs."""
    pairs: Tensor = torch.unflatten(numbers, axis, (4, 2))
    return pairs


def _written(way: Tensor) -> Tensor:
    """Returns ways (..., 2) in cells as a map says them; see ``Corners``."""
    length = _norm(way).clamp(min=1)
    return way * (1 + length.log()) / length


def _read(written: Tensor) -> Tensor:
    """Returns the ways in cells that a map says."""
    # The root of a clamped sum has a gradient at 0, too.
    length = written.square().sum(-1, keepdim=True).clamp(min=1).sqrt()
    return written * (length - 1).clamp(max=MOST).exp() / length


def _norm(way: Tensor) -> Tensor:
    """Returns the lengths (..., 1) of ways (..., 2)."""
    return way.square().sum(-1, keepdim=True).sqrt()


def _times(one: Tensor, other: Tensor) -> Tensor:
    """Returns the products of complex numbers (..., 2); exporters know no complex tensors."""
    (a, b), (c, d) = one.unbind(-1), other.unbind(-1)
    return torch.stack((a * c - b * d, a * d + b * c), -1)


def _quarter(number: Tensor) -> Tensor:
    """Returns complex numbers (..., 2) times i, which is a quarter turn, clockwise as seen."""
    return torch.stack((-number[..., 1], number[..., 0]), -1)


def _conjugate(number: Tensor) -> Tensor:
    """Returns the conjugates of complex numbers (..., 2)."""
    return torch.stack((number[..., 0], -number[..., 1]), -1)


def _root(unit: Tensor) -> Tensor:
    """Returns the square roots, of positive real part, of complex numbers (..., 2) of length 1.

    The larger part comes from a root and the other by division: of nearly equal numbers, the
    difference would be too rough.
    """
    real, imaginary = unit.unbind(-1)
    larger = ((1 + real.abs()) / 2).sqrt()
    smaller = imaginary / (2 * larger)
    cosine = torch.where(real < 0, smaller.abs(), larger)
    sine = torch.where(real < 0, torch.where(imaginary < 0, -larger, larger), smaller)
    return torch.stack((cosine, sine), -1)
