"""Which fonts write the names in charts, whatever script these are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_MOST = 22  # letters of a name, which is cut behind them


def spelt(names: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    """Returns names as charts can write them, and the font families that do.

    Args:
        names: Any names; those that no font here can write become ``what`` and their number.
        what: What the names are of, such as "class".
    """
    letters = Letters(names)
    short = [name if len(name) <= _MOST else f"{name[: _MOST - 1]}…" for name in names]
    pairs = enumerate(zip(names, short, strict=True))
    told = [cut if letters.spell(name) else f"{what} {number}" for number, (name, cut) in pairs]
    return told, letters.families


class Letters:
    """The fonts of this machine that have the letters of some names.

    Args:
        names: What is to be written. Fonts are opened only for letters that the usual one lacks.

    Attributes:
        families: Font families, the usual one first; each writes what those before it lack.
    """

    def __init__(self, names: Iterable[str]) -> None:
        from matplotlib.font_manager import FontProperties, findfont, fontManager

        usual = FontProperties()
        self.families = [usual.get_name()]
        self._lacking = set(map(ord, "".join(names))) - _letters(findfont(usual))
        for entry in sorted(fontManager.ttflist, key=lambda entry: entry.name):
            if not self._lacking:
                return
            # "Last Resort" draws the same box for all letters of a script.
            plain = entry.style == "normal" and entry.weight in (400, 500)
            if not plain or entry.name in self.families or entry.name.startswith("Last Resort"):
                continue
            found = self._lacking & _letters(entry.fname)
            if found:
                self.families.append(entry.name)
                self._lacking -= found

    def spell(self, name: str) -> bool:
        """Tells whether every letter of a name can be written."""
        return self._lacking.isdisjoint(map(ord, name))


def _letters(path: str) -> set[int]:
    """Returns the characters of a font; none of a broken one, or of one of coloured pictures."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return set()
    return set(font.get_charmap()) if font.scalable else set()
