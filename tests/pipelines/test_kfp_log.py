"""What of a step's output reaches the run's log."""

from trimtab.adapters.kfp_log import StepLog

PREFIX = "[KFP Executor 2026-01-31 12:00:00,123 INFO]: "


def read(output: str) -> tuple[list[str], StepLog]:
    log = StepLog()
    lines = [shown for line in output.splitlines() for shown in log.feed(line)]
    return [*lines, *log.finish()], log


def test_the_executors_own_talk_is_left_out():
    lines, _ = read(
        f"{PREFIX}Looking for component `train` in --component_module_path `/tmp/x/ephemeral_component.py`\n"
        f'{PREFIX}Loading KFP component "train" from /tmp/x.py (directory "/tmp" and module name "x")\n'
        f"{PREFIX}Got executor_input:\n"
        '{\n    "inputs": {\n        "spec": "}"\n    }\n}\n'
        "fitting 1000 rows\n"
        f"{PREFIX}Wrote executor output file to /tmp/x/executor_output.json.\n"
        "\n"
    )
    assert lines == ["fitting 1000 rows"]


def test_what_a_step_logs_loses_only_its_prefix_and_keeps_a_warnings_level():
    lines, _ = read(f"{PREFIX}read 3 files\n{PREFIX.replace('INFO', 'WARNING')}slow\n")
    assert lines == ["read 3 files", "warning: slow"]


def test_an_error_of_ours_is_shown_without_its_traceback():
    lines, log = read(
        "Traceback (most recent call last):\n"
        '  File "<frozen runpy>", line 198, in _run_module_as_main\n'
        '  File "/app/trimtab/core/window.py", line 9, in select\n'
        "    raise Invalid(\n"
        "trimtab.core.errors.Invalid: found 12 rows:\n"
        "  - a.csv: 12\n"
        "hint: upload more\n"
    )
    assert lines == ["error: found 12 rows:", "  - a.csv: 12", "hint: upload more"]
    assert (log.kind, log.error) == ("Invalid", "found 12 rows:")


def test_another_error_keeps_the_frames_of_its_own_code():
    lines, log = read(
        "Traceback (most recent call last):\n"
        '  File "<frozen runpy>", line 198, in _run_module_as_main\n'
        '  File "/venv/kfp/dsl/executor_main.py", line 109, in <module>\n'
        "    executor_main()\n"
        '  File "/home/me/estimators.py", line 4, in fit\n'
        "    raise ValueError(message)\n"
        "ValueError: Input X contains NaN.\n"
    )
    assert lines == [
        "Traceback (most recent call last):",
        '  File "/home/me/estimators.py", line 4, in fit',
        "    raise ValueError(message)",
        "ValueError: Input X contains NaN.",
    ]
    assert (log.kind, log.error) == ("ValueError", "ValueError: Input X contains NaN.")


def test_of_chained_errors_the_last_one_counts():
    lines, log = read(
        "Traceback (most recent call last):\n"
        '  File "/a.py", line 1, in f\n'
        "KeyError: 'x'\n"
        "\n"
        "The above exception was the direct cause of the following exception:\n"
        "\n"
        "Traceback (most recent call last):\n"
        '  File "/b.py", line 2, in g\n'
        "trimtab.core.errors.Unavailable: the store does not answer\n"
    )
    assert lines == ["error: the store does not answer"]
    assert log.kind == "Unavailable"


def test_a_traceback_cut_off_by_a_kill_is_still_shown():
    lines, log = read('Traceback (most recent call last):\n  File "/b.py", line 2, in g\n')
    assert lines == ["Traceback (most recent call last):", '  File "/b.py", line 2, in g']
    assert log.error == "it failed without a message"
