"""
The traffic of one model on this machine: model servers as child processes, and Envoy before them.

One thread brings what runs nearer to what is wanted, a step at a time, and starts every process: the kernel ends a
child with the thread that started it. The order keeps every request answered: a variant is started, asked until it
answers, made known to the router, then given traffic; and the other way round, no route leads to it, what it still
answers is waited for, then it is ended and forgotten.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from trimtab.adapters.envoy import clusters
from trimtab.app.embedded.gateway import Gateway
from trimtab.app.embedded.variants import Variants
from trimtab.core.errors import TrimtabError, Unavailable
from trimtab.core.ports import Answer, Serving, ServingSeen
from trimtab.core.split import check, named, next_route

LOOK_SECONDS = 0.05
QUIET_SECONDS = 0.5  # for requests that were chosen for it as its last route went
DRAIN_SECONDS = 75.0  # a request takes 60 s at most
NO_CHAMPION = (
    "no version of {model} serves yet: the first model that is accepted will\n"
    "hint: `trimtab status` shows how far it is"
)
STARTING = "v{version} of {model} is starting\nhint: ask again in a few seconds"
NO_ENVIRONMENT = (
    "there is no serving environment on this machine, so no version of {model} serves\n"
    "hint: `make .venv-serving/serving.done` makes it; TRIMTAB_SERVING_PYTHON names the interpreter of another one"
)
log = logging.getLogger("trimtab.traffic")


class EmbeddedTraffic:
    """
    `TrafficSplit` of one model on this machine, from `start` to `stop`.

    Args:
        model: Its name, for messages.
        gateway: Not started yet.
        variants: None where there is no serving environment: the gateway then says so to whoever asks.
        tell: Is told in one line what happens.
    """

    told_apart = False

    def __init__(
        self, model: str, gateway: Gateway, variants: Variants | None, tell: Callable[[str], None] = log.warning
    ) -> None:
        self.gateway = gateway
        self.variants = variants
        self._model = model
        self._tell = tell
        self._wanted: Serving | None = None
        self._route: Serving | None = None  # as last confirmed
        self._leaving: dict[int, float] = {}  # versions that no route leads to, since when (monotonic)
        self._pairs: set[tuple[int, int]] = set()  # challengers and who is behind them, as the router knows them
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def start(self) -> None:
        """
        Start the gateway.

        Raises:
            Unavailable: If it does not get ready.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """End the gateway, then the variants, which put their logs away; nothing happens when nothing runs."""
        self._stopping.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join()

    # The port

    def want(self, serving: Serving) -> None:
        check(serving)
        if self.variants is None:
            words, _, hint = NO_ENVIRONMENT.format(model=self._model).partition("\nhint: ")
            raise Unavailable(words, hint)
        if not self._thread.is_alive():
            raise Unavailable("the traffic of this platform is not managed: it was stopped, or not started")
        if serving != self._wanted:
            self._wanted = serving
            self._work.set()

    def seen(self) -> ServingSeen:
        route = self.gateway.confirmed()
        if self.variants is None:
            return ServingSeen(route=None, ready=frozenset(), failing={}, restarts={})
        ready = self.variants.ready
        if route is not None:
            route = replace(route, versions=tuple(sorted(ready)))
        return ServingSeen(route=route, ready=ready, failing=self.variants.failing, restarts=self.variants.restarts)

    def answers(self, position: str, limit: int = 10_000) -> tuple[list[Answer], str]:
        return self.gateway.answers(position, limit)

    def load_addresses(self) -> dict[int, str]:
        """Of the metrics of the model servers that answer, by version."""
        return self.variants.load_addresses() if self.variants is not None else {}

    # The thread

    def _run(self) -> None:
        try:
            self.gateway.start(self._reason())
        except BaseException as error:
            self._failure = error
            self.gateway.stop()
            return
        finally:
            self._started.set()
        while not self._stopping.is_set():
            try:
                self._step()
            except (TrimtabError, OSError) as error:
                self._tell(f"traffic: {str(error).splitlines()[0]}")
                self._stopping.wait(1.0)
            except Exception:
                # Without this thread every variant would end.
                log.exception("managing the traffic failed; trying again")
                self._stopping.wait(1.0)
            self._work.wait(LOOK_SECONDS)
            self._work.clear()
        self.gateway.stop()
        if self.variants is not None:
            self.variants.stop()

    def _step(self) -> None:
        """One look at everything, and whatever can be done without waiting long."""
        self.gateway.supervise()
        wanted = self._wanted
        if self.variants is None or wanted is None:
            return
        self.variants.supervise()
        self.variants.start(named(wanted))
        after = next_route(wanted, self._route, self.variants.ready, self.variants.was_ready)
        if not self._make_known(after):
            return
        keep = {*named(wanted), *(named(after) if after else ())}
        # Who is about to leave is not named to clients any more.
        forced = (self.variants.was_ready & keep) if after else frozenset()
        if not self.gateway.set_routes(after, forced, self._reason()):
            return
        if after != self._route:
            self._tell(_told(after))
            self._route = after
        self._end_others(keep)

    def _make_known(self, after: Serving | None) -> bool:
        """Let the router know every variant that has answered; those that leave stay known until they are ended."""
        assert self.variants is not None
        known = self.variants.was_ready
        for split in (self._route, after):
            if split is not None and split.challenger is not None:
                self._pairs.add((split.challenger, split.champion))
        self._pairs = {pair for pair in self._pairs if known.issuperset(pair)}
        ports = {version: self.variants[version].port for version in known}
        splits = [Serving(champion=champion, challenger=challenger) for challenger, champion in self._pairs]
        return self.gateway.set_clusters(ports, splits)

    def _end_others(self, keep: set[int]) -> None:
        """End the versions that nobody wants, once the routes that led there are gone and nothing is under way."""
        assert self.variants is not None
        now = time.monotonic()
        for version in self.variants.running - keep:
            waited = now - self._leaving.setdefault(version, now)
            names = [clusters.alone(version), *(clusters.backed(*pair) for pair in self._pairs if version in pair)]
            busy = waited < QUIET_SECONDS or self.gateway.under_way(names) > 0
            if busy and waited < DRAIN_SECONDS:
                continue
            self._tell(f"stopping v{version}: no route leads there any more")
            self.variants.end(version)
            del self._leaving[version]
        for version in set(self._leaving) & keep:
            del self._leaving[version]

    def _reason(self) -> str:
        """What the gateway says while nobody serves."""
        if self.variants is None:
            return NO_ENVIRONMENT.format(model=self._model)
        if self._wanted is None:
            return NO_CHAMPION.format(model=self._model)
        return STARTING.format(version=self._wanted.champion, model=self._model)


def _told(split: Serving | None) -> str:
    if split is None:
        return "nobody serves"
    if split.challenger is None:
        return f"v{split.champion} serves"
    share = "a copy" if split.shadow else f"{split.weight_percent} %"
    return f"v{split.champion} serves, v{split.challenger} answers {share}"
