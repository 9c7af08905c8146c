"""
What a check's Job runs in the image of the user's code: is the estimator one, and does it take its parameters?

`python -m trimtab.app.cluster.check s3://BUCKET/KEY-OF-SPEC`. The verdict is one line of JSON, as the container's
termination message: the controller reads it from the pod's status.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trimtab.adapters import environment, s3, specs
from trimtab.adapters.estimators import check, code_digest
from trimtab.core.errors import Invalid, TrimtabError

MESSAGE = Path("/dev/termination-log")
MOST_BYTES = 4096  # of a termination message: Kubernetes cuts what is beyond


def main(address: str, message: Path = MESSAGE) -> int:
    """Returns 0 with a verdict, 1 where none could be reached and trying again may help."""
    try:
        _, model = specs.fetch(address, s3.connect)
        verdict = verdict_of(model, environment.spec_folder())
    except TrimtabError as error:
        print(error, file=sys.stderr)
        message.write_bytes(error.message.encode()[:MOST_BYTES])
        return 1
    body = json.dumps(verdict)
    print(body)
    message.write_text(body)
    return 0


def verdict_of(model: Any, folder: str) -> dict[str, Any]:
    """`ok` with what the recipe's digest is made from, or what is wrong, in the words of `trimtab check`."""
    try:
        check(model, folder)
        code = code_digest(model.spec.training, folder)
    except Invalid as error:
        return {"ok": False, "message": str(error).encode()[: MOST_BYTES // 2].decode(errors="ignore")}
    return {"ok": True, "code": code, "sklearn": version("scikit-learn")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
