"""Draw ``docs/images/rooms.svg``: the rooms of pyrogen, and which imports from which.

    python docs/scripts/rooms.py    # needs graphviz's program `dot`

An arrow leads from a room to one that it imports from; those that follow from others are left out (the transitive
reduction).
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from imports import between_rooms

TARGET = Path(__file__).parents[1] / "images" / "rooms.svg"
STYLE = """
    node [shape=box, style="rounded,filled", fillcolor="#eef3f7", color="#51687a", fontname="Helvetica", height=0.35]
    edge [color="#8a9ba8", arrowsize=0.7]
    bgcolor=white; ranksep=0.35; nodesep=0.3
"""


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The edges without those that a longer path implies."""

    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(other) for other in edges[name]))

    return {
        name: {one for one in near if not any(one in reached(other) for other in near - {one})}
        for name, near in edges.items()
    }


if __name__ == "__main__":
    arrows = [f'"{name}" -> "{other}"' for name, near in reduced(between_rooms()).items() for other in sorted(near)]
    graph = "\n    ".join([STYLE, *arrows])
    subprocess.run(["dot", "-Tsvg", "-o", TARGET], input=f"digraph rooms {{{graph}\n}}", text=True, check=True)
