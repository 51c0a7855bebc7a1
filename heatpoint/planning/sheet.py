"""The plan itself: every option with its reason, as a table to read and a file to repeat."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from heatpoint.data.augment import Augment
from heatpoint.data.dataset import varied
from heatpoint.data.quads import as_learnt
from heatpoint.data.readers.coco import write_coco
from heatpoint.errors import HeatpointError
from heatpoint.inspection.report import side_text
from heatpoint.options import NONE
from heatpoint.planning.learning import SMALL
from heatpoint.planning.parts import Parts, folder_of, parts_of, placed
from heatpoint.planning.rules import RULES
from heatpoint.planning.survey import Machine, Survey
from heatpoint.planning.variation import FEW
from heatpoint.system import locked, one_of_several
from heatpoint.system.files import atomic_write
from heatpoint.system.outputs import check_outputs
from heatpoint.system.signs import SIGN
from heatpoint.training import check_files
from heatpoint.training.data import check_samples
from heatpoint.training.options import TrainOptions, check
from heatpoint.training.recipe import Recipe, plain, window_of
from heatpoint.training.start import build_detector
from heatpoint.training.state import check_unused, load_resume
from heatpoint.weights import checkpoint_path, read_header
from heatpoint.wording import amount

GIVEN = "given"

_APART = ("out", "resume", "stop_after")
"""Options of one run alone, which a file that repeats it leaves out."""


@dataclass(frozen=True)
class Row:
    """One line of a plan.

    Attributes:
        name: Of the option.
        value: Of it, in words.
        why: The reason; ``GIVEN`` where the user gave it.
    """

    name: str
    value: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What a run will do, and why.

    Attributes:
        recipe: All options.
        rows: Those that are planned, with their reasons.
        about: What was found, in one sentence.
        hints: What there is to know of the data, and what the user may know better.
        parts: The data.
    """

    recipe: Recipe
    rows: tuple[Row, ...]
    about: str
    hints: tuple[str, ...]
    parts: Parts

    def __str__(self) -> str:
        """Returns the plan as a table."""
        name, value = (
            max(len(getattr(r, field)) for r in self.rows) for field in ("name", "value")
        )
        start = f"  {'':{name}}  {'':{value}}  "
        width = max(24, shutil.get_terminal_size((100, 24)).columns - len(start) - 1)
        lines = [f"plan: {self.about}"]
        for row in self.rows:
            first, *rest = textwrap.wrap(row.why, width, break_on_hyphens=False)
            lines.append(f"  {row.name:{name}}  {row.value:{value}}  {first}")
            lines += [start + line for line in rest]
        return "\n".join([*lines, *self.hints])

    def yaml(self) -> str:
        """Returns the plan as a file that ``--config`` takes."""
        lines = [f"# written by {SIGN}: `heatpoint train --config` with this file repeats the run"]
        why = {row.name: row.why for row in self.rows}
        values = {**plain(self.recipe), "window": self.recipe.window}
        if len(self.parts.sources) > 1 and not self.parts.held_out:
            values["data"] = list(self.parts.sources)
        for field in fields(TrainOptions):
            name, value = field.name, values[field.name]
            if name in _APART or (name not in why and name != "data" and value == field.default):
                continue
            if name in ("size", "train_size", "window"):
                value = value if isinstance(value, int | None) else shown(value)
            elif isinstance(value, list) and name != "data":
                value = ",".join(map(str, value))
            if name == "backbone_weights" and not value:
                value = NONE
            line = yaml.safe_dump({name: value}, allow_unicode=True, width=10**6).rstrip()
            lines.append(f"{line}  # {why[name]}" if why.get(name, GIVEN) != GIVEN else line)
        return "\n".join(lines) + "\n"

    def save(self) -> None:
        """Writes ``plan.yaml`` into the run's folder, and the two parts if one was held out.

        Raises:
            HeatpointError: The folder holds a run, a file cannot be written, or one is there that
                heatpoint did not write.
        """
        out, parts = Path(self.recipe.out), self.parts
        check_unused(out)
        check_files(self.recipe, parts.both, parts.sources)
        held = {Path(part.source): part for part in parts.both if parts.held_out}
        pictures = [record.path for part in parts.both for record in part.images]
        check_outputs({"plans": [out / "plan.yaml"], "annotations": held}, parts.sources, pictures)
        # Processes of one run write the same, one after the other.
        busy = "" if one_of_several() else f"another run is writing into {out}; choose another out"
        with locked(out / ".lock", busy):
            for path, part in held.items():
                write_coco(part, path)
            with atomic_write(out / "plan.yaml") as temporary:
                temporary.write_text(self.yaml(), encoding="utf-8")


def shown(value: Any) -> str:
    """Returns a value as a table and a file of options write it."""
    if isinstance(value, Mapping):  # windows with their shares of the run
        return ",".join(f"{shown(size)}:{share:g}" for size, share in value.items())
    if isinstance(value, tuple | list) and len(value) == 2:
        return side_text((value[0], value[1]))
    if value == "":
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def hints(recipe: Recipe, survey: Survey, is_planned: bool = True) -> list[str]:
    """Returns what the plan leaves to the user, for no rule can know it.

    Args:
        recipe: The options, complete.
        survey: Data and machine.
        is_planned: Whether the plan chose the model.
    """
    codec, said = survey.trained.codec, []
    is_small = is_planned and not recipe.weights and survey.parameters <= SMALL
    if is_small and survey.machine.device != "cpu" and survey.examples >= FEW:
        said.append(
            f"{survey.examples:,} examples and a GPU bear a larger model than this one: "
            "heatpoint models lists them, --pretrained brings ImageNet weights"
        )
    if not (recipe.flip_vertical or recipe.find_upright) and varied(codec.view) is Augment:
        start = "where pictures have no upright (microscopes, aerial pictures, table tops), "
        turns = "--rotate 180 helps" if codec.handed else "--flip-vertical and --quarter-turns help"
        said.append(f"{start}{turns}")
    return said


def draw_up(options: TrainOptions) -> Plan:
    """Returns the plan for options of which some are open.

    Raises:
        HeatpointError: Something the user can mend, in the options, the data or the machine.
    """
    if options.backbone_weights == NONE:
        options = replace(options, backbone_weights="")
    check(options)
    if options.weights and options.model:
        meta = read_header(checkpoint_path(options.weights))["meta"]
        if (own := meta.get("architecture", "a network of its own")) != options.model:
            raise HeatpointError(
                f"{options.weights} is of {own}, not of {options.model}; leave out model to go on "
                "with it, or weights to train another one"
            )
    parts = parts_of(options)
    if parts.held_out:
        parts = placed(parts, Path(options.out))
    survey = Survey.of(
        parts.train, len(parts.val), Machine.here(options.accelerator), options.skip_bad
    )
    missing = _open(options)
    values = {name: value for name, value in vars(options).items() if name not in missing}
    data: dict[str, Any] = {"data": parts.train, "val": parts.val}
    if parts.held_out:  # what is trained on is what the files say, to the last digit
        pictures = folder_of([record.path for part in parts.both for record in part.images])
        data = {"data": parts.train.source, "val": parts.val.source}
        data |= {"images": pictures, "val_images": pictures}
    recipe = Recipe(**{**values, "model": options.model or "", **data})
    rows = [Row("val", parts.value, parts.why or GIVEN)]
    for name, rule in RULES.items():
        value, why = getattr(recipe, name), GIVEN
        if name in missing:
            value, why = rule(recipe, survey)
            recipe = replace(recipe, **{name: value})
        if value is not None:
            rows.append(Row(name, shown(value), why))
        if name == "model":
            detector = build_detector(recipe, survey.sample)[0]
            sample = as_learnt(survey.sample, detector.codec.learns, options.skeleton)
            survey = replace(survey, detector=detector, sample=sample)
        elif name == "max_detections" and value is not None:  # what a perfect network is scored by
            survey.trained.codec = survey.trained.codec.with_rows(value)
        elif name == "per_class" and value is not None:
            survey.trained.codec = survey.trained.codec.tuned(recipe.model, {name: value})
    check_samples(recipe, type(survey.trained.codec))
    height, width = survey.picture
    about = (
        f"{amount(survey.pictures, 'picture')} of {', '.join(parts.sources)} to train on, about "
        f"{height}x{width} pixels, {amount(len(parts.train.names), 'class')}; {survey.machine}"
    )
    said = (*parts.notes, *hints(recipe, survey, "model" in missing))
    return Plan(recipe, tuple(rows), about, said, parts)


def _open(options: TrainOptions) -> set[str]:
    """Returns the names of the options that are left to the plan."""
    missing = {name for name in ("val", *RULES, "size") if getattr(options, name) in (None, "")}
    if options.backbone_weights == "":  # which says: from nothing
        missing.discard("backbone_weights")
    ends = {"epochs", "minutes"}
    return missing if ends <= missing else missing - ends


def recalled(options: TrainOptions) -> Recipe:
    """Returns the options of a run that is resumed: its own where the user gives none.

    Raises:
        HeatpointError: There is no run, or its file is damaged.
    """
    out = Path(options.out)
    saved = load_resume(out / "resume.pt")["options"]
    if options.backbone_weights == NONE:
        options = replace(options, backbone_weights="")
    # An option that was not there when the run began had its default's effect.
    filled = {name: saved.get(name, getattr(Recipe, name, None)) for name in _open(options)}
    if "window" in filled:
        filled["window"] = window_of(filled["window"])
    files = out / "train.json", out / "val.json"
    if "val" in filled and Path(saved["data"]).name == files[0].name and files[1].is_file():
        filled |= {"data": str(files[0]), "val": str(files[1])}
        filled |= {name: saved[name] for name in ("images", "val_images")}
    if not filled.get("val", options.val):
        raise HeatpointError(f"{out} was validated on data in memory; name it with val")
    return Recipe(**{**vars(options), **filled})
