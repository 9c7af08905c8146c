"""Steps forked from a warm process end as processes of their own do."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters.kfp_warm import EXECUTOR, Command, Warm

SCRIPT = f'python3 -m {EXECUTOR} --component_module_path "$program_path/ephemeral_component.py" "$@"'


@pytest.fixture
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


def step(body: str, folder: Path) -> Command:
    """A component of this body, as kfp.local would run it."""
    source = f"def say():\n    {body}\n"
    result = f'{{"outputs": {{"outputFile": "{folder}/out.json"}}}}'
    command = ["sh", "-ec", SCRIPT, source, "--executor_input", result, "--function_to_execute", "say"]
    found = Command.of(command)
    assert found is not None
    return found


def ended(warm: Warm, command: Command, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit status, and what was printed."""
    read, write = os.pipe()
    with open(read) as lines:
        code = warm.run(command, write, env or {})
        os.close(write)
        return code, lines.read()


def test_a_step_prints_into_the_descriptor_and_ends_with_0(warm: Warm, tmp_path: Path) -> None:
    code, printed = ended(warm, step("import os; print('seen', os.environ['COLOUR'])", tmp_path), {"COLOUR": "green"})
    assert code == 0
    assert "seen green" in printed.splitlines()


def test_a_step_that_raises_shows_its_traceback_and_the_next_one_runs(warm: Warm, tmp_path: Path) -> None:
    code, printed = ended(warm, step("raise ValueError('no rows')", tmp_path))
    assert code == 1
    assert printed.rstrip().endswith("ValueError: no rows")
    assert ended(warm, step("print('next')", tmp_path))[0] == 0


@pytest.mark.parametrize(("body", "expected"), [("raise SystemExit(3)", 3), ("raise SystemExit", 0)])
def test_a_step_that_exits_has_that_status(warm: Warm, tmp_path: Path, body: str, expected: int) -> None:
    assert ended(warm, step(body, tmp_path))[0] == expected


def test_a_step_that_is_killed_ends_with_its_signal(warm: Warm, tmp_path: Path) -> None:
    code, _ = ended(warm, step("import os; os.kill(os.getpid(), 9)", tmp_path))
    assert code == -signal.SIGKILL


def test_steps_share_nothing_that_one_of_them_changed(warm: Warm, tmp_path: Path) -> None:
    ended(warm, step("import os, json; os.environ['LEFT'] = '1'; json.left = True", tmp_path))
    _, printed = ended(warm, step("import os, json; print(os.environ.get('LEFT'), hasattr(json, 'left'))", tmp_path))
    assert "None False" in printed.splitlines()


def test_when_the_warm_process_is_killed_the_caller_is_told(warm: Warm, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is gone"):
        ended(warm, step("import os; os.kill(os.getppid(), 9)", tmp_path))


@pytest.mark.parametrize(
    "command",
    [["python3", "train.py"], ["sh", "-ec", "echo hello", "source", "--x"], ["sh", "-ec", SCRIPT]],
    ids=["a program", "a script of its own", "no source"],
)
def test_a_command_of_another_form_is_not_for_it(command: list[str]) -> None:
    assert Command.of(command) is None
