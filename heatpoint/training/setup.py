"""All parts of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from heatpoint.data.dataset import Batch, collate, worker_init
from heatpoint.data.order import Batches, EpochSampler
from heatpoint.errors import HeatpointError
from heatpoint.inference.metrics import score_columns
from heatpoint.networks import Network
from heatpoint.networks.lean import lean
from heatpoint.networks.strided import quicken_strided
from heatpoint.system.signals import Interrupt
from heatpoint.training.data import TrainingData, fingerprint, training_set
from heatpoint.training.optimize import Clock, Ema, Schedule, build_optimizer, freeze
from heatpoint.training.processes import check_alike, describe_device
from heatpoint.training.recipe import Recipe, differences, milestones, plain
from heatpoint.training.report import Display
from heatpoint.training.stages import Stage, pace, stages_of
from heatpoint.training.start import build_detector
from heatpoint.training.state import Position, check_unused, load_resume
from heatpoint.wording import amount


class Run:
    """All parts of a run; a resumed one stands where it stopped.

    Attributes:
        options: What the user chose.
        data: What is trained and validated on.
        fabric: Devices, processes and precision.
        out: The folder everything is written to.
        size: (H, W) of the input in pixels.
        train_size: (H, W) at which training shows whole pictures.
        terms: Names of the loss terms.
        scores: Columns of a validation in log.csv; the first decides which weights are best.
        main: That one; "" where nothing can be scored.
        sampler: Order of the samples.
        samples: What the network is shown.
        stages: The parts of the run.
        stage: The one that it stands in.
        loader: Batches of this process in that one, epoch after epoch.
        batches: The same, from where the run stands on.
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
        self.train_size = samples.size
        if self.train_size != self.size:
            detector.meta["train_size"] = list(self.train_size)
        else:  # that of the weights it begins with
            detector.meta.pop("train_size", None)
        processes = fabric.world_size
        drawn = samples.repeated(options.repeat_rare) if options.repeat_rare else len(samples)
        self.sampler = EpochSampler(drawn, options.seed, fabric.global_rank, processes)
        number = self.sampler.length
        self.stages = stages_of(options, self.train_size, detector.network, number, processes)
        last = self.stages[-1].window
        if last is not None and "closer" in detector.settings:
            detector.meta["closer"] = float(max(last))
        network = detector.network.to(memory_format=torch.channels_last).to(fabric.device)
        self.ema = Ema(network, options.ema)
        self.averaged = replace(detector, network=cast(Network, self.ema.module))
        if options.sync_batchnorm:
            network = self._synchronised(network)
        self.frozen = freeze(network.backbone, options.freeze) if options.freeze else []
        decay = options.weight_decay
        rate = self.stages[0].rate
        self.optimizer = build_optimizer(network, options.optimizer, rate, decay)
        if fabric.device.type == "cpu":
            lean(network, self.frozen)
            if options.precision == "bf16":
                quicken_strided(network)
        self.network = fabric.setup_module(network, move_to_device=False)
        self.position, self.identity = Position(), fingerprint(data.train)
        check_alike(fabric, plain(options), self.identity)
        self.enter(0)
        if state is not None:
            self._restore(state, path)

        epochs, position = options.epochs, self.position
        seconds = None if options.minutes is None else 60 * options.minutes
        self.clock = Clock(epochs, seconds, position.seconds, pace(self.stages, self.train_size))
        self.clock.hold_back(position.reserve)
        marks = milestones(options)
        if options.steps is not None and epochs is not None:
            marks = tuple(self.clock.counted(epochs * mark) for mark in marks)
        self.schedule = Schedule(options.schedule, marks, options.warmup)
        self.table = ""
        self.sums = torch.tensor(position.sums or [0.0] * len(self.terms), device=fabric.device)
        self.recent: list[tuple[Tensor, list[int], int, float]] = []
        parameters = sum(p.numel() for p in network.parameters())
        updates = amount(number // self.stages[0].images, "update")
        shown = "{}x{}".format(*self.size)
        if self.train_size != self.size:
            shown += ", in training {}x{}".format(*self.train_size)
        self.display.say(
            *notes,
            f"{options.model}: {parameters / 1e6:.1f} M parameters, input {shown}; "
            f"{updates} per epoch; {self.stages[0]}; {describe_device(fabric)}",
            *self._about_batches(),
        )

    def derived(self) -> dict[str, Any]:
        """Returns what followed from the options, for ``options.json``."""
        return {
            "size": list(self.size),
            "train_size": list(self.train_size),
            "stages": [
                {
                    **asdict(stage),
                    "updates_per_epoch": self.sampler.length // stage.images,
                    "images_left_out_per_epoch": self.sampler.length % stage.images,
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
            if self.position.turns:
                self.samples.turn()
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
        """Updates that are left in the running epoch, as many for any number of processes."""
        return (self.sampler.length - self.position.seen) // self.stage.images

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
        if self.stage.window is not None or self.stage.mosaic is not None:
            self.samples.show(self.stage.window, self.stage.mosaic or 0.0)
        self._batches: Iterator[Batch] | None = None
        self.loader = DataLoader[Batch](
            self.samples,  # type: ignore[arg-type]
            batch_sampler=Batches(
                self.sampler, self.stage.batch // processes, self.stage.accumulate
            ),
            num_workers=self.options.workers,
            collate_fn=collate,
            pin_memory=self.fabric.device.type == "cuda",
            worker_init_fn=worker_init,
            # Of its own, for each start of the loader draws a number, resumed epochs one more.
            generator=torch.Generator(),
        )

    @property
    def batches(self) -> Iterator[Batch]:
        """Batches from where the run stands on, in whatever epoch."""
        if self._batches is None:
            self.sampler.set_epoch(self.position.epoch, self.position.seen)
            self._batches = iter(self.loader)
        return self._batches

    def turn(self) -> None:
        """Turns pictures from now on, for they have no upright."""
        self.samples.turn()
        self.enter(self.position.stage)  # loading processes hold samples of their own

    def _about_batches(self) -> list[str]:
        """Returns sentences about the updates of the run that are not as one would think."""
        stage, options = self.stages[0], self.options
        said = []
        if (number := self.sampler.length) != len(self.samples):
            said.append(
                f"pictures of rare classes come more often: an epoch has {number:,} views instead "
                f"of {len(self.samples):,}"
            )
        if (stage.batch, stage.accumulate) != (options.batch_size, options.accumulate):
            said.append(
                f"few images: {stage.batch} per forward pass, {stage.accumulate} passes per update"
            )
        said += [
            f"from {before.ends:.0%} of the run on: {after}"
            for before, after in pairwise(self.stages)
        ]
        if len(self.stages) == 1 and (out := self.sampler.length % stage.images):
            said.append(
                f"each epoch leaves out {out} of {self.sampler.length} images, others every "
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
