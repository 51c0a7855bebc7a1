"""The end of an epoch: score the averaged weights, remember the numbers, save everything."""

from __future__ import annotations

import math

import torch

from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.training.processes import combined, on_first
from heatpoint.training.report import draw_curves, draw_predictions, score_text, write_csv
from heatpoint.training.setup import Run
from heatpoint.training.state import Row, save_resume


def validate(run: Run) -> Row | None:
    """Scores the averaged weights as ``evaluate`` does; returns None if a signal broke it off.

    One process works, the others wait.
    """

    def score() -> Row:
        if not run.scores:
            return {}
        metrics = evaluate(run.averaged, run.data.val, device=run.fabric.device, metric=("coco",))
        found = {name: metrics.scores[name] for name in run.scores}
        return {name: None if math.isnan(value) else value for name, value in found.items()}

    return on_first(run.fabric, lambda: run.interrupt.breakable(score))


def record(run: Run, metrics: Row) -> None:
    """Adds the epoch's row to the history, and remembers whether it is the best so far.

    Args:
        run: The run.
        metrics: Validation scores; empty if this epoch is not validated.
    """
    position = run.position
    taken = max(1, position.step)
    means = (combined(run.fabric, run.sums, "mean") / taken).tolist()
    row: Row = {
        "epoch": round(position.epoch + position.step / run.steps, 3),
        "updates": position.updates,
        "seconds": round(run.clock.elapsed(), 1),
        "images_per_second": round(run.display.speed(), 1),
        "learning_rate": float(run.optimizer.param_groups[0]["lr"]),
        "loss": sum(means),
        **{f"loss/{name}": mean for name, mean in zip(run.terms, means, strict=True)},
        **metrics,
    }
    position.history.append(row)
    score = metrics.get(run.main)
    if score is not None:
        position.validated = position.updates
        if position.best is None or score > position.best:
            position.best, position.best_epoch = float(score), float(row["epoch"] or 0)
    shown = [f"loss {row['loss']:.3f}", f"{row['images_per_second']} images/s"]
    if score is not None:
        shown += [score_text(name, metrics[name] or 0) for name in run.scores[:2]]
        shown[2] += " (best)" if position.best_epoch == row["epoch"] else ""
    run.display.say(f"epoch {row['epoch']:g}  " + "  ".join(shown))
    if run.fabric.is_global_zero:
        run.events.add({n: v for n, v in row.items() if n != "epoch"}, position.updates)


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
    position.seconds = run.clock.elapsed()
    run.sums = combined(run.fabric, run.sums, "mean")
    position.sums = run.sums.tolist()

    def write() -> None:
        if not run.out.is_dir():
            raise HeatpointError(
                f"the folder {run.out} is gone, deleted or moved while training; nothing can be "
                "saved in it, so the run ends"
            )
        run.events.flush()
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
        write_csv(run.out, position.history)
        if metrics and run.options.pictures:
            draw_curves(run.out / "curves.png", position.history, run.terms, run.scores)
            picture = run.out / "val_predictions.png"
            draw_predictions(picture, run.averaged, run.data.shown, run.fabric.device)
        save_resume(run.out / "resume.pt", run.state())

    on_first(run.fabric, write)
