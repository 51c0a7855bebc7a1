"""The examples in docstrings, of which every one runs that needs no file of a user's."""

import doctest
import importlib
from pathlib import Path

import pytest

import heatpoint

PACKAGE = Path(heatpoint.__file__).parent
FILES = [path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text("utf-8")]
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = list[str]()
    runner = doctest.DocTestRunner()
    examples = doctest.DocTestFinder().find(importlib.import_module(name))
    for each in examples:
        runner.run(each, out=said.append)
    assert any(each.examples for each in examples)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
