"""Runs every command and every Python block of the README and the docs.

Each document runs from top to bottom in a folder of its own, with a drawn data set in the places
it names. What would take long is cut short by the substitutions below, and what several documents
show alike is done once: demos, trained models, the graphs of what is exported. Nothing else is
changed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from forked import run_command

from heatpoint.system import locked
from heatpoint.weights import PUBLISHED

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^ *```(bash|python)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\w+\.py)\n")
"""The first line of a block that is a file of the reader's."""

UV = re.compile(r"^uv run (--extra \w+ |--all-extras |--all-groups )*")
IN_LINE = re.compile(r"`(heatpoint [^`]+\S)`")

INSTALLS = ("pip install", "uv sync", "git clone", "cd ")
"""What prepares a machine; .ci/run does the same on a bare one."""

SHORTER = {
    r" --minutes \d+": "",
    r"--model centernet_\w+": "--model centernet_tiny",
    r"--model centerpose_\w+": "--model centerpose_tiny",
    r"--model quads_\w+": "--model quads_tiny",
    r"--points": "--model points_tiny --points",
    r"--model (pose|hourglass)_\w+": "--model pose_tiny",
    r"--size (512|384|320|256)": "--size 128",
    r"--train-size 256": "--train-size 64",
    r"(heatpoint train data(?!.*--size).*)": r"\1 --size 128",
    r"heatpoint demo": "heatpoint demo --minutes 0.02 --images 48",
    r"benchmark (?!.*--rounds)": "benchmark --rounds 1 --starts 1 --engine torch ",
    r"--rounds 5": "--rounds 1",
    r"(heatpoint train (?!.*--epochs).*)": r"\1 --epochs 1",
}

ALIKE = re.compile(r"heatpoint (demo|train)(?!.*--(resume|weights|plugin|config))(?!.*bands\.json)")
"""Commands that read nothing but drawn data."""

OUT = re.compile(r" --out (\S+)")


def commands(text: str) -> Iterator[str]:
    """Yields the commands of a block, without those that install."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in line.split(" #")[0].split("&&"):
            command = UV.sub("", part.strip())
            if command and not command.startswith(INSTALLS):
                yield command


def run(words: list[str], folder: Path) -> None:
    """Runs a program in the folder and shows its output if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"


def run_heatpoint(words: list[str], folder: Path, common: Path) -> None:
    """Runs a command or a script of this package and shows its output if it fails."""
    status, said = run_command(words, folder, common / "graphs")
    assert status == 0, f"{shlex.join(words)}\n{said}"


def run_once(command: str, common: Path, folder: Path) -> None:
    """Runs a command of those ``ALIKE`` in a place of its own, and copies what it has made.

    Four documents begin with the same demo, and as many train one model, into various folders.
    """
    out, command = OUT.search(command), OUT.sub("", command)
    place = common / re.sub(r"\W+", "-", command)
    with locked(common / f"{place.name}.lock"):
        if not (place / "done").exists():
            place.mkdir(exist_ok=True)
            for name in ("data", "people"):
                (place / name).symlink_to((folder / name).resolve())
            run_heatpoint(shlex.split(command)[1:], place, common)
            (place / "done").touch()
    (made,) = (place / "runs").iterdir()
    shutil.copytree(made, folder / (out[1] if out else f"runs/{made.name}"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the data that documents assume."""
    from heatpoint.synthetic.figures import write_figures
    from heatpoint.synthetic.pictures import write_shapes

    folder = tmp_path_factory.mktemp("drawn")
    for kind, write in (("data", write_shapes), ("people", write_figures)):
        for name, count, seed in (("train", 16, 1), ("val", 8, 2)):
            written = write(folder / kind / name, count, (128, 128), seed=seed)
            content = json.loads(written.read_text())
            for image in content["images"]:
                image["file_name"] = f"{name}/images/{Path(image['file_name']).name}"
            (folder / kind / f"{name}.json").write_text(json.dumps(content))
    (folder / "people" / "photos").symlink_to(folder / "people" / "val" / "images")
    return folder


@pytest.fixture
def workplace(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder that holds nothing but that data, and the weights that are fetched."""
    monkeypatch.setenv("HEATPOINT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").symlink_to(drawn / "data")
    (tmp_path / "people").symlink_to(drawn / "people")
    (tmp_path / "photos").symlink_to(drawn / "data" / "val" / "images")
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_document_runs(document: Path, workplace: Path, common: Path) -> None:
    needed = PUBLISHED["centerface"].inside if document.name == "faces.md" else None
    if needed and not needed.here:
        pytest.skip(f"{needed.name} is not installed: {needed.command}")
    for number, (language, text) in enumerate(BLOCK.findall(document.read_text())):
        if language == "python" and (named := NAMED.match(text)):
            (workplace / named[1]).write_text(text)
            continue
        if language == "python":
            script = workplace / f"block{number}.py"
            script.write_text(f"if __name__ == '__main__':\n{_indented(text)}")
            if "import heatpoint" in text:
                run_heatpoint([str(script)], workplace, common)
            else:
                run([sys.executable, str(script)], workplace)
            continue
        for command in commands(text):
            if command.startswith("pytest"):
                continue  # this very run
            assert command.startswith("heatpoint "), f"{document.name}: {command}"
            for pattern, shorter in SHORTER.items():
                command = re.sub(pattern, shorter, command)
            if ALIKE.match(command):
                run_once(command, common, workplace)
            else:
                run_heatpoint(shlex.split(command)[1:], workplace, common)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_commands_in_sentences_are_understood(document: Path) -> None:
    from heatpoint.cli import COMMANDS

    for command in IN_LINE.findall(document.read_text()):
        assert shlex.split(command)[1] in {*COMMANDS, "COMMAND", "--help"}, command


@cache
def flags_of(word: str) -> set[str]:
    """Returns the flags that the help of a command lists."""
    from heatpoint.cli import main

    with redirect_stdout(StringIO()) as said, pytest.raises(SystemExit):
        main([word, "--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]*", said.getvalue()))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_documents_name_only_options_that_exist(document: Path) -> None:
    from heatpoint.cli import COMMANDS

    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    said = [line for line in lines if re.match(r"\s*(uv run .*)?heatpoint [a-z]", line)]
    for command in [*IN_LINE.findall(document.read_text()), *said]:
        word, *words = command.split("heatpoint ", 1)[1].split()
        flags = {each.split("=")[0] for each in words if re.match("--[a-z]", each)}
        if word in COMMANDS:
            assert not flags - flags_of(word), command


def test_documents_name_only_files_that_exist() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
