"""The plan of a training run: what the data and the machine decide where the user did not.

``parts`` finds the validation data, ``survey`` looks at pictures, objects and machine, ``rules``
says what follows, and ``sheet`` puts it together, as a table to read and a file to repeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heatpoint.options import keywords
from heatpoint.training.options import TrainOptions

if TYPE_CHECKING:
    from heatpoint.planning.sheet import Plan
    from heatpoint.training.state import TrainResult

__all__ = ["plan", "run", "train"]


def run(options: TrainOptions) -> TrainResult:
    """Plans, says so, and trains; ``train`` is this with keywords.

    A resumed run has been planned: its own options fill what is open.

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP stopped the run, after everything was saved.
    """
    from heatpoint import training
    from heatpoint.planning.sheet import draw_up, recalled
    from heatpoint.training.report import Display, is_first, waiting

    display = Display(quiet=not is_first())
    if options.resume:
        recipe = recalled(options)
        if isinstance(recipe.data, str) and recipe.data != options.data:
            display.say(
                f"goes on with {recipe.data} and {recipe.val}, the parts that this run began with; "
                "the data that is named is not read again"
            )
        return training.run(recipe)
    with waiting("reading the data"):
        drawn = draw_up(options)
    display.say(str(drawn))
    drawn.save()
    return training.run(drawn.recipe)


@keywords(TrainOptions, positional=2)
def train(options: TrainOptions) -> TrainResult:
    """Trains a model; takes every field of ``TrainOptions`` as a keyword.

    What is left open is planned, and the plan is printed and saved as ``plan.yaml``. The folder
    ``out`` receives ``best.safetensors`` (the averaged weights of the highest validation score),
    ``last.safetensors``, ``resume.pt``, ``options.json``, ``log.csv``, TensorBoard events,
    ``curves.png`` and ``val_predictions.png``; where validation pictures were held out,
    ``train.json`` and ``val.json`` too. The score of ``best``, AP for boxes, PCK@0.1 for the joints
    of crops and OKS AP for joints in whole pictures, is what ``evaluate`` gives for it.

    With several ``devices`` the processes are started by this call; a script that makes it needs
    the usual ``if __name__ == "__main__":``. Under torchrun or SLURM it joins theirs.

    Example:
        >>> result = train("train.json", minutes=15)  # doctest: +SKIP
        >>> result.ap  # doctest: +SKIP
        0.62

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP stopped the run, after everything was saved;
            the same call with ``resume=True`` goes on.
    """
    return run(options)


@keywords(TrainOptions, positional=2)
def plan(options: TrainOptions) -> Plan:
    """Returns the plan of a run without training; takes every field of ``TrainOptions``.

    No picture is decoded and nothing is written. ``print`` shows it as a table; ``recipe`` holds
    the options, complete.

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
    """
    from heatpoint.planning.sheet import draw_up

    return draw_up(options)
