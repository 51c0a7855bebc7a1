"""In which order the samples of an epoch come, and how often those of rare classes do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Place = tuple[int, ...]
"""(epoch, index) of a sample; from its second time in an epoch on also how often it came before."""


def repeat_factors(classes: Sequence[NDArray[np.int64]], share: float) -> NDArray[np.float64]:
    """Returns how often each sample is to come in an epoch, so that rare classes are seen more.

    Repeat factor sampling (Gupta et al. 2019, LVIS): a class in a part f of the samples has the
    factor max(1, sqrt(share / f)), a sample the largest of its classes. All grow a little, by less
    than one sample in sum, so that every epoch has equally many.

    Example:
        >>> few, many = np.array([1]), np.array([0, 0])
        >>> repeat_factors([few, many, many, many], share=0.5).round(2).tolist()
        [1.6, 1.13, 1.13, 1.13]

    Args:
        classes: Class indices of the objects of each of N samples, (n,) each; none in empty ones.
        share: Part of the samples, from 0 to 1, that a class must be in to be drawn no more often
            than it comes.

    Returns:
        (N,) factors, whose sum is whole.
    """
    seen = Counter(label for labels in classes for label in np.unique(labels).tolist())
    rare = {label: (share * len(classes) / count) ** 0.5 for label, count in seen.items()}
    factors = np.array([max([1.0, *(rare[k] for k in labels.tolist())]) for labels in classes])
    total = factors.sum()
    return np.asarray(factors * (math.ceil(total) / total)) if len(factors) else factors


class EpochSampler(Sampler[Place]):
    """The order of one epoch for one process: (epoch, index) pairs.

    The order is a function of (seed, epoch), and from ``start`` on process ``rank`` takes every
    ``world_size``-th entry. So the processes' next batches are together the next images of the
    order, however many processes there are, also where a run goes on with more or fewer of them.
    The order repeats its beginning until all processes have equally many.

    Example:
        >>> sampler = EpochSampler(3, rank=1, world_size=2)
        >>> sampler.set_epoch(5)
        >>> list(sampler)
        [(5, 1), (5, 0)]

    Args:
        samples: Number of samples, or (N,) how often each is to come, with a whole sum. A sample
            with 1.3 comes once or twice, the latter in three of ten epochs.
        seed: Start of all chance, not negative.
        rank: This process, from 0.
        world_size: Number of processes.

    Attributes:
        length: Samples of an epoch.
    """

    def __init__(
        self,
        samples: int | NDArray[np.float64],
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in [0, {world_size}), got {rank}")
        self._factors = None if isinstance(samples, int) else samples
        self.length = samples if isinstance(samples, int) else round(samples.sum())
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.epoch, self.start = 0, 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Chooses the epoch, and how many samples to skip, those of all processes counted.

        Call it before iterating; workers of a ``DataLoader`` need not be told.
        """
        self.epoch, self.start = epoch, start

    def order(self) -> NDArray[np.int64]:
        """Returns what is left for this process, (n, 2): index, and how often it came before."""
        rng = np.random.default_rng([self.seed, self.epoch, 0])
        if self._factors is None:
            indices = rng.permutation(self.length)
            order = np.stack((indices, np.zeros_like(indices)), 1)
        else:
            # Systematic sampling: one draw decides for all, and the number of all is certain.
            ends = np.floor(np.cumsum(self._factors).round(6) + rng.random()).astype(np.int64)
            times = np.diff(ends, prepend=0)
            indices = np.repeat(np.arange(len(times)), times)
            before = np.arange(len(indices)) - np.repeat(ends - times, times)
            order = rng.permutation(np.stack((indices, before), 1))
        whole = np.resize(order, (self.start + len(self) * self.world_size, 2))
        return whole[self.start :][self.rank :: self.world_size]

    def __len__(self) -> int:
        return max(0, -(-(self.length - self.start) // self.world_size))

    def __iter__(self) -> Iterator[Place]:
        for index, before in self.order().tolist():
            yield (self.epoch, index, before) if before else (self.epoch, index)


class Batches(Sampler[list[Place]]):
    """The batches of one epoch after the other, without end.

    So loading processes go on with the next epoch while the last batches of one are learnt from.
    What does not fill an update is left out of each epoch.

    Args:
        sampler: Of one epoch; the batches begin where it stands when they are iterated.
        size: Samples of a batch of this process.
        accumulate: Batches of an update.
    """

    def __init__(self, sampler: EpochSampler, size: int, accumulate: int = 1) -> None:
        self.sampler, self.size, self.accumulate = sampler, size, accumulate

    def __iter__(self) -> Iterator[list[Place]]:
        sampler = self.sampler
        epoch, start, idle = sampler.epoch, sampler.start, 0
        while idle < 2:  # an update takes more samples than an epoch has
            sampler.set_epoch(epoch, start)
            left = sampler.length - start
            updates = left // (self.size * self.accumulate * sampler.world_size)
            places = iter(sampler)
            for _ in range(updates * self.accumulate):
                yield list(islice(places, self.size))
            epoch, start, idle = epoch + 1, 0, 0 if updates else idle + 1
