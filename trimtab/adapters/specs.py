"""Specs from where they stand: a file, text, or an s3:// address; and the schema that stands apart from its spec."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from trimtab.core.errors import Invalid
from trimtab.core.ports import Buckets
from trimtab.core.spec.document import MAX_BYTES
from trimtab.core.spec.dump import dump
from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.parse import load, load_columns, resolve_schema
from trimtab.core.spec.units import split_s3

Connect = Callable[[], Buckets]  # opens the store when it is needed: most specs need none to be read


def read_file(path: str) -> str:
    """
    The text of a spec's file.

    Raises:
        Invalid: If it is not there, not a file, too large or not text.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            size = file.stat().st_size
            raise Invalid(f"{path} has {size:,} bytes; a spec has at most {MAX_BYTES:,}", "is this the data file?")
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = sorted(str(other) for other in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
        hint = f"here is {', '.join(near[:5])}" if near else "write one with `trimtab init FILE`"
        raise Invalid(f"found no file {path}", hint) from None
    except IsADirectoryError:
        raise Invalid(f"{path} is a folder; a spec is a file", f"did you mean {file / 'model.yaml'}?") from None
    except UnicodeDecodeError as error:
        raise Invalid(
            f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}",
            "save it as UTF-8; is this the data file?",
        ) from None
    except OSError as error:
        long = error.errno == errno.ENAMETOOLONG
        shown = f"{path[:60]}…" if long else path
        hint = "is this the spec's text? give its file's name, or -f - and the text on standard input" if long else ""
        raise Invalid(f"{shown} cannot be read: {error.strerror}", hint or "look at its permissions") from None


def read(text: str, connect: Connect, source: str = "model.yaml") -> tuple[str, ContinuousModel]:
    """
    The checked model of a spec's text, its schema in place, and the text that says the same without `schemaRef`.

    That text is what belongs in the state: a run must not change because a schema's file did.

    Args:
        text: YAML.
        connect: Opens the store, called only for a `schemaRef`.
        source: What to call the text in errors.

    Raises:
        Invalid: If the spec or its schema is wrong, or there is no schema at the address.
        Unavailable: If the schema's store does not answer.
    """
    model = load(text, source)
    address = model.spec.data.schema_ref
    if address is None:
        return text, model
    bucket, key = split_s3(address)
    stored = connect().bucket(bucket).find(key)
    if stored is None:
        raise Invalid(
            f"spec.data.schemaRef: found no object at {address}",
            "upload the schema there (the columns, as under spec.data.schema), or write it into the spec",
        )
    resolved = resolve_schema(model, load_columns(decode(stored.body, address), address))
    return dump(resolved), resolved


def fetch(spec: str, connect: Connect) -> tuple[str, ContinuousModel]:
    """
    As `read`, for what the pipeline's parameter `spec` holds: YAML text, or an s3:// address of it.

    Raises:
        Invalid, Unavailable: As `read`; Invalid also if there is no object at the address.
    """
    if not spec.startswith("s3://"):
        return read(spec, connect, "spec")
    bucket, key = split_s3(spec)
    return read(decode(connect().bucket(bucket).get(key).body, spec), connect, spec)


def decode(body: bytes, source: str) -> str:
    """Text of bytes that were read from a store. Raises Invalid if they are no UTF-8."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{source} is not UTF-8 text: byte {error.start}", "upload it as UTF-8 text") from None
