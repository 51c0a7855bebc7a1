"""All parts of a run, and the detector it starts from: built anew, or taken from a file."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.dataset import Batch, EpochSampler, collate, worker_init
from heatpoint.data.scene import subject_name
from heatpoint.errors import HeatpointError
from heatpoint.inference.metrics import score_columns
from heatpoint.networks import Network
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.system import Interrupt
from heatpoint.training.data import TrainingData, fingerprint, statistics, training_set
from heatpoint.training.optimize import Clock, Ema, Schedule, build_optimizer, freeze
from heatpoint.training.processes import describe_device
from heatpoint.training.recipe import Recipe, differences, milestones, plain
from heatpoint.training.report import Display
from heatpoint.training.stages import Stage, pace, stages_of
from heatpoint.training.state import Position, check_unused, load_resume
from heatpoint.views import input_size
from heatpoint.weights import checkpoint_path, read_header
from heatpoint.zoo.detector import Detector
from heatpoint.zoo.fit import shapes_of

CODEC_OPTIONS = (
    "radius",
    "overlap",
    "alpha",
    "beta",
    "max_detections",
    "measure",
    "size_region",
    "giou_weight",
    "point_radius",
    "spacing",
    "order",
)
"""Options that are fields of codecs, of those that have them."""


def kind_of(options: Recipe, stored: dict[str, Any] | None = None) -> type[Codec]:
    """Returns the kind of codec that is trained, which says what is learnt, and from which view.

    Args:
        options: What the user chose.
        stored: Header of a resumed run's detector.

    Raises:
        HeatpointError: No such model, an unreadable checkpoint, or a codec that is not known.
    """
    if stored is None and not options.weights:
        return zoo.kind(options.model)
    path = options.out if stored else checkpoint_path(options.weights)
    return type(Codec.from_dict((stored or read_header(Path(path)))["codec"], path))


def build_detector(
    options: Recipe, train: Annotations, state: dict[str, Any] | None = None
) -> tuple[Detector, list[str]]:
    """Returns the detector to train, at the size to train at, and notes about its weights.

    Args:
        options: What the user chose.
        train: The data, whose classes or joints the detector finds.
        state: Content of a resume file, from whose header alone the detector is rebuilt, with
            random weights to be replaced.

    Raises:
        HeatpointError: Unknown model, unreadable weights, a codec option out of range, or a size
            that the model cannot take.
    """
    notes: list[str] = []
    if state is not None:
        shapes = shapes_of(state["ema"])
        detector = Detector.from_header(state["detector"], shapes, Path(options.out, "resume.pt"))
    else:
        detector, notes = _chosen(options, train)
    if options.recompute:
        backbone = detector.network.backbone
        if not isinstance(backbone, DetectionHourglass):
            raise HeatpointError(
                "recompute is for models with a DetectionHourglass, which "
                f"{detector.meta.get('architecture')} has not; leave it out"
            )
        backbone.recompute()
    return detector, notes


def _chosen(options: Recipe, train: Annotations) -> tuple[Detector, list[str]]:
    """Returns the detector that the options describe, fitted to the data; see above."""
    kind, names = kind_of(options), train.names
    if kind.view.asks:
        names = (subject_name(train, "keypoints" in kind.learns),)
    backbone, notes = options.backbone_weights, []
    if options.weights:
        detector = Detector.load(options.weights)
        fresh = detector.adapt(names, train.skeleton)
        tensors = f"initialised anew for this data: {', '.join(fresh)}" if fresh else "all kept"
        notes.append(f"weights of {options.weights}: {tensors}")
    else:
        detector = zoo.build(
            options.model, names, backbone, options.pretrained, skeleton=train.skeleton
        )
        if not backbone and not options.pretrained:
            notes.append(
                "the backbone starts from random weights; pretrained or backbone_weights learn "
                "much faster"
            )
            if options.freeze:
                notes.append("warning: freeze keeps the first of these random layers as they are")
    if train.bands != detector.bands:
        notes.append(_adapted(detector, train))
    given = {name: getattr(options, name) for name in CODEC_OPTIONS}
    given = {name: value for name, value in given.items() if value not in (None, "")}
    codec = detector.codec.tuned(detector.meta.get("architecture", "this model"), given)
    detector, network = replace(detector, codec=codec), detector.network
    size = input_size(options.size, detector.size, network.multiple, network.trim)
    detector.meta |= {"size": list(size), "bits": train.bits}
    for name, value in detector.settings.items():
        own = getattr(options, name, None)
        detector.meta[name] = value if own is None else own
    return detector, notes


def _adapted(detector: Detector, train: Annotations) -> str:
    """Makes a detector take pictures as the data has them; returns a sentence about it."""
    before, bands = detector.bands, train.bands
    detector.take(bands)
    mean, std, count = statistics(train)
    detector.network.set_normalisation(mean, std)
    told = ", ".join(f"{m:.4g} ± {s:.3g}" for m, s in zip(mean, std, strict=True))
    return (
        f"pictures of {bands}, the first convolution is adapted from {before.channels}; mean and "
        f"standard deviation by channel, of {count} pictures: {told}"
    )


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
        main: That one; "" where nothing can be scored.
        sampler: Order of the samples.
        samples: What the network is shown.
        stages: The parts of the run.
        stage: The one that it stands in.
        loader: Batches of this process in that one.
        frozen: Norms that stay in evaluation mode.
        network: The network that is trained, wrapped by Fabric; its forward is that of ``Network``.
        ema: Its moving average.
        averaged: The detector that is validated and saved; its network is that average.
        optimizer: The optimiser, bare.
        identity: What identifies the data, by ``fingerprint``.
        position: Where the run stands.
        sums: (T,) sum of the terms over the updates of the running epoch, on the device.
        table: What ``evaluate`` prints of the last validation, in the first process.
        recent: Updates that were not looked at yet: (T + 1,) loss terms and norm of the gradient,
            indices of the images, number of the update, learning rate.

    Raises:
        HeatpointError: Options, model, data and resume file do not fit together.
    """

    def __init__(self, options: Recipe, data: TrainingData, fabric: Fabric) -> None:
        self.options, self.data, self.fabric = options, data, fabric
        self.out = Path(options.out)
        path = self.out / "resume.pt"
        if not options.resume:
            check_unused(self.out)
        state = load_resume(path) if options.resume else None
        self.interrupt = Interrupt(quiet=not fabric.is_global_zero)
        self.display = Display(quiet=not fabric.is_global_zero)
        self.display.say(*data.notes)
        torch.manual_seed(options.seed)
        with fabric.rank_zero_first():
            detector, notes = build_detector(options, data.train, state)
        self.size, self.terms = detector.size, detector.codec.terms
        self.scores = score_columns(detector.codec)
        self.main = next(iter(self.scores), "")
        if options.patience and not self.main:
            raise HeatpointError(
                f"patience waits for a better score, and {options.model} has none; leave it out"
            )
        self.samples = samples = training_set(options, data.train, detector)
        processes = fabric.world_size
        self.stages = stages_of(options, self.size, detector.network, len(samples), processes)
        last = self.stages[-1].window
        if last is not None and "closer" in detector.settings:
            detector.meta["closer"] = float(max(last))
        self.sampler = EpochSampler(len(samples), options.seed, fabric.global_rank, processes)
        network = detector.network.to(memory_format=torch.channels_last).to(fabric.device)
        self.ema = Ema(network, options.ema)
        self.averaged = replace(detector, network=cast(Network, self.ema.module))
        if options.sync_batchnorm:
            network = self._synchronised(network)
        self.frozen = freeze(network.backbone, options.freeze) if options.freeze else []
        decay = options.weight_decay
        rate = self.stages[0].rate
        self.optimizer = build_optimizer(network, options.optimizer, rate, decay)
        self.network = fabric.setup_module(network, move_to_device=False)
        self.position, self.identity = Position(), fingerprint(data.train)
        self.enter(0)
        if state is not None:
            self._restore(state, path)

        epochs, position = options.epochs, self.position
        seconds = None if options.minutes is None else 60 * options.minutes
        self.clock = Clock(epochs, seconds, position.seconds, pace(self.stages, self.size))
        marks = milestones(options)
        if options.steps is not None and epochs is not None:
            marks = tuple(self.clock.counted(epochs * mark) for mark in marks)
        self.schedule = Schedule(options.schedule, marks, options.warmup)
        self.table = ""
        self.sums = torch.tensor(position.sums or [0.0] * len(self.terms), device=fabric.device)
        self.recent: list[tuple[Tensor, list[int], int, float]] = []
        parameters = sum(p.numel() for p in network.parameters())
        self.display.say(
            *notes,
            f"{options.model}: {parameters / 1e6:.1f} M parameters, input "
            f"{self.size[0]}x{self.size[1]}; {len(samples) // self.stages[0].images} updates per "
            f"epoch; {self.stages[0]}; {describe_device(fabric)}",
            *self._about_batches(),
        )

    def derived(self) -> dict[str, Any]:
        """Returns what followed from the options, for ``options.json``."""
        return {
            "size": list(self.size),
            "stages": [
                {
                    **asdict(stage),
                    "updates_per_epoch": len(self.samples) // stage.images,
                    "images_left_out_per_epoch": len(self.samples) % stage.images,
                }
                for stage in self.stages
            ],
            "codec": self.averaged.codec.as_dict(),
            "device": describe_device(self.fabric),
            "data": self.identity,
        }

    def state(self) -> dict[str, Any]:
        """Returns everything that decides the next weights, for the resume file.

        The random state is that of this process: nothing but dropout draws from it, because order
        and augmentation are functions of (seed, epoch, index).
        """
        return {
            "options": plain(self.options),
            "data": self.identity,
            "detector": json.dumps(self.averaged.header()),
            "position": asdict(self.position),
            "network": self.network.state_dict(),
            "ema": self.ema.module.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        """Puts the content of a resume file back.

        Raises:
            HeatpointError: Options or data differ from those of the run; lists the differences.
        """
        found = differences(state["options"], plain(self.options))
        found += [
            f"the {name} of the data were {state['data'].get(name)!r} and are {value!r}"
            for name, value in self.identity.items()
            if state["data"].get(name) != value
        ]
        if found:
            raise HeatpointError(
                f"cannot resume {self.out} with other options: {'; '.join(found)}; "
                "repeat those of the run (options.json), or start a new one in another folder"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.ema.module.load_state_dict(state["ema"])
            self.ema.updates = state["ema_updates"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.position = Position(**state["position"])
            self.enter(self.position.stage)
            torch.set_rng_state(state["random"])
            if torch.cuda.is_available() and len(state["random_cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(state["random_cuda"])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise HeatpointError(
                f"{path} does not hold the state of this model ({reason}); start anew from "
                "last.safetensors with weights, in another folder"
            ) from error

    @property
    def paths(self) -> list[str]:
        """Picture of each sample."""
        return self.samples.paths

    @property
    def stage(self) -> Stage:
        """The part of the run that it stands in."""
        return self.stages[self.position.stage]

    @property
    def left(self) -> int:
        """Updates that are left in the running epoch."""
        processes = self.fabric.world_size
        every = -(-len(self.samples) // processes) * processes
        return (every - self.position.seen) // self.stage.images

    @property
    def passes(self) -> float:
        """Epochs behind, a fraction of the running one included."""
        seen, left = self.position.seen, self.left * self.stage.images
        return self.position.epoch + (seen / (seen + left) if seen else 0.0)

    @property
    def due(self) -> int:
        """Number of the part of the run that it should stand in; a resumed run never goes back."""
        over = self.clock.position(self.passes)
        return max(self.position.stage, sum(stage.ends <= over for stage in self.stages[:-1]))

    def enter(self, number: int) -> None:
        """Goes on with one of the parts of the run."""
        self.position.stage, processes = number, self.fabric.world_size
        if self.stage.window is not None:
            self.samples.show(self.stage.window)
        self.loader = DataLoader[Batch](
            self.samples,  # type: ignore[arg-type]
            batch_size=self.stage.batch // processes,
            sampler=self.sampler,
            num_workers=self.options.workers,
            collate_fn=collate,
            pin_memory=self.fabric.device.type == "cuda",
            drop_last=True,
            worker_init_fn=worker_init,
            persistent_workers=self.options.workers > 0,
            # Of its own, for each start of the loader draws a number, resumed epochs one more.
            generator=torch.Generator(),
        )

    def _about_batches(self) -> list[str]:
        """Returns sentences about the updates of the run that are not as one would think."""
        stage, options = self.stages[0], self.options
        said = []
        if (stage.batch, stage.accumulate) != (options.batch_size, options.accumulate):
            said.append(
                f"few images: {stage.batch} per forward pass, {stage.accumulate} passes per update"
            )
        said += [
            f"from {before.ends:.0%} of the run on: {after}"
            for before, after in pairwise(self.stages)
        ]
        if len(self.stages) == 1 and (out := len(self.samples) % stage.images):
            said.append(
                f"each epoch leaves out {out} of {len(self.samples)} images, others every "
                f"time: the last ones do not fill an update of {stage.images}"
            )
        return said

    def _synchronised(self, network: Network) -> Network:
        """Returns the network with batch norms that share their statistics.

        The weights stay the same tensors under the same names.
        """
        if self.fabric.world_size > 1 and self.fabric.device.type != "cuda":
            self.display.say(
                "sync_batchnorm works between CUDA devices only: each process keeps its own "
                "statistics"
            )
            return network
        # torch's own converter drops the activations within timm's norms.
        from timm.layers.norm_act import convert_sync_batchnorm

        return cast(Network, convert_sync_batchnorm(network))  # type: ignore[no-untyped-call]
