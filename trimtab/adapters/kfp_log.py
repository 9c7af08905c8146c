"""A step's output as a person wants to read it: the step's own lines, without what the KFP executor says of itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# "[KFP Executor 2026-01-31 12:00:00,123 INFO]: message": also what the step itself logs comes under this prefix.
PREFIX = re.compile(r"^\[KFP Executor \S+ \d\d:\d\d:\d\d,\d+ ([A-Z]+)\]: ?")
CHATTER = (
    "Looking for component `",
    "--component_module_path is not specified",
    'Loading KFP component "',
    "Got executor_input:",
    "Wrote executor output file",
    "Did not write output file",
)
OURS = re.compile(r"^trimtab\.core\.errors\.(\w+): ?(.*)$")
# Frames that tell a user nothing: the interpreter's start, KFP's executor, our own wrapping of a step.
HIDDEN_FRAME = re.compile(
    r'^  File "(<frozen [\w.]+>|.*[/\\]kfp[/\\]dsl[/\\].*|.*[/\\]adapters[/\\]steps\.py|.*contextlib\.py)"'
)


@dataclass
class StepLog:
    """
    Filters one step's output line by line; `finish` gives what was held back.

    A traceback is held until the end, because only its last line says whether it is an error of the user's (then
    the message stands alone) or of the code (then its frames matter).
    """

    error: str = ""  # one line: what the step failed with, as its traceback says
    kind: str = ""  # class of that error, e.g. Invalid or ValueError
    _in_request: bool = False
    _traceback: list[str] = field(default_factory=list)

    def feed(self, line: str) -> list[str]:
        """The lines to show for one line of output, without its newline."""
        if self._traceback or line == "Traceback (most recent call last):":
            self._traceback.append(line)
            return []
        if self._in_request:
            # json.dumps(indent=4): only the closing brace of the whole stands at the margin.
            self._in_request = line != "}"
            return []
        if found := PREFIX.match(line):
            line = line[found.end() :]
            if line.startswith(CHATTER):
                self._in_request = line.startswith("Got executor_input:")
                return []
            if found[1] != "INFO":
                line = f"{found[1].lower()}: {line}"
        return [line] if line.strip() else []

    def finish(self) -> list[str]:
        """The end of the output: a held traceback, in its readable form."""
        if not self._traceback:
            return []
        # Of chained errors the last one counts; it names its causes where that matters.
        start = max(i for i, line in enumerate(self._traceback) if line.startswith("Traceback (most recent"))
        block = self._traceback[start + 1 :]
        last_frame = max((i for i, line in enumerate(block) if line.startswith('  File "')), default=-1)
        end = next((i for i in range(last_frame + 1, len(block)) if not block[i].startswith(" ")), len(block))
        frames, message = block[:end], [line for line in block[end:] if not PREFIX.match(line)]
        self._traceback = []
        if message and (ours := OURS.match(message[0])):
            self.kind, self.error = ours[1], ours[2]
            return [f"error: {ours[2]}", *message[1:]]
        self.error = message[0] if message else "it failed without a message"
        self.kind = self.error.partition(":")[0].rpartition(".")[2]
        return [*_visible(frames), *message]


def _visible(frames: list[str]) -> list[str]:
    """The frames without those of HIDDEN_FRAME; each frame is its `File` line and what is indented below it."""
    shown: list[str] = []
    hidden = False
    for line in frames:
        if line.startswith('  File "'):
            hidden = bool(HIDDEN_FRAME.match(line))
        if not hidden:
            shown.append(line)
    return ["Traceback (most recent call last):", *shown] if shown else []
