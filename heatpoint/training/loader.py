"""Batches: how large they are, in which order, and who loads them."""

from __future__ import annotations

import os

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from heatpoint.data.dataset import Batch, EpochSampler, collate, worker_init
from heatpoint.errors import HeatpointError
from heatpoint.training.options import TrainOptions
from heatpoint.training.tasks import Samples


def fit_batch(options: TrainOptions, images: int, processes: int) -> tuple[int, int]:
    """Returns batch size and batches per update, lowered where there are too few images.

    Raises:
        HeatpointError: The batch cannot be split evenly over the processes.
    """
    if options.batch_size % processes:
        raise HeatpointError(
            f"batch_size {options.batch_size} cannot be split evenly over {processes} processes"
        )
    if images < processes:
        raise HeatpointError(f"{images} images cannot be shared by {processes} processes")
    batch = min(options.batch_size, images // processes * processes)
    return batch, max(1, min(options.accumulate, images // batch))


def build_loader(
    options: TrainOptions, samples: Samples, sampler: EpochSampler, batch: int, fabric: Fabric
) -> DataLoader[Batch]:
    """Returns the loader of this process; the incomplete batch at an epoch's end is left out."""
    workers = default_workers(fabric) if options.workers is None else options.workers
    return DataLoader[Batch](
        samples,  # type: ignore[arg-type]
        batch_size=batch,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=fabric.device.type == "cuda",
        drop_last=True,
        worker_init_fn=worker_init,
        persistent_workers=workers > 0,
        # Of its own, for each start of the loader draws a number, resumed epochs one more.
        generator=torch.Generator(),
    )


def default_workers(fabric: Fabric) -> int:
    """Returns one loading process on the CPU, up to eight per device elsewhere."""
    if fabric.device.type == "cpu":
        return 1
    here = max(1, fabric.world_size)
    return max(1, min(8, (os.cpu_count() or 1) // here))
