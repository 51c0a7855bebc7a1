"""Puts a run together from its options: model, data, optimiser, schedule, and their places."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from heatpoint.data.dataset import Batch, EpochSampler
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.networks.network import Network
from heatpoint.system.interrupt import Interrupt
from heatpoint.training.clock import Clock
from heatpoint.training.data import TrainingData, fingerprint
from heatpoint.training.ema import Ema
from heatpoint.training.freeze import freeze
from heatpoint.training.loader import build_loader, fit_batch
from heatpoint.training.logs import Events
from heatpoint.training.model import build_detector, loss_names
from heatpoint.training.optimize import DECAY, build_optimizer, default_rate
from heatpoint.training.options import TrainOptions, milestones, plain, total_epochs
from heatpoint.training.progress import Display
from heatpoint.training.schedule import Schedule
from heatpoint.training.state import Parts, Position, load_resume, restore
from heatpoint.training.tasks import Task
from heatpoint.training.watch import Watch


@dataclass
class Run:
    """All parts of a run, in the order they come into play.

    Attributes:
        options: What the user chose.
        task: What is particular to boxes or joints.
        fabric: Devices, processes and precision.
        data: What is trained and validated on.
        size: (H, W) of the input in pixels.
        averaged: The detector that is validated and saved; its network is the moving average.
        network: The network that is trained, wrapped by Fabric; its forward is that of ``Network``.
        frozen: Norms that stay in evaluation mode.
        parts: What a resume file is taken from.
        paths: Picture of each sample.
        sampler: Order of the samples.
        loader: Batches of this process.
        steps: Updates per epoch.
        accumulate: Batches per update.
        images: Images per update, over all processes.
        rate: Peak learning rate.
        terms: Names of the loss terms.
        sums: (T,) sum of the terms over the updates of the running epoch, on the device.
    """

    options: TrainOptions
    task: Task
    fabric: Fabric
    data: TrainingData
    size: tuple[int, int]
    averaged: Detector
    network: _FabricModule
    frozen: list[nn.Module]
    parts: Parts
    paths: list[str]
    sampler: EpochSampler
    loader: DataLoader[Batch]
    steps: int
    accumulate: int
    images: int
    rate: float
    terms: tuple[str, ...]
    sums: Tensor
    schedule: Schedule
    clock: Clock
    watch: Watch
    interrupt: Interrupt
    display: Display
    events: Events

    @property
    def out(self) -> Path:
        """The folder everything is written to."""
        return Path(self.options.out)

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self.parts.position

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, bare."""
        return self.parts.optimizer

    def derived(self) -> dict[str, Any]:
        """Returns what followed from the options, for ``options.json``."""
        return {
            "size": list(self.size),
            "images_per_update": self.images,
            "updates_per_epoch": self.steps,
            "learning_rate": self.rate,
            "codec": asdict(self.averaged.codec),
            "device": describe_device(self.fabric),
            "data": self.parts.data,
        }


def assemble(options: TrainOptions, task: Task, data: TrainingData, fabric: Fabric) -> Run:
    """Builds everything a run needs, and puts a resumed one where it stopped.

    Raises:
        HeatpointError: Options, model, data and resume file do not fit together.
    """
    path = Path(options.out) / "resume.pt"
    if not options.resume and path.exists():
        raise HeatpointError(
            f"{path.parent} already holds a run; go on with it by resume, or choose another out"
        )
    state = load_resume(path) if options.resume else None
    display = Display(task.scores[0], quiet=not fabric.is_global_zero)
    for note in data.notes:
        display.say(note)

    torch.manual_seed(options.seed)
    with fabric.rank_zero_first():
        detector, notes = build_detector(options, task, data.train)
    for note in notes:
        display.say(note)
    size = detector.size
    terms = loss_names(detector, task)

    samples, paths = task.samples(options, data.train, detector)
    batch, accumulate = fit_batch(options, len(samples), fabric.world_size)
    if (batch, accumulate) != (options.batch_size, options.accumulate):
        display.say(f"few images: {batch} per forward pass, {accumulate} passes per update")
    sampler = EpochSampler(len(samples), options.seed, fabric.global_rank, fabric.world_size)
    loader = build_loader(options, samples, sampler, batch // fabric.world_size, fabric)
    steps = len(sampler) // (batch // fabric.world_size) // accumulate

    module: nn.Module = detector.network.to(memory_format=torch.channels_last)
    if options.sync_batchnorm and fabric.device.type == "cuda":
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    rate = options.lr or default_rate(options.optimizer, batch * accumulate)
    decay = DECAY[options.optimizer] if options.weight_decay is None else options.weight_decay
    module = module.to(fabric.device)
    backbone = detector.network.backbone
    frozen = freeze(backbone, options.freeze) if options.freeze else []
    ema = Ema(module, options.ema)
    optimizer = build_optimizer(module, options.optimizer, rate, decay)
    parts = Parts(module, ema, optimizer, Position(), plain(options), fingerprint(data.train))
    if state is not None:
        restore(state, parts, path)
    network = fabric.setup_module(module, move_to_device=False)

    epochs = total_epochs(options)
    parameters = sum(p.numel() for p in module.parameters())
    display.say(
        f"{options.model}: {parameters / 1e6:.1f} M parameters, input {size[0]}x{size[1]}; "
        f"{steps} updates of {batch * accumulate} images per epoch, learning rate {rate:.2g}; "
        f"{describe_device(fabric)}"
    )
    spent = parts.position.seconds
    seconds = None if options.minutes is None else 60 * options.minutes
    return Run(
        options=options,
        task=task,
        fabric=fabric,
        data=data,
        size=size,
        averaged=replace(detector, network=cast(Network, ema.module)),
        network=network,
        frozen=frozen,
        parts=parts,
        paths=paths,
        sampler=sampler,
        loader=loader,
        steps=steps,
        accumulate=accumulate,
        images=batch * accumulate,
        rate=rate,
        terms=terms,
        sums=torch.tensor(parts.position.sums or [0.0] * len(terms), device=fabric.device),
        schedule=Schedule(options.schedule, milestones(options), options.warmup),
        clock=Clock(None if epochs is None else epochs * steps, seconds, spent),
        watch=Watch(terms),
        interrupt=Interrupt(quiet=not fabric.is_global_zero),
        display=display,
        events=Events(Path(options.out), parts.position.updates),
    )


def describe_device(fabric: Fabric) -> str:
    """Returns where and in which precision a run computes."""
    name = fabric.device.type
    if name == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    many = f"{fabric.world_size} x " if fabric.world_size > 1 else ""
    return f"{many}{name}, {fabric.strategy.precision.precision}"
