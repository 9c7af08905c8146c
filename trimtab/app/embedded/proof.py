"""The proof that the embedded store's conditional writes hold, remembered: the same server, the same answer."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from trimtab.app.embedded import weed
from trimtab.app.embedded.files import read_json, write_json
from trimtab.core.ports import Bucket

PROOF = "proof.json"
GOOD_FOR = timedelta(days=7)


def prove_once(bucket: Bucket, file: Path) -> None:
    """
    Race the bucket's conditional writes, unless this version of the server passed within a week.

    Raises:
        Invalid: If the store fails: it would lose state.
    """
    from trimtab.adapters.conformance import prove_conditional_writes

    if not is_fresh(read_json(file) or {}, weed.version(), time.time()):
        prove_conditional_writes(bucket)
        write_json(file, {"server": weed.version(), "proven": time.time()})


def is_fresh(proof: dict[str, Any], server: str, now: float) -> bool:
    """
    Whether a written proof still counts; `now` in seconds since the epoch.

    >>> is_fresh({"server": "weed 1", "proven": 1000.0}, "weed 1", 2000.0)
    True
    >>> is_fresh({"server": "weed 1", "proven": 1000.0}, "weed 2", 2000.0)
    False
    """
    proven = proof.get("proven")
    if proof.get("server") != server or not isinstance(proven, int | float):
        return False
    return 0 <= now - proven < GOOD_FOR.total_seconds()
