"""Reads one variable of a MATLAB file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heatpoint.errors import HeatpointError


def read_variable(path: Path, name: str) -> Any:
    """Returns the variable ``name`` of a .mat file, as ``scipy.io.loadmat`` gives it.

    Raises:
        HeatpointError: The file is missing, damaged, of MATLAB's version 7.3, or has no such
            variable.
    """
    from scipy.io import loadmat  # comes with supervision
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist") from None
    except NotImplementedError:
        raise HeatpointError(
            f"{path} is a MATLAB file of version 7.3; save it once more with '-v7'"
        ) from None
    except (MatReadError, ValueError, TypeError, OSError, EOFError) as error:
        raise HeatpointError(f"{path} is no whole MATLAB file: {error}") from None
    if name not in content:
        there = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise HeatpointError(f"{path}: expected the variable {name!r}, got {there}")
    return content[name]
