"""`trimtab up`, `down` and `doctor`: the platform on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click
import psutil

from trimtab.app.cli import print_json
from trimtab.app.settings import FOLDER
from trimtab.core.errors import Invalid, TrimtabError, Unavailable

if TYPE_CHECKING:
    from trimtab.app.cli.screen import Screen
    from trimtab.app.embedded.lock import Holder
    from trimtab.app.embedded.platform import Platform

REFRESH_SECONDS = 0.25
DOWN_SECONDS = 60.0
RELOAD_SECONDS = 60.0
RELOAD = signal.SIGUSR1
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP arrived: stop everything, once."""


@click.command(epilog="Example:  trimtab up -f model.yaml")
@click.option("-f", "--file", "spec", required=True, type=click.Path(path_type=Path), help="The model's YAML.")
@click.option("--port", type=click.IntRange(1024, 65535), help="Of the listener; by default a free one, remembered.")
@click.option(
    "--listing",
    "listing_seconds",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two listings of the source, which find what no event told of.",
)
def up(spec: Path, port: int | None, listing_seconds: float) -> None:
    """
    Start the platform in this folder: store, listener, training, gateway.

    It runs until Ctrl-C, SIGTERM or `trimtab down`, and leaves data and state under .trimtab for the next time.
    """
    from trimtab.adapters import environment
    from trimtab.app.cli.screen import Screen
    from trimtab.app.embedded.platform import Platform

    clock = "stream" if environment.replays() else "wall"
    with Screen() as screen:
        say = timed(screen.say)
        _log_to(say)
        platform = Platform(Path.cwd(), spec, port=port, policy_clock=clock, listing_seconds=listing_seconds, tell=say)
        with signals_stop():
            asked = threading.Event()
            signal.signal(RELOAD, lambda number, frame: asked.set())
            try:
                platform.start()
                _show(platform, screen, asked)
            except Stopped:
                say("stopping")
            finally:
                platform.stop()
        say("stopped; data and state are kept in .trimtab")


@click.command(epilog="Example:  trimtab down")
def down() -> None:
    """Stop what `up` started in this folder, or end what it left if it was killed."""
    from trimtab.adapters.kfp import LocalLauncher
    from trimtab.app.embedded.lock import FolderLock, holder
    from trimtab.app.embedded.processes import end_leftovers

    folder = _folder()
    who = holder(folder)
    if who is not None:
        _stop(who)
        return
    if not folder.is_dir():
        click.echo(f"nothing runs here: there is no {folder}")
        return
    with FolderLock(folder):
        ended = [f"{entry.name} (process {entry.pid})" for entry in end_leftovers(folder / "pids")]
        launcher = LocalLauncher(folder / "runs", "")
        for run in launcher.leftovers():
            launcher.stop(run)
            ended.append(f"run {run}")
    click.echo(f"ended what a killed platform left: {', '.join(ended)}" if ended else "nothing runs here")


@click.command(epilog="Example:  trimtab reload")
def reload() -> None:
    """
    Take up the edited spec of the platform that runs in this folder.

    Store, gateway and model servers run on: predictions are answered all the time. A training run that goes on is
    ended, and tried again.
    """
    from trimtab.adapters import specs
    from trimtab.app.embedded.lock import holder
    from trimtab.core.records import digest
    from trimtab.core.spec import load

    folder = _folder()
    who = holder(folder)
    if who is None or not who.spec:
        raise Invalid(f"no platform is ready in {folder.parent}", "trimtab up -f model.yaml")
    text = specs.read_file(who.spec)
    load(text, who.spec)
    if who.spec_digest == digest(text):
        click.echo(f"{who.spec} has not changed since {who.model} took it up")
        return
    os.kill(who.pid, RELOAD)
    begun = time.monotonic()
    while (now := holder(folder)) is not None and now.reloads == who.reloads:
        if time.monotonic() - begun > RELOAD_SECONDS:
            raise Unavailable(
                f"{who} did not take up {who.spec} within {RELOAD_SECONDS:.0f} s", "see what `trimtab up` prints"
            )
        time.sleep(0.05)
    if now is None:
        raise Unavailable(f"process {who.pid} ended meanwhile", "trimtab up -f model.yaml")
    if now.refused:
        raise Invalid(f"{who.model} goes on by the former spec: {now.refused}")
    click.echo(f"{who.model} works by {who.spec} as it is now")


@click.command(epilog="Example:  trimtab doctor")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def doctor(as_json: bool) -> None:
    """Check this machine, the store and the state; exit code 1 if something fails."""
    from dataclasses import asdict

    from trimtab.app.embedded.checkup import check_all

    checks = []
    for check in check_all(_folder()):
        checks.append(check)
        if not as_json:
            click.echo(f"{click.style(f'{check.level:4}', fg=COLOURS[check.level])}  {check.name:18}  {check.found}")
            if check.hint:
                click.echo(f"{'':26}hint: {check.hint}")
    failed = [check for check in checks if check.level == "fail"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    if failed:
        sys.exit(1)


def _stop(who: Holder) -> None:
    """Ask the process to stop and wait until it has; a zombie that its parent has not collected counts as ended."""
    begun = time.monotonic()
    told = False
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(who.pid) if who.process.process() else None
        if process is not None:
            process.terminate()
    while who.process.process() is not None:
        waited = time.monotonic() - begun
        if waited > DOWN_SECONDS:
            raise Unavailable(
                f"{who} did not stop within {DOWN_SECONDS:.0f} s",
                f"`kill -9 {who.pid}`, then `trimtab down` again ends what it leaves; nothing is lost",
            )
        if waited > 2 and not told:
            click.echo("stopping: the loop, the run that goes on, the store", err=True)
            told = True
        time.sleep(0.05)
    click.echo(f"stopped {who}")


def _show(platform: Platform, screen: Screen, reload_asked: threading.Event) -> None:
    """Print the addresses, then changes for as long as it runs; on a terminal how things stand below them."""
    from trimtab.app.cli import live

    addresses = {
        "uploads": platform.model.spec.data.source,
        "S3": platform.store.endpoint,
        "listener": platform.environment.url,
        "gateway": platform.environment.gateway_url,
        "settings": f"{FOLDER}/env",
    }
    say = timed(screen.say)
    if not screen.draws:
        for name, address in addresses.items():
            say(f"{name:9} {address}")
    say(f"{platform.model.name} is ready; `trimtab status` in this folder shows how it stands")
    before = None
    while True:
        if reload_asked.is_set():
            reload_asked.clear()
            _reload(platform, say)
        status = platform.loop.snapshot()
        for line in live.changes(before, status):
            say(line)
        if screen.draws:
            screen.draw(live.panel(status, addresses))
        before = status
        time.sleep(REFRESH_SECONDS)


def _reload(platform: Platform, say: Callable[[str], None]) -> None:
    """A spec that will not do leaves everything as it is."""
    try:
        platform.reload()
        say(f"{platform.model.name} works by the edited spec; who serves ran on")
    except TrimtabError as error:
        for line in f"the edited spec was not taken up: {error}".splitlines():
            say(line)


def timed(say: Callable[[str], None]) -> Callable[[str], None]:
    """Lines with the time of day in front."""
    return lambda line: say(f"{datetime.now().astimezone():%H:%M:%S}  {line}")


def _log_to(tell: Callable[[str], None]) -> None:
    """Warnings of the library become lines of the same form."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(record.getMessage())

    log = logging.getLogger("trimtab")
    log.addHandler(Handler(logging.WARNING))
    log.propagate = False


@contextlib.contextmanager
def signals_stop() -> Iterator[None]:
    """The first signal raises Stopped in the main thread, later ones are ignored: stopping is not interrupted."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped

    # What was ignored stays so: `nohup trimtab up &` outlives its terminal.
    former = {each: signal.signal(each, stop) for each in signals if signal.getsignal(each) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


def _folder() -> Path:
    """The nearest `.trimtab`, here or above; the one that `up` would make when there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    return here / FOLDER
