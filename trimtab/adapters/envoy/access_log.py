"""
Envoy's access log as measurements: read on by position, set aside when it grows long.

The log of one Envoy is `access.jsonl`; set aside it is `access-NNNNNNNN.jsonl`, numbered upwards. A position in it is
`NUMBER:BYTES`, and stays valid when the file that it points into is set aside. The oldest files are deleted; a
position in one of them goes on at the oldest that is left.
"""

from __future__ import annotations

import heapq
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.adapters.envoy.bootstrap import ACCESS_LOG
from trimtab.adapters.envoy.clusters import alone, chosen
from trimtab.adapters.envoy.routes import SPLIT
from trimtab.core.errors import Invalid
from trimtab.core.ports import Answer

LONGEST_BYTES = 16 << 20  # about 60,000 requests
KEPT = 16
READ_BYTES = 4 << 20
FLUSH_MILLISECONDS = 200  # Envoy writes its lines that often
SINCE = "since"  # a part of a position beside the logs' names


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, when it was complete (wall seconds), and the position after its line."""

    done: float
    answer: Answer
    position: str


class AccessLog:
    """The access log in the folder of one Envoy; its methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def set_aside(self, longest: int = LONGEST_BYTES) -> bool:
        """
        Rename the log if it has `longest` bytes, and delete the oldest; returns whether it was renamed.

        Envoy goes on in the renamed file until it is told to open a new one, and makes `access.jsonl` then.
        """
        with self._lock:
            if _size(self._current) < max(1, longest):
                return False
            self._current.rename(self._file(self._number()))
            for old in self._numbers()[:-KEPT]:
                self._file(old).unlink(missing_ok=True)
            return True

    def end(self) -> str:
        """The position after all that is written."""
        with self._lock:
            numbers = self._numbers()
            if not self._current.exists() and numbers:
                return f"{numbers[-1]}:{_whole(self._file(numbers[-1]))}"
            return f"{self._number()}:{_whole(self._current)}"

    def read(self, position: str, limit: int, since: float = 0.0) -> tuple[list[Entry], str]:
        """
        At most `limit` answers of the split after `position`, as Envoy completed them, and where the next ones begin.

        What was complete before `since`, in wall seconds, is left out.

        Raises:
            Invalid: If the position is none.
        """
        number, offset = _parse(position)
        found: list[Entry] = []
        with self._lock:
            number, offset = self._existing(number, offset)
            while len(found) < limit:
                entries, offset = self._read_some(number, offset, limit - len(found), since)
                found += entries
                if len(found) >= limit or not self._ended(number, offset):
                    break
                number, offset = number + 1, 0
        return found, f"{number}:{offset}"

    def _read_some(self, number: int, offset: int, limit: int, since: float) -> tuple[list[Entry], int]:
        """Entries of one file from the offset on, and the offset after the last line that was read."""
        found: list[Entry] = []
        try:
            with self._path(number).open("rb") as file:
                file.seek(offset)
                while len(found) < limit:
                    block = file.read(READ_BYTES)
                    whole = block[: block.rfind(b"\n") + 1]
                    for line in whole.splitlines(keepends=True):
                        offset += len(line)
                        entry = parse_line(line, f"{number}:{offset}")
                        if entry is not None and entry.done >= since:
                            found.append(entry)
                            if len(found) == limit:
                                break
                    if not whole or len(block) < READ_BYTES:
                        break
                    file.seek(offset)
        except FileNotFoundError:
            pass  # not written yet
        return found, offset

    def _existing(self, number: int, offset: int) -> tuple[int, int]:
        """The position itself, or the first that is left after it."""
        numbers = self._numbers()
        if number > self._number() or (offset > _size(self._path(number))):
            return (numbers or [self._number()])[0], 0  # the folder was emptied meanwhile
        if numbers and number < numbers[0]:
            return numbers[0], 0
        return number, offset

    def _ended(self, number: int, offset: int) -> bool:
        """Whether nothing more comes in the file after the offset: what is left there is a line that a kill cut off."""
        if number >= self._number() or not self._current.exists():
            return False
        return offset >= _whole(self._file(number))

    @property
    def _current(self) -> Path:
        return self._folder / ACCESS_LOG

    def _file(self, number: int) -> Path:
        return self._folder / f"access-{number:08d}.jsonl"

    def _path(self, number: int) -> Path:
        aside = self._file(number)
        return aside if aside.exists() or number != self._number() else self._current

    def _numbers(self) -> list[int]:
        """Of the files set aside, ascending."""
        names = (path.stem.removeprefix("access-") for path in self._folder.glob("access-*.jsonl"))
        return sorted(int(name) for name in names if name.isdecimal())

    def _number(self) -> int:
        """Of the file that is being written, once it is set aside."""
        return max(self._numbers(), default=0) + 1


def ends(logs: Mapping[str, AccessLog], now: float) -> str:
    """
    The position from which only answers come that are complete after `now`, in wall seconds.

    It is `NAME=NUMBER:BYTES` by comma, a part for each log, and the time: the logs lag a little.
    """
    return _join({**{name: log.end() for name, log in logs.items()}, SINCE: f"{now:.6f}"})


def read_all(
    logs: Mapping[str, AccessLog], position: str, limit: int, before: float = float("inf")
) -> tuple[list[Answer], str]:
    """
    Answers of several logs after `position` in the order in which they were complete, and the position after them.

    Args:
        logs: By name.
        position: As `ends` or an earlier call gave it; a log that it does not name is read from its beginning.
        limit: Most answers to return.
        before: Only what was complete by then, in wall seconds: what another log may still have to write comes later.

    Raises:
        Invalid: If the position is none.
    """
    begins = _split(position)
    since = _seconds(begins.get(SINCE, "0"))
    read = {name: log.read(begins.get(name, "1:0"), limit, since) for name, log in logs.items()}
    at = {**{name: begins.get(name, "1:0") for name in logs}, SINCE: f"{since:.6f}"}
    streams = ([(entry.done, name, index) for index, entry in enumerate(read[name][0])] for name in logs)
    taken: list[Answer] = []
    counts = dict.fromkeys(logs, 0)
    # In one log a later line may be complete a little earlier; each log's own order stays.
    for done, name, index in heapq.merge(*streams):
        if len(taken) == limit or done > before:
            break
        entry = read[name][0][index]
        taken.append(entry.answer)
        at[name] = entry.position
        counts[name] += 1
    for name, (entries, end) in read.items():
        if counts[name] == len(entries):
            at[name] = end  # also past lines that are no answers
    return taken, _join(at)


def parse_line(line: bytes, position: str) -> Entry | None:
    """
    One line of the log; None where it is no answer of a variant, or was cut off by a kill.

    A request that a client gave up counts with the time that it waited. One that never reached a variant because it
    was refused (too long, half a body) tells nothing of the variant.
    """
    try:
        value = json.loads(line)
        if value["route"] != SPLIT:
            return None
        version = chosen(value["cluster"] or "")
        code, at = int(value["code"]), float(value["at"])
        if version is None or (not value["attempts"] and code < 500):
            return None
        total = float(value["total_us"] or 1000.0 * value["ms"]) / 1e6
        took = value["upstream_us"]
        replaced = value["answered_by"] not in (None, alone(version))
        return Entry(
            done=at + total,
            answer=Answer(
                at=at,
                version=version,
                failed=code >= 500 or replaced,
                seconds=total if took is None else float(took) / 1e6,
                user=value["user"] or "",
                request_id=value["id"] or "",
            ),
            position=position,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _parse(position: str) -> tuple[int, int]:
    number, colon, offset = position.partition(":")
    if not (colon and number.isdecimal() and offset.isdecimal()):
        raise Invalid(f"found {position!r} as a position in the access log, needed NUMBER:BYTES", "leave it empty")
    return int(number), int(offset)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"found {text!r} as the time in a position, needed seconds", "leave the position empty") from None


def _split(position: str) -> dict[str, str]:
    parts = [part.partition("=") for part in position.split(",")]
    if not all(equals for _, equals, _ in parts):
        raise Invalid(f"found {position!r} as a position, needed NAME=NUMBER:BYTES by comma", "leave it empty")
    return {name: place for name, _, place in parts}


def _join(positions: Mapping[str, str]) -> str:
    return ",".join(f"{name}={place}" for name, place in sorted(positions.items()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _whole(path: Path) -> int:
    """Bytes of the file up to the end of its last whole line."""
    size = _size(path)
    if not size:
        return 0
    with path.open("rb") as file:
        begin = max(0, size - 65_536)
        file.seek(begin)
        return begin + file.read(size - begin).rfind(b"\n") + 1
