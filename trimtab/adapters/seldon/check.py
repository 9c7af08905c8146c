"""
The serving environment as whoever checks an artifact sees it: a child process that loads and predicts.

Started early and asked late: its imports take two seconds, which pass while the trainer fits.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trimtab.adapters import environment
from trimtab.core.errors import Invalid, TrimtabError, Unavailable

if TYPE_CHECKING:
    from trimtab.core.spec.model import ContinuousModel

START_SECONDS = 120.0  # two on an idle machine
ANSWER_SECONDS = 120.0  # some hundred rows: what takes longer can serve nobody
MODULE = "trimtab.adapters.seldon.trial"
# The child reads rows and one file: it is told no key, and its hashes are its own.
WITHHELD = ("AWS_", "TRIMTAB_TOKEN", "TRIMTAB_GATEWAY_TOKEN", "PYTHONHASHSEED", "PYTHONPATH", "VIRTUAL_ENV")
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


NO_ENVIRONMENT = "found no serving environment here"
GET_ONE = (
    "build it (`make demo` and `make test` do, as .venv-serving), or name the interpreter of one by "
    "TRIMTAB_SERVING_PYTHON"
)


def interpreter(model: ContinuousModel) -> Path | None:
    """
    The serving environment's, None where there is none.

    Raises:
        Invalid: If there is none, and the spec limits the latency that only it can measure.
    """
    found = environment.serving_python()
    limit = model.spec.evaluation.max_latency_p99_milliseconds
    if found is None and limit is not None:
        raise Invalid(
            f"{NO_ENVIRONMENT}, and evaluation.maxLatencyP99Milliseconds asks for at most {limit:g} ms in it",
            f"{GET_ONE}; or leave the limit out, then a candidate goes on without this check",
        )
    return found


class Refused(TrimtabError):
    """The serving environment cannot serve this artifact: it refuses it, fails on it, or ends because of it."""


class ServingProcess:
    """
    One child in the serving environment, for one check; a context manager that ends it.

    Args:
        python: The serving environment's interpreter.
        spec_folder: Where the user's own modules lie.
        trusted_types: The operator's list.
    """

    def __init__(self, python: Path, spec_folder: str = "", trusted_types: Iterable[str] = ()) -> None:
        self.python = python
        own = {"TRIMTAB_SPEC_FOLDER": spec_folder, "TRIMTAB_TRUSTED_TYPES": ",".join(trusted_types)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(WITHHELD)}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            # -P: what lies in the working directory shadows no module.
            [str(python), "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**kept, **THREADS, **own},
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._packages: dict[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._errors.close()

    def packages(self) -> dict[str, str]:
        """
        Versions in the serving environment, once it has started.

        Raises:
            Invalid: If it does not start: it is damaged, or not one.
            Unavailable: If it takes too long.
        """
        if self._packages is None:
            line = self._line(START_SECONDS)
            if line is None:
                raise Unavailable(f"{self.python} did not start within {START_SECONDS:.0f} s", "the machine is busy")
            if not line:
                raise Invalid(
                    f"the serving environment does not start: {self.python} {self._ended()}",
                    "make it anew: delete its folder, then `make demo` or `make test` builds it; or name another "
                    "interpreter by TRIMTAB_SERVING_PYTHON",
                )
            self._packages = json.loads(line)["packages"]
        return self._packages

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """
        What `trial.Trial` answers to a command.

        Raises:
            Refused: If the artifact is refused, its code fails, or the process ends by it.
            Unavailable: If somebody killed the process, as a machine short of memory does.
        """
        self.packages()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        line = self._line(ANSWER_SECONDS)
        if line is None:
            raise Refused(f"no answer to {command} within {ANSWER_SECONDS:.0f} s")
        if not line:
            said = self._ended()
            if self._process.returncode == -signal.SIGKILL:
                raise Unavailable("the serving process was killed", "is the machine short of memory?")
            raise Refused(f"the serving process {said}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"], answer["hint"])
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed under it, when the check has ended
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(b"")

    def _line(self, seconds: float) -> bytes | None:
        """The next answer; empty when there will be none, None when it takes too long."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def _ended(self) -> str:
        """How the process ended, with the last line it wrote."""
        code = self._process.wait(timeout=START_SECONDS)
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {lines[-1]}" if lines else how
