"""Measures the package: code lines, files, floors of imports, circles between files.

``python tools/structure.py [--rooms]`` prints the figures; tests/test_structure.py holds them to
their limits. A code line is neither blank, nor comment, nor docstring. An import anywhere in a file
counts, also one inside of a function or for type checkers. A room is a folder or a file directly
below ``heatpoint/``; its floor is one above the highest floor that it imports.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "heatpoint"


def code_lines(source: str) -> int:
    """Returns the number of lines that are neither blank, nor comment, nor docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(source.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#") and number not in documented
    )


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Returns every file of the package by its module name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(known: dict[str, Path]) -> dict[str, set[str]]:
    """Returns for each module the modules of the package that it imports, wherever it does."""
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            wanted: list[str] = []
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                wanted = [each if each in known else node.module for each in inner]
            graph[name] |= {each for each in wanted if each in known and each != name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Returns the groups of modules that import each other in a loop (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Returns the floor of every room, from 1; rooms that import each other have floor 0."""
    rooms: dict[str, set[str]] = {}
    for name, others in graph.items():
        mine = rooms.setdefault(_room(name), set())
        mine |= {_room(other) for other in others} - {_room(name)}
    in_circle = {room for group in circles(rooms) for room in group}
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            below = [height(other) for other in rooms[room] if other not in in_circle]
            heights[room] = 0 if room in in_circle else 1 + max(below, default=0)
        return heights[room]

    return {room: height(room) for room in rooms}


def _room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def main() -> None:
    """Prints the figures."""
    known = modules()
    graph = imports(known)
    lines = {name: code_lines(path.read_text(encoding="utf-8")) for name, path in known.items()}
    print(f"{sum(lines.values()):,} code lines in {len(known)} files")
    by_room: Counter[str] = Counter()
    for name, count in lines.items():
        by_room[_room(name)] += count
    heights = floors(graph)
    for room in sorted(heights, key=lambda room: (-heights[room], room)):
        print(f"floor {heights[room]:2}  {room:<28} {by_room[room]:5}")
        if "--rooms" in sys.argv:
            for name in sorted(n for n in known if _room(n) == room):
                print(f"            {name:<44} {lines[name]:5}")
    for group in circles(graph):
        print(f"circle: {', '.join(group)}")
    for path in known.values():
        length = len(path.read_text(encoding="utf-8").splitlines())
        if length > 400:
            print(f"{path.relative_to(ROOT)} has {length} lines")


if __name__ == "__main__":
    main()
