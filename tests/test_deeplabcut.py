"""DeepLabCut labels: one animal, several, old and new paths, and what can be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatpoint.data.readers import read
from heatpoint.data.validate import validate
from heatpoint.errors import HeatpointError

ONE = """\
scorer,me,me,me,me,me,me
bodyparts,snout,snout,leftear,leftear,rightear,rightear
coords,x,y,x,y,x,y
labeled-data/a.png,1,2,3.5,4,,
labeled-data/b.png,5,6,7,8,9,10
labeled-data/c.png,,,,,,
"""

SEVERAL = """\
scorer,,,me,me,me,me,me,me
individuals,,,m1,m1,m2,m2,single,single
bodyparts,,,snout,snout,snout,snout,corner,corner
coords,,,x,y,x,y,x,y
labeled-data,video,a.png,1,2,11,12,20,21
labeled-data,video,b.png,1,2,,,,
"""


def write(folder: Path, text: str, places: str = "labeled-data") -> Path:
    for name in "abc":
        (folder / places).mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30)).save(folder / places / f"{name}.png")
    (folder / "CollectedData.csv").write_text(text)
    return folder


def test_one_animal(tmp_path: Path) -> None:
    data = read(write(tmp_path, ONE))
    assert data.names == ("animal",)
    assert data.skeleton is not None
    assert data.skeleton.joints == ("snout", "leftear", "rightear")
    assert data.skeleton.pairs == ((1, 2),)
    assert [(r.path.name, len(r)) for r in data.images] == [
        ("a.png", 1),
        ("b.png", 1),
        ("c.png", 0),
    ]
    assert all(record.path.is_file() for record in data.images)
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0].tolist() == [[1.5, 2.5, 2], [4, 4.5, 2], [0, 0, 0]]
    assert validate(data).counts() == {"image without objects": 1}


def test_file_and_folder_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    assert len(read(tmp_path / "CollectedData.csv")) == len(read(tmp_path)) == 3
    elsewhere = write(tmp_path / "disk", ONE, ".")
    for name in "abc":
        (tmp_path / f"labeled-data/{name}.png").unlink()
    data = read(tmp_path / "CollectedData.csv", images=elsewhere)
    assert [record.path for record in data.images] == [elsewhere / f"{n}.png" for n in "abc"]
    (tmp_path / "CollectedData_you.csv").write_text(ONE)
    with pytest.raises(HeatpointError, match=r"holds CollectedData.csv, CollectedData_you.csv"):
        read(tmp_path)


def test_several_animals(tmp_path: Path) -> None:
    data = read(write(tmp_path, SEVERAL, "labeled-data/video"))
    assert data.skeleton is not None
    assert data.skeleton.joints == ("snout", "corner")
    assert [len(record) for record in data.images] == [3, 1]
    assert data.images[0].path.is_file()
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[:, :, 2].tolist() == [[2, 0], [2, 0], [0, 2]]
    assert data.images[0].keypoints[1, 0].tolist() == [11.5, 12.5, 2]


def test_labels_beside_their_video(tmp_path: Path) -> None:
    folder = write(tmp_path / "labeled-data" / "video", ONE.replace("data/", "data/video/"), ".")
    assert all(record.path.is_file() for record in read(folder).images)


def test_split(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    (tmp_path / "val.txt").write_text("b.png\nlabeled-data/c.png\n")
    assert [r.path.name for r in read(f"{tmp_path}:val").images] == ["b.png", "c.png"]
    (tmp_path / "val.txt").write_text("z.png\n")
    with pytest.raises(HeatpointError, match=r"no labelled picture is in val.txt"):
        read(f"{tmp_path}:val")
    with pytest.raises(HeatpointError, match=r"no split 'train' .* it has val"):
        read(f"{tmp_path / 'CollectedData.csv'}:train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE.split("\n", 1)[1], r"that begin with scorer, bodyparts, coords, got 'bodyparts'"),
        (ONE.replace("bodyparts,", "parts,"), "got 'scorer', 'parts', 'coords'"),
        (SEVERAL.replace("individuals,", "animals,"), "got 'scorer', 'animals', 'bodyparts'"),
        (ONE.replace("x,y,x,y,x,y", "x,y,x,y,x,z"), "rightear has no column 'y'"),
        (ONE.replace("5,6,7,8,9,10", "5,6,7,8,9"), "csv:5: expected 7 columns .* got 6"),
        (ONE.replace("3.5", "3.5px"), "csv:4: expected a number, got '3.5px'"),
        (ONE.replace("rightear,rightear", "leftear,leftear"), "columns 4 and 6 are both"),
        ("scorer,me\nbodyparts\ncoords,x\n", "of different lengths"),
        (ONE.replace(",", ";"), "parted by semicolons, expected commas"),
        (ONE.replace("x,y,x,y,x,y", "x,y,likelihood,x,y,likelihood"), "holds predictions"),
        (ONE.replace("3.5", '"3,5"'), "expected a number, got '3,5'"),
        (ONE.replace("3.5", "1" * 200_000), "csv:4: field larger"),
        ("scorer\nbodyparts\ncoords\n", "at least one body part"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        read(write(tmp_path, text))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Returns a project of two videos, whose files have their columns in different orders."""
    project = tmp_path / "mouse-me-2024-01-01"
    merged = SEVERAL.splitlines()[:4]
    for video in ("A", "B"):
        text = SEVERAL.replace("video", video)
        write(project / "labeled-data" / video, text, ".")
        merged += text.splitlines()[4:]
        folder = project / "labeled-data" / video
        (folder / "CollectedData.csv").rename(folder / "CollectedData_me.csv")
        (project / "labeled-data" / f"{video}_labeled").mkdir()
    lines = [
        *("Task: mouse", "scorer: me", "multianimalproject: true", "bodyparts: MULTI!"),
        *("individuals:", "- m1", "- m2", "multianimalbodyparts:", "- tail", "- snout"),
        *("uniquebodyparts:", "- corner", "skeleton:", "- - snout", "  - tail"),
        *("video_sets:", "  C:\\me\\A.avi:", "    crop: 0, 40, 0, 30"),
    ]
    (project / "config.yaml").write_text("\n".join(lines) + "\n")
    made = project / "training-datasets/iteration-0/UnaugmentedDataSet_mouseJan1"
    made.mkdir(parents=True)
    (made / "CollectedData_me.csv").write_text("\n".join(merged) + "\n")
    return project


@pytest.mark.parametrize(
    "given",
    [
        *(".", "config.yaml", "labeled-data"),
        "training-datasets/iteration-0/UnaugmentedDataSet_mouseJan1/CollectedData_me.csv",
        "training-datasets/iteration-0/UnaugmentedDataSet_mouseJan1",
    ],
)
def test_a_project_by_any_of_its_parts(project: Path, given: str) -> None:
    data = read(project / given)
    assert data.format == "DeepLabCut"
    assert [len(record) for record in data.images] == [3, 1, 3, 1]
    there = [record.path.relative_to(project).as_posix() for record in data.images]
    assert there == [f"labeled-data/{v}/{n}.png" for v in "AB" for n in "ab"]
    assert all(record.path.is_file() for record in data.images)
    assert data.skeleton is not None
    assert data.skeleton.joints == ("tail", "snout", "corner")
    assert data.skeleton.edges == ((1, 0),)
    assert data.images[2].keypoints is not None
    assert data.images[2].keypoints[1].tolist() == [[0, 0, 0], [11.5, 12.5, 2], [0, 0, 0]]
    unlabelled = {} if "training" in given else {"image without annotation file": 2}
    assert data.left_out == unlabelled


def test_videos_are_splits(project: Path) -> None:
    data = read(f"{project}:B")
    assert [record.path.parent.name for record in data.images] == ["B", "B"]
    assert data.skeleton is not None
    assert data.skeleton.joints == ("tail", "snout", "corner")
    (project / "val.txt").write_text("labeled-data/A/b.png\n")
    assert [record.path.parent.name for record in read(f"{project}:val").images] == ["A"]
    with pytest.raises(HeatpointError, match=r"no split 'C' .* it has A, B, val"):
        read(f"{project}:C")


def test_of_several_files_that_of_the_projects_scorer_counts(project: Path) -> None:
    (project / "labeled-data/A/CollectedData_you.csv").write_text("scorer,you\n")
    assert len(read(project)) == 4
    (project / "config.yaml").write_text("scorer: nobody\n")
    with pytest.raises(HeatpointError, match=r"A holds CollectedData_me.csv, CollectedData_you"):
        read(project)


def test_tables_for_pandas_are_named(project: Path) -> None:
    folder = project / "labeled-data/A"
    (folder / "CollectedData_me.h5").write_bytes(b"")
    with pytest.raises(
        HeatpointError, match=r"table for pandas; give .*CollectedData_me\.csv inst"
    ):
        read(folder / "CollectedData_me.h5")
    (folder / "CollectedData_me.csv").unlink()
    with pytest.raises(
        HeatpointError, match=r"CollectedData_me\.csv is not beside it; write it by"
    ):
        read(folder)


def test_a_picture_is_listed_once(tmp_path: Path) -> None:
    data = read(write(tmp_path, ONE + "labeled-data/a.png,1,1,1,1,1,1\n"))
    assert (len(data), data.left_out) == (3, {"image listed twice": 1})


def test_other_csv_files_are_not_taken_for_labels(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("image,u,v\na,1,2\n")
    with pytest.raises(HeatpointError, match=r"headings 'image', 'u', 'v'; a row is one of these"):
        read(tmp_path / "boxes.csv")


def test_real_mouse(shared: Path) -> None:
    data = read(shared / "data" / "mirror_mouse")
    assert len(data) == data.objects == 90
    assert data.skeleton is not None
    assert len(data.skeleton) == 17
    assert [(data.skeleton.joints[a], data.skeleton.joints[b]) for a, b in data.skeleton.pairs][
        :2
    ] == [("paw1LH_top", "paw4RH_top"), ("paw2LF_top", "paw3RF_top")]
    labelled = np.array([record.keypoints[0, :, 2] > 0 for record in data.images])  # type: ignore[index]
    assert int((~labelled).sum()) == 134
    assert validate(data).counts() == {}
