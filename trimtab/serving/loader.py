"""Reading an artifact: the digest first, then every type against the platform's list, only then the objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trimtab.core.errors import Invalid, TrimtabError
from trimtab.serving.trusted import PLATFORM_TYPES


def load(source: Path | str | bytes, digest: str, trusted_types: Iterable[str] = ()) -> Any:
    """
    The fitted pipeline.

    Args:
        source: A path, or the file's bytes.
        digest: The SHA-256 that the registry holds, as hex.
        trusted_types: Import paths that the operator trusts besides the platform's own list.

    Raises:
        Invalid: If the bytes have another digest, are no skops file, or hold a type that nobody trusts.
    """
    body = source if isinstance(source, bytes) else Path(source).read_bytes()
    found = hashlib.sha256(body).hexdigest()
    if found != digest:
        raise Invalid(
            f"artifact {digest[:12]}: found SHA-256 {found[:12]} over {len(body)} bytes; nothing of it was read",
            "fetch the artifact again; if the store holds these bytes, it was changed there: train anew",
        )
    foreign = foreign_types(body, trusted_types)
    if foreign:
        raise Invalid(
            f"artifact {digest[:12]} holds types that are not trusted: {', '.join(foreign)}",
            f"if they are yours and you trust them, set TRIMTAB_TRUSTED_TYPES={','.join(foreign)}",
        )
    return _construct(body, [*PLATFORM_TYPES, *trusted_types])


def foreign_types(body: bytes, trusted_types: Iterable[str] = ()) -> list[str]:
    """Types in the file that neither the platform nor the operator trusts, sorted. Raises Invalid if unreadable."""
    import skops.io

    try:
        untrusted = set(skops.io.get_untrusted_types(data=body))
    except Exception as error:
        raise Invalid(
            f"the artifact is no readable skops file: {error or type(error).__name__}", "train anew"
        ) from error
    return sorted(untrusted - PLATFORM_TYPES - set(trusted_types))


def _construct(body: bytes, trusted: list[str]) -> Any:
    import skops.io

    try:
        return skops.io.loads(body, trusted=trusted)
    except TrimtabError:
        raise
    except ImportError as error:
        raise Invalid(
            f"the artifact needs a module that is not here: {error}",
            "run beside the spec's folder, or set TRIMTAB_SPEC_FOLDER to where the estimator's module stands",
        ) from error
    except Exception as error:
        raise Invalid(
            f"the artifact's objects cannot be built: {error}",
            "use the versions of scikit-learn and NumPy that its model card names",
        ) from error
