"""Keys of the embedded platform: made once a folder, kept with mode 0600, never printed or passed as arguments."""

from __future__ import annotations

import secrets
import string
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from trimtab.app.embedded.files import read_json, write_json
from trimtab.core.errors import Invalid

FILE = "credentials.json"


@dataclass(frozen=True, repr=False)
class Credentials:
    """S3 keys, the bearer tokens of listener and gateway, and the four keys that close the store's inner ports."""

    access_key: str
    secret_key: str
    token: str
    volume_write_key: str
    volume_read_key: str
    filer_write_key: str
    filer_read_key: str
    gateway_token: str

    def __repr__(self) -> str:
        return "Credentials(...)"


def make() -> Credentials:
    """New random credentials; the access key has the form of AWS's own, which some clients check."""
    letters = string.ascii_uppercase + "234567"
    return Credentials(
        access_key="AKTT" + "".join(secrets.choice(letters) for _ in range(16)),
        secret_key=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(32),
        volume_write_key=secrets.token_urlsafe(32),
        volume_read_key=secrets.token_urlsafe(32),
        filer_write_key=secrets.token_urlsafe(32),
        filer_read_key=secrets.token_urlsafe(32),
        gateway_token=secrets.token_urlsafe(32),
    )


def load_or_make(folder: Path) -> Credentials:
    """
    The folder's credentials, made at the first call.

    Raises:
        Invalid: If the file is there and torn: new keys would lock out every client that holds the old ones.
    """
    path = folder / FILE
    if not path.exists():
        made = make()
        write_json(path, asdict(made))
        return made
    value = read_json(path) or {}
    if value and "gateway_token" not in value:  # made before there was a gateway
        value["gateway_token"] = secrets.token_urlsafe(32)
        write_json(path, value)
    names = [field.name for field in fields(Credentials)]
    missing = [name for name in names if not isinstance(value.get(name), str) or not value[name]]
    if missing:
        raise Invalid(
            f"{path} lacks {', '.join(missing)}",
            f"delete {path}: the next start makes new keys, and every client must read .trimtab/env again",
        )
    path.chmod(0o600)
    return Credentials(**{name: value[name] for name in names})
