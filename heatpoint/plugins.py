"""Plugins: code of a user's own that adds representations, models and augmentations.

A plugin is a Python file or an importable module. Its ``Codec`` subclasses register themselves
when they are defined; a table ``MODELS: dict[str, builder]`` adds architectures, and a table
``AUGMENTATIONS: dict[str, function]`` what ``augment_with`` of training may name. Only a user
names a plugin, in Python or with ``--plugin``: no checkpoint and no data file ever does.

Plugins reach every process that is started afterwards, by fork or afresh: their names are in the
environment variable ``HEATPOINT_PLUGINS``, one a line, and importing this module loads those. The
modules of plugin files are called ``heatpoint.plugins.NAME``: to unpickle one of their objects is
to import this module first.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from heatpoint.errors import HeatpointError

VARIABLE = "HEATPOINT_PLUGINS"

_LOADED: dict[str, ModuleType] = {}


def load(name: str | Path) -> None:
    """Loads a plugin, once; what it defines is there from then on.

    Args:
        name: A Python file, or the name of a module that can be imported.

    Raises:
        HeatpointError: There is none, it raises an error, or one of its tables is none or holds a
            name that another plugin has taken.
    """
    path = Path(name).expanduser()
    is_file = path.suffix == ".py" or path.is_file() or len(path.parts) > 1
    key = str(path.resolve()) if is_file else str(name)
    if key in _LOADED:
        return
    missing = HeatpointError(
        f"there is no plugin {name}: give a Python file or the name of an installed module"
    )
    if is_file and not path.is_file():
        raise missing
    try:
        module = _run(path.resolve()) if is_file else importlib.import_module(key)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and key.split(".")[0] == error.name:
            raise missing from None
        reason = f"{_place(error, path)}: {_reason(error)}"
        raise HeatpointError(f"plugin {name} failed{reason}") from error
    for table in _TABLES:
        _check_table(name, table, getattr(module, table, {}))
    _LOADED[key] = module
    os.environ[VARIABLE] = "\n".join(_LOADED)


def loaded() -> tuple[str, ...]:
    """Returns the plugins loaded so far, in order: resolved paths of files, names of modules."""
    return tuple(_LOADED)


def models() -> dict[str, Any]:
    """Returns the rows and builders of all loaded plugins by the names of their models."""
    return _gathered("MODELS")


def augmentations() -> dict[str, Callable[..., Any]]:
    """Returns the functions of all loaded plugins that change what training shows, by name."""
    return _gathered("AUGMENTATIONS")


def _gathered(table: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in _LOADED.values():
        found |= getattr(module, table, {})
    return found


def _run(path: Path) -> ModuleType:
    """Returns the module of a file, under a name that no other file gets."""
    stem = re.sub(r"\W", "_", path.stem)
    name = f"{__name__}.{stem}_{zlib.crc32(os.fsencode(path)):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError("it must be a Python file, name.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _place(error: BaseException, path: Path) -> str:
    """Returns ``" in line 7"``, the deepest line of the plugin's file that led to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.resolve())]
    return f" in line {lines[-1]}" if lines else ""


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, HeatpointError) else f"{type(error).__name__}: {text}"


_TABLES = {
    "MODELS": ("a model", ", or rows (zoo.Model)"),
    "AUGMENTATIONS": ("an augmentation", ""),
}
"""The tables a plugin may have: what they hold one of, and what of it is no function."""


def _check_table(name: str | Path, called: str, table: object) -> None:
    one, others = _TABLES[called]
    if not isinstance(table, dict) or not all(
        isinstance(key, str) and (callable(row) or (others and hasattr(row, "usual")))
        for key, row in table.items()
    ):
        raise HeatpointError(
            f"plugin {name}: {called} must be a dict of names and functions{others}"
        )
    taken = sorted(table.keys() & _gathered(called).keys())
    if taken:
        raise HeatpointError(f"plugin {name}: another plugin has {one} {taken[0]!r}; rename one")


for _name in os.environ.get(VARIABLE, "").splitlines():
    load(_name)
