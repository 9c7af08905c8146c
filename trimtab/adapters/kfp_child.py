"""
One run of a pipeline through kfp.local: `python -m trimtab.adapters.kfp_child FOLDER/RUN_ID/request.json`.

A process of its own, because kfp.local keeps its settings in the process and replaces `print` and the log handlers
while it works. Of its output only the steps' own lines reach the run's log.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from trimtab.adapters.kfp import PARENT_VARIABLE, Run
from trimtab.adapters.kfp_log import StepLog
from trimtab.adapters.kfp_package import load_pipeline
from trimtab.adapters.kfp_warm import Command, Warm
from trimtab.core.errors import TrimtabError
from trimtab.core.ports import RunPhase

PARENT_CHECK_SECONDS = 0.25
PARAMETERS = ("model", "spec", "state", "objects", "reason", "run_key", "image")


def main(request: Path) -> int:
    """Run it and write down how it ended; 0 when it succeeded."""
    run = Run(os.environ["TRIMTAB_RUN_ID"], request.parent)
    threading.Thread(target=_end_with_parent, args=(run,), daemon=True).start()
    body = json.loads(request.read_text())
    log = sys.stdout
    began = time.monotonic()
    steps = Steps(log, Warm())  # it imports while this process does
    try:
        _run(body, run.folder / "root", steps)
        error = ""
    except TrimtabError as failure:
        error = failure.message
        print(f"error: {failure}", file=log)
    except Exception as failure:
        # What a step failed with stands in the log already; the engine adds only that it failed.
        error = steps.error or f"{type(failure).__name__}: {failure}"
        if not steps.error:
            print(f"error: {error}", file=log)
    steps.warm.close()
    seconds = time.monotonic() - began
    print(f"{_now()} run {'failed' if error else 'succeeded'} after {seconds:.1f} s", file=log, flush=True)
    run.conclude(RunPhase.FAILED if error else RunPhase.SUCCEEDED, error.splitlines()[0] if error else "")
    return 1 if error else 0


def _run(body: dict[str, Any], root: Path, steps: Steps) -> None:
    # Chatter of the engine: it writes to sys.stdout and to the root logger, whose handler it opens on sys.stdout.
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    pipeline = load_pipeline(body["pipeline"])
    from kfp import local
    from kfp.local import subprocess_task_handler

    # The one place where kfp.local starts a process: ours reads the step's output itself, for the log and for the
    # reason of a failure, which kfp.local does not hand on.
    subprocess_task_handler.run_local_subprocess = steps.run
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    # An empty parameter is left out, so that the pipeline's own default counts.
    arguments = {name: body[name] for name in PARAMETERS if body[name]}
    with redirect_stdout(io.StringIO()):
        pipeline(**arguments)


@dataclass
class Steps:
    """Runs each step's command and copies its output to the log."""

    log: TextIO
    warm: Warm
    error: str = ""  # of the step that failed: "train: ValueError: ..."

    def run(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """As kfp.local's own: the exit status of the step's process."""
        name = full_command[full_command.index("--function_to_execute") + 1]
        began = time.monotonic()
        output = StepLog()
        code = self._execute(full_command, env_vars or {}, lambda line: self._show(name, output.feed(line)))
        self._show(name, output.finish())
        seconds = time.monotonic() - began
        if code == 0:
            self._show(name, [f"done in {seconds:.2f} s"])
        else:
            reason = output.error or _ending(code)
            self.error = f"{name}: {reason}"
            self._show(name, [f"failed after {seconds:.1f} s" + ("" if output.error else f": {reason}")])
        return code

    def _execute(self, full_command: list[str], env: Mapping[str, str], take: Callable[[str], None]) -> int:
        """Run the command, from the warm process if it is for it; `take` gets each line that it prints."""
        command = Command.of(full_command)
        if command is None:
            return _in_a_new_process(full_command, env, take)
        read, write = os.pipe()
        with open(read, errors="replace") as lines:
            reader = threading.Thread(target=_take_lines, args=(lines, take))
            reader.start()
            try:
                return self.warm.run(command, write, env)
            finally:
                os.close(write)
                reader.join()

    def _show(self, name: str, lines: list[str]) -> None:
        for line in lines:
            # Not print: kfp.local indents it while a step runs.
            self.log.write(f"{_now()} {name}: {line}\n")
        self.log.flush()


def _take_lines(lines: TextIO, take: Callable[[str], None]) -> None:
    for line in lines:
        take(line.rstrip("\n"))


def _in_a_new_process(full_command: list[str], env: Mapping[str, str], take: Callable[[str], None]) -> int:
    with subprocess.Popen(
        full_command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **env},
    ) as process:
        assert process.stdout is not None
        _take_lines(process.stdout, take)  # type: ignore[arg-type]
    return process.returncode


def _ending(code: int) -> str:
    """What an exit status says: a shell reports its child's signal as 128 + number."""
    number = -code if code < 0 else code - 128
    if 0 < number < signal.NSIG:
        name = signal.Signals(number).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"it ended with exit status {code} and no message"


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S")


def _end_with_parent(run: Run) -> None:
    """When the process that started this run is gone, end the whole session: the next one starts it again."""
    parent = int(os.environ[PARENT_VARIABLE])
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    run.conclude(RunPhase.FAILED, "the platform's process ended while the run was under way")
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
