"""The training loop, from the first update to the last save."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from heatpoint.codecs import Codec
from heatpoint.data.dataset import Batch
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.training import report
from heatpoint.training.loggers import finalize, start
from heatpoint.training.processes import any_process, combined, on_first
from heatpoint.training.recipe import plain
from heatpoint.training.setup import Run
from heatpoint.training.state import Row, TrainResult, save_resume
from heatpoint.training.upright import find_upright
from heatpoint.wording import amount

LOOK_EVERY = 20
"""Updates between two looks at the numbers on an accelerator, or at the other processes."""


def fit(run: Run) -> TrainResult:
    """Trains until the epochs or the time are over, or a signal comes.

    An epoch is: updates; validation of the averaged weights; last, best, log, and at the very end
    of it the resume file. A process that is killed at any moment leaves the files of the epoch
    before, or newer checkpoints that resuming writes again.

    Raises:
        HeatpointError: A loss that is not finite, a disk that is full; nothing saved is lost.
    """
    on_first(run.fabric, partial(begin, run))
    agree(run)
    position, epochs = run.position, run.options.epochs
    target = min(epochs or math.inf, run.options.stop_after or math.inf)
    # A validation that a signal broke off is made up for, and so is the first one of a run whose
    # time was over before it began.
    over = is_over(run) and 0 < position.updates == position.validated
    over = over or lacks_patience(run)
    stopped = False
    with run.interrupt:
        while position.epoch < target and not (over or stopped):
            find_upright(run)
            train_epoch(run)
            over = any_process(run.fabric, is_over(run))
            stopped = any_process(run.fabric, run.interrupt.is_requested())
            # Time may be over right behind an epoch; then all that there is has been saved.
            if not (stopped or (over and 0 < position.updates == position.validated)):
                stopped = not end_epoch(run, over or position.epoch + 1 >= target)
                over = over or lacks_patience(run)
        if stopped:
            save(run)
    finished = not stopped and (is_over(run) or (epochs is not None and position.epoch >= epochs))
    result = TrainResult(
        out=run.out,
        best=run.out / "best.safetensors",
        last=run.out / "last.safetensors",
        score=position.best,
        score_name=run.main,
        best_epoch=position.best_epoch,
        epochs=position.epoch,
        updates=position.updates,
        seconds=run.clock.elapsed(),
        finished=finished,
        early=not (finished or stopped) and lacks_patience(run),
        interrupted=stopped,
        history=position.history,
    )
    end_logs = partial(finalize, run.fabric.loggers, "interrupted" if stopped else "success")
    on_first(run.fabric, end_logs)
    run.display.say(*closing(result, position.table))
    return result


def begin(run: Run) -> None:
    """Writes down what the run is, and tells its loggers."""
    options = plain(run.options)
    report.write_options(run.out, options, run.derived())
    logged, resumed = run.position.logged, run.options.resume
    logged |= start(run.fabric.loggers, options, logged, resumed)


def train_epoch(run: Run) -> None:
    """Takes the updates of the running epoch that are not taken yet; stops early if it must."""
    while run.left and not must_stop(run):
        if run.due != run.position.stage:
            run.enter(run.due)
            run.display.say(f"from epoch {run.passes:.3g} on: {run.stage}")
        train_stage(run)


def train_stage(run: Run) -> None:
    """Takes the updates of the running epoch as far as they are of one stage of the run."""
    position, epochs = run.position, run.options.epochs
    title = f"epoch {position.epoch + 1}" + (f"/{epochs}" if epochs else "")
    best = "" if position.best is None else report.score_text(run.main, position.best)
    run.network.train()
    for norm in run.frozen:
        norm.eval()
    with run.display.epoch(title, position.step + run.left, position.step, best):
        while run.left and run.due == position.stage and not must_stop(run):
            take_update(run, list(islice(run.batches, run.stage.accumulate)))
            if run.display.is_due(run.stage.images):
                loss = float(run.sums.sum()) / position.step
                run.display.show(position.step, loss, run.clock.remaining(run.passes))
        look(run)


def take_update(run: Run, batches: Sequence[Batch]) -> None:
    """Moves the weights by the gradient of one or several batches."""
    position, fabric = run.position, run.fabric
    factor = run.schedule.factor(run.clock.position(run.passes), position.updates)
    rate = run.stage.rate * factor
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    terms = backward(run, batches)
    limit = run.options.clip or math.inf
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), limit)
    run.sums += terms
    indices = [index for batch in batches for index in batch.indices]
    run.recent.append((torch.cat((terms, norm.reshape(1))), indices, position.updates, rate))
    # On the CPU alone there is neither device nor process to wait for.
    costs_nothing = fabric.world_size == 1 and fabric.device.type == "cpu"
    if costs_nothing or position.updates % LOOK_EVERY == 0:
        look(run)
    run.optimizer.step()
    run.ema.update()
    position.step += 1
    position.seen += run.stage.images
    position.updates += 1
    if fabric.is_global_zero and position.updates % LOOK_EVERY == 0:
        fabric.log_dict({"loss": float(terms.sum()), "learning_rate": rate}, position.updates)


def backward(run: Run, batches: Sequence[Batch]) -> Tensor:
    """Adds up the gradients of the batches of one update, and returns the loss terms (T,).

    The losses of all batches and processes are divided by their common number of objects, so that
    the gradient is that of one large batch, however it is cut up.
    """
    fabric = run.fabric
    codec: Codec = run.averaged.codec
    batches = [batch.to(fabric.device) for batch in batches]
    height, width = batches[0].images.shape[-2:]  # which may be windows of the run's input size
    encoded = [codec.encode(batch.targets, (height, width)) for batch in batches]
    counts = combined(fabric, torch.stack([batch.counts for batch in encoded]).sum(0), "sum")
    total = torch.zeros_like(run.sums)
    for number, (batch, wanted) in enumerate(zip(batches, encoded, strict=True), start=1):
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with fabric.no_backward_sync(run.network, enabled=number < len(batches)):
            losses = [codec.loss(maps, wanted.with_counts(counts)) for maps in run.network(images)]
            stacks = torch.stack([torch.stack([one[n] for n in run.terms]) for one in losses])
            terms = stacks.mean(0) if codec.stacks == "mean" else stacks.sum(0)
            # Processes average their gradients, but the common divisor asks for their sum.
            terms = terms * fabric.world_size
            fabric.backward(terms.sum())
        total += terms.detach()
    return total


def look(run: Run) -> None:
    """Stops the run, in all processes alike, if a number of the last updates is not finite.

    Looking costs a wait for the device; so on a GPU it is done every few updates, on the CPU at
    each. In either case it comes before anything is saved.

    Raises:
        HeatpointError: Names the images, the terms, the learning rate and the remedies.
    """
    trouble = not_finite(run)
    if any_process(run.fabric, bool(trouble)):
        told = [run.fabric.broadcast(trouble, src=rank) for rank in range(run.fabric.world_size)]
        raise HeatpointError(next(filter(None, told)))


def not_finite(run: Run) -> str:
    """Returns what went wrong here since the last look, and what helps; "" if nothing did."""
    recent, run.recent = run.recent, []
    if not recent:
        return ""
    values = torch.stack([entry[0] for entry in recent]).cpu()
    bad = (~values.isfinite().all(dim=1)).nonzero()
    if not len(bad):
        return ""
    first = int(bad[0])
    _, images, update, rate = recent[first]
    named = zip((*run.terms, "gradient norm"), values[first].tolist(), strict=True)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in named)
    shown = ", ".join(run.paths[i] for i in images[:16])
    more = f" and {len(images) - 16} more" if len(images) > 16 else ""
    return (
        f"the loss is not finite at update {update}: {terms}; learning rate {rate:.3g}; "
        f"images {shown}{more}. Look at these images and boxes with heatpoint inspect, lower "
        "lr, lengthen warmup, or use precision fp32. The saved checkpoints are from before it"
    )


def agree(run: Run) -> None:
    """Lets all processes go by the first one's clock, lest their learning rates differ."""
    if run.fabric.world_size > 1:
        run.clock.agree(run.fabric.broadcast)


def must_stop(run: Run) -> bool:
    """Tells whether a signal has come or time is over; processes decide together, now and then."""
    if run.fabric.world_size > 1:
        if run.position.updates % LOOK_EVERY:
            return False
        agree(run)
    return any_process(run.fabric, run.interrupt.is_requested() or is_over(run))


def is_over(run: Run) -> bool:
    """Tells whether the run's time is over, or its last update taken."""
    return run.clock.position(run.passes) >= 1


def lacks_patience(run: Run) -> bool:
    """Tells whether as many validations in a row as ``patience`` says have brought nothing."""
    if run.options.patience is None:
        return False
    best = run.position.best_epoch
    idle = [row for row in run.position.history if run.main in row and (row["epoch"] or 0) > best]
    return len(idle) >= run.options.patience


def end_epoch(run: Run, last: bool) -> bool:
    """Validates and saves where that is due, and closes the epoch.

    Returns:
        False if a signal broke off the validation: the epoch stays open, to be validated when
        the run is resumed.
    """
    start, speed, position = time.monotonic(), run.display.speed(), run.position
    on_turn = (position.epoch + 1) % run.options.eval_every == 0
    due = last or (on_turn and run.clock.has_room())
    metrics = validate(run) if due else {}
    if metrics is None:
        return False
    run.clock.hold_back(time.monotonic() - start)  # what is saved below knows of it
    record(run, metrics, speed)
    if not run.left:
        position.epoch, position.step, position.seen = position.epoch + 1, 0, 0
        run.sums.zero_()
    if due:
        save(run, metrics)
        run.clock.hold_back(time.monotonic() - start)
    agree(run)
    return True


def validate(run: Run) -> Row | None:
    """Scores the averaged weights as ``evaluate`` does; returns None if a signal broke it off.

    One process works, the others wait.
    """

    def score() -> Row:
        if not run.scores:
            return {}
        metrics = evaluate(run.averaged, run.data.val, device=run.fabric.device)
        run.table = metrics.summary()
        found = {name: metrics.scores[name] for name in run.scores}
        return {name: None if math.isnan(value) else value for name, value in found.items()}

    return on_first(run.fabric, lambda: run.interrupt.breakable(score))


def record(run: Run, metrics: Row, speed: float) -> None:
    """Adds the epoch's row to the history, and remembers whether it is the best so far.

    Args:
        run: The run.
        metrics: Validation scores; empty if this epoch is not validated.
        speed: Images per second that were trained.
    """
    position = run.position
    taken = max(1, position.step)
    means = (combined(run.fabric, run.sums, "mean") / taken).tolist()
    if position.history and not position.step:  # the epoch before is validated after all
        last = position.history.pop()
        means = [float(last[f"loss/{name}"] or 0) for name in run.terms]
    row: Row = {
        "epoch": round(run.passes, 3),
        "updates": position.updates,
        "seconds": round(run.clock.elapsed(), 1),
        "images_per_second": round(speed, 1),
        "learning_rate": float(run.optimizer.param_groups[0]["lr"]),
        "loss": sum(means),
        **{f"loss/{name}": mean for name, mean in zip(run.terms, means, strict=True)},
        **metrics,
    }
    if len(run.stages) > 1 and run.stage.window:
        row |= zip(("window_height", "window_width"), run.stage.window, strict=True)
    position.history.append(row)
    score = metrics.get(run.main)
    if score is not None:
        position.validated = position.updates
        if position.best is None or score > position.best:
            position.best, position.best_epoch = float(score), float(row["epoch"] or 0)
            position.table = run.table
    shown = [f"loss {row['loss']:.3f}", f"{row['images_per_second']} images/s"]
    if score is not None:
        shown += [report.score_text(name, metrics[name] or 0) for name in run.scores[:2]]
        shown[2] += " (best)" if position.best_epoch == row["epoch"] else ""
    run.display.ended(f"epoch {row['epoch']:g}  " + "  ".join(shown), score is not None)
    if run.fabric.is_global_zero:
        known = {n: v for n, v in row.items() if n != "epoch" and v is not None}
        run.fabric.log_dict(known, position.updates)


def save(run: Run, metrics: Row | None = None) -> None:
    """Writes checkpoints, log, pictures, and last of all the resume file, each atomically.

    The order makes every moment a safe one to be killed at: until the resume file is renamed the
    former one stands, and resuming from it writes the same checkpoints again.

    Args:
        run: The run.
        metrics: Scores of a validation that was just made; None when a signal stopped the run.

    Raises:
        HeatpointError: A file cannot be written; what was there before is untouched.
    """
    position = run.position
    position.seconds, position.reserve = run.clock.elapsed(), run.clock.hold_back(0)
    run.sums = combined(run.fabric, run.sums, "mean")
    position.sums = run.sums.tolist()

    def write() -> None:
        if not run.out.is_dir():
            raise HeatpointError(
                f"the folder {run.out} is gone, deleted or moved while training; nothing can be "
                "saved in it, so the run ends"
            )
        for logger in run.fabric.loggers:
            logger.save()
        run.averaged.meta["trained"] = {
            "epochs": round(position.epoch, 3),
            "updates": position.updates,
            "images": len(run.data.train),
            "score": metrics or None,
            "torch": str(torch.__version__),
        }
        run.averaged.save(run.out / "last.safetensors")
        if metrics and position.history[-1]["epoch"] == position.best_epoch:
            run.averaged.save(run.out / "best.safetensors")
        if "csv" in run.options.logger:
            report.write_csv(run.out, position.history)
        if metrics and run.options.pictures:
            report.draw_curves(run.out / "curves.png", position.history, run.terms, run.scores)
            picture = run.out / "val_predictions.png"
            report.draw_predictions(picture, run.averaged, run.data.shown, run.fabric.device)
        save_resume(run.out / "resume.pt", run.state())

    on_first(run.fabric, write)


def closing(result: TrainResult, table: str) -> list[str]:
    """Returns the last sentences of a run, after the scores of its best weights.

    Args:
        result: What it came to.
        table: Those scores, as ``evaluate`` prints them; "" before a validation.
    """
    score = "no validation yet"
    if result.score is not None:
        score = f"best {report.score_text(result.score_name, result.score)}"
    if result.interrupted:
        return [f"interrupted and saved after update {result.updates}; resume goes on ({score})"]
    where = result.best if result.score is not None else result.last
    ended = "finished" if result.finished else "stopped"
    lines = [f"{ended} after {amount(result.epochs, 'epoch')}: {score}, {where}"]
    if result.early:
        rates = [row["learning_rate"] or 0 for row in result.history]
        lines.insert(
            0,
            f"patience is over: no validation since epoch {result.best_epoch:g} was better; the "
            f"learning rate was still at {rates[-1] / max(rates):.0%} of its highest, and a run "
            f"that is planned to end here (epochs {result.epochs}, or minutes "
            f"{math.ceil(result.seconds / 60)}) would lower it to its end",
        )
    return [table, *lines] if table else lines
