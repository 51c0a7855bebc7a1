"""The public API is what a file says it is, and importing it is harmless."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import heatpoint

SURFACE = Path(__file__).parent / "api_surface.txt"
PACKAGE = Path(heatpoint.__file__).parent


def surface() -> str:
    """Returns one line per public name: its kind and its signature."""
    lines = []
    for name in [*heatpoint.__all__, "ray.predict"]:
        value = attrgetter(name)(heatpoint)
        if name == "__version__":
            lines.append("__version__")
        elif inspect.isclass(value) and issubclass(value, Exception):
            lines.append(f"exception {name}")
        else:
            kind = "class" if inspect.isclass(value) else "function"
            lines.append(f"{kind} {name}{inspect.signature(value)}")
            if inspect.isclass(value):
                lines += [
                    f"    {member}"
                    for member in sorted(vars(value))
                    if not member.startswith("_") and callable(getattr(value, member, None))
                ]
    return re.sub(r" at 0x[0-9a-f]+", "", "\n".join(lines)) + "\n"


def test_public_names_are_those_of_the_file() -> None:
    assert surface() == SURFACE.read_text(), (
        "the public API changed; if that is meant, write the new one with: python tests/test_api.py"
    )


def test_import_is_harmless() -> None:
    code = (
        "import sys, heatpoint\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "import torch\n"
        "threads = torch.get_num_threads()\n"
        "heatpoint.predict, heatpoint.build('centernet_tiny', ['cat'])\n"
        "assert not {'timm', 'torchvision', 'torch._dynamo'} & set(sys.modules)\n"
        "for name in heatpoint.__all__: getattr(heatpoint, name)\n"
        "import logging\n"
        "assert torch.get_num_threads() == threads\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert not logging.getLogger('heatpoint').handlers\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_device_is_named_in_the_package() -> None:
    named = [
        f"{file.relative_to(PACKAGE)}:{number}"
        for file in PACKAGE.rglob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"\.cuda\(|[\"']cuda:\d", line)
    ]
    assert named == []


def test_files_are_short_and_functions_take_no_keywords_unseen() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        assert text.count("\n") <= 400, file
        # What stands deeper is no public function.
        unseen = re.search(r"(?m)^(    )?def [a-z]\w*\([^)]*\*\*\w+: ", text)
        assert not unseen, f"{file}: {unseen}"


if __name__ == "__main__":
    SURFACE.write_text(surface())
