"""What a model finds, and how well: ``heatpoint predict``, ``evaluate``, ``limits``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from heatpoint.inference import EvaluateOptions, LimitsOptions, PredictOptions, refuse
from heatpoint.options import Address, Channels, File, Folder, as_keywords
from heatpoint.scale import ClusterOptions, ScaleOptions
from heatpoint.wording import amount

if TYPE_CHECKING:
    from heatpoint.data import Annotations
    from heatpoint.data.results import Detections
    from heatpoint.inference.engines.description import Description
    from heatpoint.inference.runner import Found
    from heatpoint.inference.sources import Source

COLUMNS = ("picture", "class", "score", "x1", "y1", "x2", "y2")
JOINT_COLUMNS = ("picture", "subject", "joint", "score", "x", "y")
QUAD_COLUMNS = (*COLUMNS, "x3", "y3", "x4", "y4")
POINT_COLUMNS = ("picture", "class", "score", "x", "y")


@dataclass
class Predict:
    """Finds what a model was trained to find, in pictures.

    Examples:
        heatpoint predict runs/train/best.safetensors photos --draw found
        heatpoint predict model.onnx photo.jpg --score 0.5 --json found.json
    """

    find: PredictOptions

    OUTPUT: ClassVar[str] = "what is written"

    json: File = ""
    """file for the results, COCO rows with file and class names; printed as a table without it"""

    csv: File = ""
    """file for the results as a table, a row each, which is read as annotations, too"""

    draw: Folder = ""
    """folder for the pictures with what is found drawn in"""

    heatmap: Folder = ""
    """folder for the pictures under the network's heatmap (checkpoints only; looks twice)"""

    shown: Channels | None = None
    """channels that are drawn, counted from 1: 5,3,2 as red, green and blue, or one as grey; the
    first three by default"""

    profile: bool = False
    """say where the time went"""

    CLUSTER: ClassVar[str] = ClusterOptions.CLUSTER

    ray: Address = ""
    """look at them there, part by part: local starts a cluster on this machine and is meant
    without a word, auto takes the one that runs here; reads s3://, gs://, .parquet and .tar"""

    cluster: ClusterOptions = field(default_factory=ClusterOptions)

    def run(self) -> None:
        """Predicts, and writes what was asked for."""
        if self.ray:
            self._on_cluster()
            return
        names = [each.name for each in fields(ClusterOptions)]
        refuse(self.cluster, names, "is for predict --ray; give --ray as well, or leave it out")
        if not (self.draw or self.heatmap):
            refuse(self, ("shown",), "is what --draw and --heatmap show; give one, or leave it out")
        from heatpoint.commands.display import print_table, track
        from heatpoint.data.bands import visible
        from heatpoint.data.draw import draw_heat, drawing_paths, write_picture
        from heatpoint.inference.engines.engine import Timings
        from heatpoint.inference.metrics import full_text
        from heatpoint.inference.predict import start, write_results
        from heatpoint.system.files import write_table
        from heatpoint.system.outputs import check_outputs

        if self.heatmap:
            from heatpoint.inference.heat import heat_of

        timings = Timings() if self.profile else None
        drawn, heated = list[Path](), list[Path]()

        def check(sources: Sequence[Source]) -> None:
            paths = [source.path for source in sources]
            drawn.extend(drawing_paths(paths, self.draw) if self.draw else [])
            heated.extend(drawing_paths(paths, self.heatmap) if self.heatmap else [])
            find = self.find
            given = [find.model, find.detector, find.boxes, find.images]
            numbers, pictures = [self.json, self.csv], [*drawn, *heated]
            check_outputs({"numbers": numbers, "pictures": pictures}, given, paths)

        sources, runner, stream = start(self.find, timings, check)
        about, found = runner.engine.description, []
        visible(self.shown or (), about.bands.channels)
        for one in track(stream, len(sources), "predicting"):
            found.append(one)
            if drawn:
                pixels = sources[one.index].shown(self.shown or ())
                write_picture(drawn[one.index], one.detections.plot(pixels))
            if heated:
                source = sources[one.index]
                heat = heat_of(runner, source)
                write_picture(heated[one.index], draw_heat(source.shown(self.shown or ()), heat))
        done = f"{counted(sum(len(one.detections) for one in found), about)} in"
        if self.csv:
            write_table(self.csv, *table(found, about, 3))
        if self.json:
            write_results(self.json, found)
        if files := ", ".join(path for path in (self.json, self.csv) if path):
            print(f"{done} {amount(len(found), 'picture')}: {files}")
        elif not (self.draw or self.heatmap):
            print_table(*(_counts(found, about) if about.counts else table(found, about, 1)))
            print(f"{done} {amount(len(found), 'picture')}")
        for folder in (self.draw, self.heatmap):
            if folder:
                print(f"{amount(len(found), 'picture')} drawn in {folder}")
        if runner.full:
            print(full_text(runner.full))
        if timings:
            engine = runner.engine
            print(f"{engine.name} on {engine.device} in {engine.precision}")
            print(timings.summary())

    def _on_cluster(self) -> None:
        """Predicts part by part, and says what was done."""
        from heatpoint.commands.display import Progress
        from heatpoint.inference.metrics import full_text
        from heatpoint.ray import predict_parts

        find, out = self.find, self.cluster.out
        refuse(find, ("frames", "boxes"), "is not for --ray; leave it out")
        written = "is not written with --ray, which writes rows to --out; leave it out"
        refuse(self, ("json", "csv", "draw", "heatmap", "shown", "profile"), written)
        assert isinstance(find.images, list)
        images = [str(each) for each in find.images]
        options = ScaleOptions(str(find.model), images, find.recursive)
        options.detector = str(find.detector) if find.detector else None
        options.address, options.cluster = self.ray, self.cluster
        options.keep, options.run, options.read = find.keep, find.run, find.read
        with Progress("predicting") as progress:
            done = predict_parts(options, progress)
        if done.before:
            print(f"{done.before} parts were there already")
        pictures = amount(done.pictures, "picture")
        print(f"{done.found:,} found in {pictures}, {amount(done.parts, 'part')}: {out}")
        if done.bad:
            why = f"{amount(done.bad, 'picture')} could not be looked at: {done.reason}"
            print(f"{why}{f'; {out}/pictures names all' if done.bad > 1 else ''}")
        if done.full:
            print(full_text(done.full))


def counted(count: int, about: Description) -> str:
    """Returns how much a model found, such as ``"3 poses"``."""
    word = "pose" if about.skeleton else "point" if about.counts else "object"
    return amount(count, word)


def _called(found: Found) -> str:
    """Returns what a picture is called in the table: its file's name, and its frame."""
    name = Path(found.path).name
    return name if found.frame is None else f"{name} frame {found.frame}"


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Headings and rows."""


def table(found: Sequence[Found], about: Description, digits: int) -> Table:
    """Returns all that was found, coordinates with so many digits behind the point."""
    if about.skeleton is not None:
        told = (_joints(_called(one), one.detections, digits) for one in found)
        return JOINT_COLUMNS, list(chain.from_iterable(told))
    columns: tuple[str, ...] = POINT_COLUMNS if about.counts else COLUMNS
    if any(field.name == "quads" for field in about.answer):
        columns = QUAD_COLUMNS
    places = len(columns) - 3
    rows = list[tuple[str, ...]]()
    for one in found:
        picture, these = _called(one), one.detections
        where = these.boxes if these.quads is None else these.quads.reshape(-1, 8)
        for place, score, label in zip(where, these.scores, these.labels, strict=True):
            numbers = (f"{side:.{digits}f}" for side in place[:places])
            rows.append((picture, these.names[label], f"{score:.{digits + 1}f}", *numbers))
    return columns, rows


def _counts(found: Sequence[Found], about: Description) -> Table:
    """Returns how many points of each class are in each picture, and what a density map says."""
    names, rows, dense = (*about.names, "all"), [], any(f.kind == "density" for f in about.answer)
    for one in found:
        counts = list(one.detections.counts.values())
        sums = [] if one.detections.density is None else one.detections.density.tolist()
        told = (f"{number:.1f}" for number in (*sums, sum(sums)) if dense)
        rows.append((_called(one), *map(str, (*counts, sum(counts))), *told))
    return ("picture", *names, *(f"{name}, density" for name in names if dense)), rows


def _joints(picture: str, found: Detections, digits: int) -> list[tuple[str, ...]]:
    assert found.keypoints is not None
    assert found.skeleton is not None
    return [
        (
            picture,
            f"{found.names[label]} {place}",
            joint,
            f"{score:.{digits + 1}f}",
            f"{x:.{digits}f}",
            f"{y:.{digits}f}",
        )
        for place, (label, joints) in enumerate(zip(found.labels, found.keypoints, strict=True), 1)
        for joint, (x, y, score) in zip(found.skeleton.joints, joints, strict=True)
    ]


@dataclass
class Files:
    """What evaluate and limits read and write beside their model and data."""

    FILES: ClassVar[str] = "files"

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    json: File = ""
    """file for the numbers and the protocol they were measured by"""

    def read(
        self, data: object, given: Sequence[object], *others: str | Path, picture: str = ""
    ) -> Annotations:
        """Reads the data, unless the file for the numbers, or others, would replace what is read.

        Args:
            data: What to read.
            given: What else is read.
            others: What else is written.
            picture: A picture that is written, too.
        """
        from heatpoint.data.readers import read
        from heatpoint.system.outputs import check_outputs

        annotations = read(str(data), self.images)
        pictures = [record.path for record in annotations.images]
        numbers = [self.json, *others]
        check_outputs({"numbers": numbers, "pictures": [picture]}, [data, *given], pictures)
        return annotations

    def write(self, numbers: dict[str, Any]) -> None:
        """Writes the numbers if that was asked for."""
        from heatpoint.system.files import write_json

        if self.json:
            write_json(self.json, numbers)
            print(f"numbers and protocol: {self.json}")


@dataclass
class Evaluate:
    """Scores a model on annotated pictures.

    Examples:
        heatpoint evaluate runs/train/best.safetensors val.json
        heatpoint evaluate model.onnx voc:val --report runs/look --against other.onnx
    """

    score: EvaluateOptions
    files: Files = field(default_factory=Files)

    def run(self) -> None:
        """Scores, and prints the numbers."""
        from heatpoint.commands.display import Progress
        from heatpoint.inference.evaluate import evaluate
        from heatpoint.inference.report import report_files

        score = self.score
        given = [score.model, score.detector, score.results, score.about.against]
        others = [score.save_results or ""]
        if score.about.report:
            others.append(report_files(score.about.report)[1])
        picture = str(score.measure.curves or "")
        score.data = self.files.read(score.data, given, *others, picture=picture)
        with Progress("evaluating") as progress:
            metrics = evaluate(**as_keywords(score), progress=progress)
        print(metrics.summary())
        self.files.write(metrics.as_dict())


@dataclass
class Limits:
    """Says which of a model's maps cost the most, by putting in the true ones one after another.

    Examples:
        heatpoint limits runs/train/best.safetensors val.json
        heatpoint limits best.safetensors voc:val --size 384 --json limits.json
    """

    measure: LimitsOptions
    files: Files = field(default_factory=Files)

    def run(self) -> None:
        """Scores with ever more true maps and prints a table."""
        from heatpoint.commands.display import Progress, print_table
        from heatpoint.inference.limits import limits

        self.measure.data = self.files.read(self.measure.data, [self.measure.model])
        with Progress("scoring") as progress:
            found = limits(**as_keywords(self.measure), progress=progress)
        print(f"{amount(found.images, 'image')}, {amount(found.objects, 'object')}")
        print_table(("maps", *found.titles, "gain"), found.table())
        print(found.verdict())
        self.files.write(found.as_dict())
