"""What `trimtab up` shows never holds it up: a terminal that is stopped, or gone, does not keep it from ending."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

DEADLINE_SECONDS = 90.0
# Says and draws until it is told to stop; ends with what `up` ends with.
TALKS = """
import sys, time
from rich.text import Text
from trimtab.app.cli.platform import Stopped, signals_stop
from trimtab.app.cli.screen import Screen

with Screen() as screen, signals_stop():
    open(sys.argv[1], "w").close()
    try:
        for number in range(10**9):
            screen.say(f"line {number}")
            screen.draw(Text(f"block {number} " * 20))
            time.sleep(0.001)
    except Stopped:
        screen.say("stopped")
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: ours, and the one that a process writes to."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    for end in (ours, theirs):
        os.close(end)


def wait_for(look: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def unread(end: int) -> int:
    """Bytes that were written to a terminal and not read yet."""
    return int(struct.unpack("i", fcntl.ioctl(end, termios.FIONREAD, b"\0\0\0\0"))[0])


def wait_until_full(end: int) -> None:
    """Nobody reads, so at last nothing more is written."""
    seen, since = -1, time.monotonic()

    def full() -> bool:
        nonlocal seen, since
        if (now := unread(end)) != seen:
            seen, since = now, time.monotonic()
        return seen > 3000 and time.monotonic() - since > 1.5

    wait_for(full)


def test_a_stopped_terminal_does_not_keep_a_signal_from_ending_it(tmp_path: Path, terminal: tuple[int, int]) -> None:
    command = [sys.executable, "-c", TALKS, str(tmp_path / "ready")]
    process = subprocess.Popen(command, stdout=terminal[1], stderr=subprocess.DEVNULL)
    try:
        wait_until_full(terminal[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_on_a_terminal_that_is_read_the_last_line_is_shown(tmp_path: Path, terminal: tuple[int, int]) -> None:
    command = [sys.executable, "-c", TALKS, str(tmp_path / "ready")]
    process = subprocess.Popen(command, stdout=terminal[1], stderr=subprocess.DEVNULL)
    try:
        said = b""
        while b"line 20" not in said:
            said += os.read(terminal[0], 65536)
        process.send_signal(signal.SIGTERM)
        while b"stopped" not in said:
            said += os.read(terminal[0], 65536)
        wait_for(lambda: process.poll() is not None or (unread(terminal[0]) and os.read(terminal[0], 65536) == b""))
        assert process.returncode == 0
        assert b"block " in said
    finally:
        process.kill()
        process.wait()


def test_to_a_file_lines_are_written_in_order_and_nothing_is_drawn(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", TALKS, str(tmp_path / "ready")], stdout=out)
        wait_for(lambda: (tmp_path / "out").read_bytes().count(b"\n") > 100)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=DEADLINE_SECONDS) == 0
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines == [*(f"line {number}" for number in range(len(lines) - 1)), "stopped"]


def test_up_ends_on_a_stopped_terminal_and_leaves_nobody(
    spec_file: Path, terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRIMTAB_"))}
    command = [str(Path(sys.executable).with_name("trimtab")), "up", "-f", "model.yaml"]
    process = subprocess.Popen(
        command, cwd=spec_file.parent, env=keep, stdin=subprocess.DEVNULL, stdout=terminal[1], stderr=terminal[1]
    )
    family: list[psutil.Process] = []
    try:
        wait_until_full(terminal[0])
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_SECONDS) == 0
        assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    finally:
        process.kill()
        process.wait()
        for one in family:
            if one.is_running():
                one.kill()
