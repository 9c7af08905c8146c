"""
The steps of one local run, each in a process forked from one that has imported already what steps import.

kfp.local starts a new interpreter for every step, and eight times the imports cost more than what most steps do. Here
`python -m trimtab.adapters.kfp_warm FD` imports once and then does what the step's own command would: it writes the
component's source to a file and calls KFP's executor in a process of its own. A command of another form is not for it.

The rest is imported while the first steps run. Only what starts no threads that work is imported before a fork: polars
makes its pool when it is first used.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

EXECUTOR = "kfp.dsl.executor_main"
# What steps were seen to import, in the order of the steps; what is missing here costs the step that needs it, and
# nothing else.
PRELOADED = (
    EXECUTOR,
    "boto3.s3.inject",
    "trimtab.adapters.steps",
    "polars",
    "trimtab.adapters.intake",
    "numpy",
    "trimtab.adapters.rows",
    "sklearn.ensemble",
    "skops.io",
    "trimtab.adapters.estimators",
    "trimtab.adapters.models",
    "jinja2",
)
HEADER = 8  # bytes before a message: its length


@dataclass(frozen=True, slots=True)
class Command:
    """A step as kfp.local would run it: the component's source, and the executor's own arguments."""

    source: str
    arguments: Sequence[str]

    @classmethod
    def of(cls, full_command: Sequence[str]) -> Command | None:
        """
        None for a command of another form than a lightweight component's.

        >>> Command.of(["sh", "-ec", "python3 -m kfp.dsl.executor_main", "def f(): ...", "--x", "1"])
        Command(source='def f(): ...', arguments=['--x', '1'])
        """
        shell, script = list(full_command[:2]), "".join(full_command[2:3])
        if shell != ["sh", "-ec"] or EXECUTOR not in script or len(full_command) < 4:
            return None
        return cls(full_command[3], list(full_command[4:]))


class Warm:
    """The process that steps are forked from; used by one thread. It ends with `close`, or with its parent."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trimtab.adapters.kfp_warm", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "_KFP_RUNTIME": "true"},
            )
        self._socket = ours

    def run(self, command: Command, output: int, env: Mapping[str, str]) -> int:
        """
        Run a step to its end; what it prints goes to the file descriptor `output`.

        Returns:
            Its exit status, negative for a signal, as `subprocess` gives it.

        Raises:
            OSError: If the process that steps are forked from is gone: nobody knows how the step ended.
        """
        body = json.dumps({"source": command.source, "arguments": list(command.arguments), "env": dict(env)}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [output]))]
        self._socket.sendmsg([len(body).to_bytes(HEADER, "big")], rights)
        self._socket.sendall(body)
        answer = self._socket.recv(HEADER, socket.MSG_WAITALL)
        if len(answer) < HEADER:
            raise OSError("the process that steps are forked from is gone")
        return int.from_bytes(answer, "big", signed=True)

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        self._process.wait()


def main(connection: socket.socket) -> NoReturn:
    """Serve one parent until it closes the connection."""
    left = list(PRELOADED)
    while True:
        while left and not select.select([connection], [], [], 0)[0]:
            _import(left.pop(0))
        header, ancillary, _, _ = connection.recvmsg(HEADER, socket.CMSG_SPACE(4))
        if len(header) < HEADER:
            os._exit(0)
        output = array.array("i", ancillary[0][2])[0]
        request = json.loads(connection.recv(int.from_bytes(header, "big"), socket.MSG_WAITALL))
        gc.freeze()  # a collection in the child would copy every page
        pid = os.fork()
        if pid == 0:
            connection.close()
            _step(request, output)
        os.close(output)
        while left and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            _import(left.pop(0))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(code.to_bytes(HEADER, "big", signed=True))


def _import(name: str) -> None:
    with suppress(Exception):  # what fails here fails in the step that needs it, where it is told
        importlib.import_module(name)


def _step(request: Mapping[str, Any], output: int) -> NoReturn:
    """What the step's own command does: the source in a file, the executor called with its arguments."""
    code = 1
    try:
        _execute(request, output)
        code = 0
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # an interpreter that takes itself down needs longer than most steps


def _execute(request: Mapping[str, Any], output: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(output, stream.fileno())
    os.close(output)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(request["env"])
    path = Path(tempfile.mkdtemp()) / "ephemeral_component.py"
    path.write_text(request["source"])
    sys.argv = [EXECUTOR, "--component_module_path", str(path), *request["arguments"]]
    importlib.import_module(EXECUTOR).executor_main()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
