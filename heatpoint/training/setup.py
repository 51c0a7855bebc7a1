"""The detector a run starts from: built anew, or taken from a file and fitted to the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.dataset import Batch, EpochSampler, TrainSet, collate, worker_init
from heatpoint.data.scene import subject_name
from heatpoint.errors import HeatpointError
from heatpoint.inference.metrics import score_columns
from heatpoint.networks import Network
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.system import Interrupt, usable_cores
from heatpoint.training.data import TrainingData, fingerprint, training_set
from heatpoint.training.optimize import (
    DECAY,
    Clock,
    Ema,
    Schedule,
    build_optimizer,
    default_rate,
    freeze,
)
from heatpoint.training.options import TrainOptions, milestones, plain, total_epochs
from heatpoint.training.processes import describe_device
from heatpoint.training.report import Display, Events
from heatpoint.training.state import Parts, Position, load_resume, restore
from heatpoint.views import input_size
from heatpoint.weights import checkpoint_path
from heatpoint.zoo.detector import Detector, read_header

CODEC_OPTIONS = ("radius", "overlap", "max_detections", "size_region", "giou_weight")
"""Options that are fields of codecs, of those that have them."""


def kind_of(options: TrainOptions, stored: dict[str, Any] | None = None) -> type[Codec]:
    """Returns the kind of codec that is trained, which says what is learnt, and from which view.

    Args:
        options: What the user chose.
        stored: Header of a resumed run's detector.

    Raises:
        HeatpointError: No such model, an unreadable checkpoint, or a codec that is not known.
    """
    if stored is not None:
        return type(Codec.from_dict(stored["codec"], options.out))
    if options.weights:
        path = checkpoint_path(options.weights)
        return type(Codec.from_dict(read_header(path)["codec"], path))
    return zoo.kind(options.model)


def build_detector(
    options: TrainOptions, train: Annotations, stored: dict[str, Any] | None = None
) -> tuple[Detector, list[str]]:
    """Returns the detector to train, at the size to train at, and notes about its weights.

    Args:
        options: What the user chose.
        train: The data, whose classes or joints the detector finds.
        stored: Header of a resumed run's detector, which is rebuilt from it alone, with random
            weights to be replaced.

    Raises:
        HeatpointError: Unknown model, unreadable weights, a codec option out of range, or a size
            that the model cannot take.
    """
    if stored is not None:
        return _recomputing(Detector.from_header(stored, options.out), options), []
    notes = []
    asks = kind_of(options).view.asks
    names = (subject_name(train),) if asks else train.names
    if options.weights:
        detector = Detector.load(options.weights)
        fresh = detector.adapt(names, train.skeleton)
        tensors = f"initialised anew for this data: {', '.join(fresh)}" if fresh else "all kept"
        notes.append(f"weights of {options.weights}: {tensors}")
    else:
        detector = zoo.build(
            options.model,
            names,
            options.backbone_weights or None,
            options.pretrained,
            skeleton=train.skeleton,
        )
        if not options.backbone_weights and not options.pretrained:
            notes.append(
                "the backbone starts from random weights; pretrained or backbone_weights learn "
                "much faster"
            )
    chosen = {name: getattr(options, name) for name in CODEC_OPTIONS}
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    codec = detector.codec.tuned(detector.meta.get("architecture", "this model"), given)
    detector = replace(detector, codec=codec)
    network = detector.network
    size = input_size(options.size, detector.size, network.multiple, network.trim)
    detector.meta["size"] = list(size)
    for name, value in detector.settings.items():
        own = getattr(options, name, None)
        detector.meta[name] = value if own is None else own
    return _recomputing(detector, options), notes


def _recomputing(detector: Detector, options: TrainOptions) -> Detector:
    """Returns the detector, told to compute activations again if that is asked for."""
    if options.recompute:
        backbone = detector.network.backbone
        if not isinstance(backbone, DetectionHourglass):
            raise HeatpointError(
                "recompute is for models with a DetectionHourglass, which "
                f"{detector.meta.get('architecture')} has not; leave it out"
            )
        backbone.recompute()
    return detector


class Run:
    """All parts of a run; a resumed one stands where it stopped.

    Attributes:
        options: What the user chose.
        data: What is trained and validated on.
        fabric: Devices, processes and precision.
        out: The folder everything is written to.
        size: (H, W) of the input in pixels.
        terms: Names of the loss terms.
        scores: Columns of a validation in log.csv; the first decides which weights are best.
        paths: Picture of each sample.
        sampler: Order of the samples.
        loader: Batches of this process.
        accumulate: Batches per update.
        images: Images per update, over all processes.
        steps: Updates per epoch.
        left_out: Images that each epoch leaves out, because they fill no update.
        rate: Peak learning rate.
        frozen: Norms that stay in evaluation mode.
        parts: What a resume file is taken from.
        averaged: The detector that is validated and saved; its network is the moving average.
        network: The network that is trained, wrapped by Fabric; its forward is that of ``Network``.
        sums: (T,) sum of the terms over the updates of the running epoch, on the device.
        recent: Updates that were not looked at yet: (T + 1,) loss terms and norm of the gradient,
            indices of the images, number of the update, learning rate.

    Raises:
        HeatpointError: Options, model, data and resume file do not fit together.
    """

    def __init__(self, options: TrainOptions, data: TrainingData, fabric: Fabric) -> None:
        self.options, self.data, self.fabric = options, data, fabric
        self.out = Path(options.out)
        path = self.out / "resume.pt"
        if not options.resume and path.exists():
            raise HeatpointError(
                f"{self.out} already holds a run; go on with it by resume, or choose another out"
            )
        state = load_resume(path) if options.resume else None
        self.interrupt = Interrupt(quiet=not fabric.is_global_zero)
        torch.manual_seed(options.seed)
        with fabric.rank_zero_first():
            stored = state["detector"] if state else None
            detector, notes = build_detector(options, data.train, stored)
        self.size, self.terms = detector.size, detector.codec.terms
        self.scores = score_columns(detector.codec)
        self.display = Display(self.main, quiet=not fabric.is_global_zero)
        for note in data.notes:
            self.display.say(note)
        samples = training_set(options, data.train, detector)
        self.paths = samples.paths
        self._cut_into_batches(samples)

        self.rate = options.lr or default_rate(options.optimizer, self.images)
        network = detector.network.to(memory_format=torch.channels_last).to(fabric.device)
        ema = Ema(network, options.ema)
        network = self._synchronised(network)
        self.frozen = freeze(network.backbone, options.freeze) if options.freeze else []
        decay = DECAY[options.optimizer] if options.weight_decay is None else options.weight_decay
        self.parts = Parts(
            network,
            ema,
            build_optimizer(network, options.optimizer, self.rate, decay),
            Position(),
            plain(options),
            fingerprint(data.train),
            detector.header(),
        )
        if state is not None:
            restore(state, self.parts, path)
        self.averaged = replace(detector, network=cast(Network, ema.module))
        self.network = fabric.setup_module(network, move_to_device=False)

        epochs, position = total_epochs(options), self.position
        seconds = None if options.minutes is None else 60 * options.minutes
        updates = None if epochs is None else epochs * self.steps
        self.clock = Clock(updates, seconds, position.seconds)
        self.schedule = Schedule(options.schedule, milestones(options), options.warmup)
        self.sums = torch.tensor(position.sums or [0.0] * len(self.terms), device=fabric.device)
        self.recent: list[tuple[Tensor, list[int], int, float]] = []
        self.events = Events(self.out, position.updates)
        for note in (*notes, self._summary(network)):
            self.display.say(note)
        if self.left_out:
            self.display.say(
                f"each epoch leaves out {self.left_out} of {len(samples)} images, others every "
                f"time: the last ones do not fill an update of {self.images}"
            )

    @property
    def main(self) -> str:
        """The score that decides which weights are best; "" where nothing can be scored."""
        return next(iter(self.scores), "")

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self.parts.position

    def derived(self) -> dict[str, Any]:
        """Returns what followed from the options, for ``options.json``."""
        return {
            "size": list(self.size),
            "images_per_update": self.images,
            "updates_per_epoch": self.steps,
            "images_left_out_per_epoch": self.left_out,
            "learning_rate": self.rate,
            "codec": self.averaged.codec.as_dict(),
            "device": describe_device(self.fabric),
            "data": self.parts.data,
        }

    def _cut_into_batches(self, samples: TrainSet) -> None:
        """Decides how many images make a batch and an update, and who loads them."""
        options, fabric = self.options, self.fabric
        batch, self.accumulate = fit_batch(options, len(samples), fabric.world_size)
        if (batch, self.accumulate) != (options.batch_size, options.accumulate):
            self.display.say(
                f"few images: {batch} per forward pass, {self.accumulate} passes per update"
            )
        self.sampler = EpochSampler(
            len(samples), options.seed, fabric.global_rank, fabric.world_size
        )
        local = batch // fabric.world_size
        workers = default_workers(fabric) if options.workers is None else options.workers
        self.loader = DataLoader[Batch](
            samples,  # type: ignore[arg-type]
            batch_size=local,
            sampler=self.sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=fabric.device.type == "cuda",
            drop_last=True,
            worker_init_fn=worker_init,
            persistent_workers=workers > 0,
            # Of its own, for each start of the loader draws a number, resumed epochs one more.
            generator=torch.Generator(),
        )
        self.images = batch * self.accumulate
        self.steps = len(self.sampler) // local // self.accumulate
        self.left_out = max(0, len(samples) - self.steps * self.images)

    def _synchronised(self, network: Network) -> Network:
        """Returns the network with batch norms that share their statistics, if that is asked for.

        The weights stay the same tensors under the same names.
        """
        if not self.options.sync_batchnorm:
            return network
        if self.fabric.world_size > 1 and self.fabric.device.type != "cuda":
            self.display.say(
                "sync_batchnorm works between CUDA devices only: each process keeps its own "
                "statistics"
            )
            return network
        # torch's own converter drops the activations within timm's norms.
        from timm.layers.norm_act import convert_sync_batchnorm

        return cast(Network, convert_sync_batchnorm(network))  # type: ignore[no-untyped-call]

    def _summary(self, network: Network) -> str:
        parameters = sum(p.numel() for p in network.parameters())
        return (
            f"{self.options.model}: {parameters / 1e6:.1f} M parameters, input "
            f"{self.size[0]}x{self.size[1]}; {self.steps} updates of {self.images} images per "
            f"epoch, learning rate {self.rate:.2g}; {describe_device(self.fabric)}"
        )


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


def default_workers(fabric: Fabric) -> int:
    """Returns one loading process on the CPU, up to eight per device elsewhere."""
    if fabric.device.type == "cpu":
        return 1
    return max(1, min(8, usable_cores() // max(1, fabric.world_size)))
