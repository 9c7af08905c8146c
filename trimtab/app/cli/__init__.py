"""
The command line. Each command's module is imported only when that command runs: `trimtab --help` stays instant.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys

import click

from trimtab.core.errors import TrimtabError

# Command, the module and attribute that implement it, and the line that `trimtab --help` shows.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("spec:init", "Write a model.yaml from a data file"),
    "check": ("spec:check", "Check a spec: fields, contradictions, estimator"),
    "test": ("test:test", "Try the recipe out whole: fit, save, load where it serves, predict"),
    "backtest": ("backtest:backtest", "Would this policy have paid on these files?"),
    "up": ("platform:up", "Start the platform here: store, listener, training"),
    "reload": ("platform:reload", "Take up the edited spec; predictions go on"),
    "down": ("platform:down", "Stop what `up` started in this folder"),
    "demo": ("demo:demo", "A year of real data through the whole loop"),
    "run": ("runs:run", "Train now, on demand"),
    "status": ("status:status", "What serves, what waits, what failed, and the next move"),
    "history": ("runs:history", "Every decision with its evidence"),
    "logs": ("runs:logs", "What a run printed"),
    "show": ("versions:show", "A model version: metrics, evaluation, lineage"),
    "get": ("versions:get", "Download a model version, verified"),
    "predict": ("predict:predict", "Predict the rows of files"),
    "compare": ("compare:compare", "Two versions on the same labelled rows"),
    "plan": ("plan:plan", "What the controller would do about a rollout now, and why"),
    "promote": ("rollout:promote", "Skip what is left of a rollout"),
    "approve": ("versions:approve", "Let a paused rollout go on, or a waiting version become champion"),
    "pause": ("rollout:pause", "Leave a rollout's traffic as it is"),
    "resume": ("rollout:resume", "Let a paused rollout go on"),
    "abort": ("rollout:abort", "End a rollout, the champion answering everything"),
    "rollback": ("rollout:rollback", "Make an older version champion again"),
    "quarantine": ("quarantine:quarantine", "List, show or release what was set aside"),
    "compile": ("pipeline:compile_package", "Write the Kubeflow pipeline package"),
    "doctor": ("platform:doctor", "Check this machine, the store and the state"),
}


class LazyGroup(click.Group):
    """Commands by name from COMMANDS, imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"trimtab.app.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start here:  trimtab demo",
)
@click.version_option(package_name="trimtab", message="trimtab %(version)s")
def cli() -> None:
    """Continuous training: retrain on evidence, release on evidence."""


def print_json(value: object) -> None:
    """For `--json`: one document on standard output, nothing else."""
    click.echo(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def main(arguments: list[str] | None = None) -> None:
    """The entry point."""
    run(cli, "trimtab", arguments)


def run(command: click.Command, name: str, arguments: list[str] | None) -> None:
    """A program's command: errors of ours are printed without a traceback, with their exit code."""
    try:
        command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except TrimtabError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # `trimtab history | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        shown = f"{str(error.filename)[:60]}…"
        click.echo(f"error: {shown} is too long for a file's name\nhint: name a file, not what it holds", err=True)
        sys.exit(2)
