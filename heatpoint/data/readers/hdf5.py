"""Opens HDF5 files, which several formats share: what is in one says which format it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from heatpoint.errors import HeatpointError

Kind = Literal["MPII", "DeepLabCut", "SLEAP"]

SUFFIXES = (".h5", ".hdf5", ".slp")

LARGEST = 1 << 30
"""Bytes of one array of annotations: a few numbers in a file may claim any size."""

_LABELS, _ANALYSIS = {"frames", "instances"}, {"tracks", "node_names"}
_PANDAS = "df_with_missing"


@contextmanager
def open_hdf5(path: Path, instead: str) -> Iterator[Any]:
    """Opens an HDF5 file as an ``h5py.File``.

    Args:
        path: The file.
        instead: What to do without h5py, for the message.

    Raises:
        HeatpointError: h5py is not installed, or the file is damaged, as it is opened or later.
    """
    try:
        import h5py
    except ImportError:
        raise HeatpointError(
            f"{path} is an HDF5 file, which needs h5py: install heatpoint[hdf5]; {instead}"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except HeatpointError:
        raise
    # What h5py raises where the bytes contradict each other is of many kinds.
    except Exception as error:
        raise HeatpointError(f"{path} is no whole HDF5 file: {error}") from None


def values(file: Any, name: str) -> Any:
    """Returns what a dataset of an open file holds.

    Raises:
        HeatpointError: It is larger than ``LARGEST``.
        KeyError: There is no such dataset.
    """
    if (size := file[name].nbytes) > LARGEST:
        raise HeatpointError(
            f"{file.filename}: {name!r} claims {size:,} bytes, expected at most {LARGEST:,}; the "
            "file may be damaged"
        )
    return file[name][()]


def kind(path: Path) -> Kind | None:
    """Returns the format of an HDF5 file by its name and by what is at its top.

    A file that cannot be opened is what its suffix says: ``.slp`` of SLEAP, others of MPII. Files
    with other suffixes are of none.
    """
    if path.suffix.lower() not in SUFFIXES:
        return None
    names: set[str] = set()
    with suppress(HeatpointError), open_hdf5(path, "") as file:
        names.update(file)
    if path.suffix.lower() == ".slp" or names >= _LABELS or names >= _ANALYSIS:
        return "SLEAP"
    pandas = _PANDAS in names or path.name.startswith("CollectedData")
    return "DeepLabCut" if pandas else "MPII"


def is_analysis(file: Any) -> bool:
    """Returns whether an open file of SLEAP holds tracks of an analysis, and no labels."""
    return set(file) >= _ANALYSIS and not set(file) >= _LABELS
