"""Where the examples stand: beside the library in a source tree, inside it in an installed package."""

from __future__ import annotations

from pathlib import Path

import trimtab
from trimtab.core.errors import NotFound


def example(name: str) -> Path:
    """
    The folder of an example.

    Raises:
        NotFound: If this installation has none.
    """
    library = Path(trimtab.__file__).resolve().parent
    places = [library / "examples" / name, library.parent / "examples" / name]
    for place in places:
        if (place / "model.yaml").is_file():
            return place
    raise NotFound(
        f"found no example {name} in {places[0].parent} or {places[1].parent}",
        "run it in a clone of the repository, which holds the examples with their data",
    )
