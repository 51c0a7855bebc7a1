"""The order of an epoch: the same whatever the ranks and interruptions, and how often rare classes
come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import heatpoint
from heatpoint.data.order import Batches, EpochSampler, Place, repeat_factors
from heatpoint.synthetic.pictures import write_shapes


def test_a_run_resumed_in_mid_epoch_sees_the_rest() -> None:
    whole, resumed = EpochSampler(11, seed=2, world_size=2, rank=1), EpochSampler(11, 2, 1, 2)
    whole.set_epoch(3)
    resumed.set_epoch(3, start=8)
    assert list(resumed) == list(whole)[4:]
    assert len(resumed) == len(list(resumed)) == 2
    resumed.set_epoch(4)
    assert len(list(resumed)) == 6


@pytest.mark.parametrize("start", [0, 4, 10])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_any_number_of_processes_takes_the_order_of_one(world: int, start: int) -> None:
    alone, *samplers = EpochSampler(19, 5), *(EpochSampler(19, 5, r, world) for r in range(world))
    for sampler in (alone, *samplers):
        sampler.set_epoch(1, start)
    together = [index for rows in zip(*samplers, strict=True) for index in rows]
    assert together[: 19 - start] == list(alone)


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("length", [0, 1, 3, 10])
def test_ranks_share_the_order_evenly(length: int, world: int) -> None:
    samplers = [EpochSampler(length, 5, rank, world) for rank in range(world)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {-(-length // world)}
    assert {len(sampler) for sampler in samplers} == {-(-length // world)}
    assert {index for part in parts for _, index in part} == set(range(length))
    assert all(epoch == 0 for part in parts for epoch, _ in part)


def test_the_order_changes_with_epoch_and_seed_only() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, seed)
        sampler.set_epoch(epoch)
        return [index for _, index in sampler]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    assert sorted(order(1, 2)) == list(range(50))
    with pytest.raises(ValueError, match="rank"):
        EpochSampler(5, rank=2, world_size=2)


def drawn_classes(counts: dict[int, int], samples: int) -> list[NDArray[np.int64]]:
    """Returns the classes of samples, of which the first ``count`` have a class."""
    return [np.array([k for k in counts if index < counts[k]]) for index in range(samples)]


def test_factors_are_those_of_the_paper_but_for_a_whole_sum() -> None:
    classes = [np.repeat(labels, 2) for labels in drawn_classes({0: 400, 1: 10, 2: 100}, 400)]
    factors = repeat_factors(classes, share=0.1)
    grown = factors.sum() / (10 * 2 + 390)
    assert 1 <= grown < 1 + 1 / 410
    assert factors[:10] == pytest.approx(2 * grown)  # sqrt(0.1 / 0.025)
    assert factors[10:] == pytest.approx(grown)
    assert factors.sum() == pytest.approx(round(factors.sum()), abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_nothing_is_repeated_where_no_class_is_rare(share: float) -> None:
    assert repeat_factors(drawn_classes({0: 9, 1: 3}, 12), share).tolist() == [1.0] * 12


def test_factors_of_no_samples_and_of_empty_ones() -> None:
    assert not len(repeat_factors([], 0.5))
    assert repeat_factors([np.zeros(0, np.int64)] * 3, 0.5).tolist() == [1.0] * 3


@pytest.mark.parametrize("world", [1, 2, 3])
def test_samples_come_as_often_as_they_should(world: int) -> None:
    factors = repeat_factors(drawn_classes({0: 40, 1: 3, 2: 11}, 40), share=0.6)
    samplers = [EpochSampler(factors, 7, rank, world) for rank in range(world)]
    total: Counter[int] = Counter()
    for epoch in range(200):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        places = [place for sampler in samplers for place in sampler]
        length = samplers[0].length
        assert len(places) == -(-length // world) * world
        own = Counter(index for _, index, *_ in places)
        if world == 1:
            assert len(set(places)) == length
            times = np.array([own[index] for index in range(40)])
            assert (times >= np.floor(factors)).all()
            assert (times <= np.ceil(factors)).all()
        total += own
    seen = np.array([total[index] for index in range(40)]) / 200
    assert seen == pytest.approx(factors, abs=0.15)


def test_a_resumed_epoch_of_repeated_samples_sees_the_rest() -> None:
    factors = repeat_factors(drawn_classes({0: 9, 1: 2}, 9), share=0.8)
    whole, resumed = EpochSampler(factors, 2), EpochSampler(factors, 2)
    whole.set_epoch(4)
    resumed.set_epoch(4, start=5)
    assert list(resumed) == list(whole)[5:]
    assert len(resumed) == whole.length - 5


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("world", "rank"), [(1, 0), (2, 1)])
@pytest.mark.parametrize("start", [0, 4, 16, 22])
def test_one_epoch_follows_the_other(accumulate: int, world: int, rank: int, start: int) -> None:
    sampler = EpochSampler(22, 3, rank, world)
    sampler.set_epoch(5, start)
    batches = islice(Batches(sampler, 2, accumulate), 40)
    found = [place for batch in batches for place in batch]
    expected: list[Place] = []
    again = EpochSampler(22, 3, rank, world)
    for epoch in range(5, 20):
        again.set_epoch(epoch, start if epoch == 5 else 0)
        whole = (22 - again.start) // (2 * accumulate * world) * 2 * accumulate
        expected += list(again)[:whole]
    assert found == expected[:80]


def test_batches_that_nothing_fills_end() -> None:
    assert list(Batches(EpochSampler(3), 4)) == []
    sampler = EpochSampler(4)
    sampler.set_epoch(0, 4)
    assert [place[0] for place in next(iter(Batches(sampler, 4)))] == [1, 1, 1, 1]


def test_a_run_starts_its_loader_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    original = Batches.__iter__

    def counted(self: Batches) -> Iterator[list[Place]]:
        begun.append((self.sampler.epoch, self.sampler.start))
        return original(self)

    monkeypatch.setattr(Batches, "__iter__", counted)
    write_shapes(tmp_path / "drawn", 10, (64, 64), 0)
    result = heatpoint.train(
        str(tmp_path / "drawn"),
        val=str(tmp_path / "drawn"),
        model="centernet_tiny",
        size=64,
        epochs=3,
        batch_size=4,
        workers=0,
        accelerator="cpu",
        pictures=False,
        find_upright=False,
        mosaic=0,
        out=str(tmp_path / "run"),
    )
    assert result.updates == 6
    assert begun == [(0, 0)]
