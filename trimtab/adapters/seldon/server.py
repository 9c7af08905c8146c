"""
The model server: `python -m trimtab.adapters.seldon.server`, run by the serving environment's interpreter.

gunicorn over Seldon's own REST microservice, with an entry point of ours: bound where the settings say (the stock one
binds every interface), loaded before it listens, gone with its parent. Exit code 2 and one line where the version
cannot be loaded, 1 where the store does not answer.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from trimtab.core.errors import TrimtabError

if TYPE_CHECKING:
    from trimtab.adapters.seldon.model import TrimtabModel

GRACEFUL_SECONDS = 10
BOOT_SECONDS = 60  # for a worker to come to its first request
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - gunicorn opens and unlinks a file of a random name there
# BLAS and OpenMP threads cost a single row more than they save, and two variants share one machine.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    try:
        return _serve()
    except TrimtabError as error:
        line = f"{error.message} ({error.hint})" if error.hint else error.message
        print(f"cannot serve: {' '.join(line.split())}", file=sys.stderr, flush=True)
        return error.exit_code


def _serve() -> int:
    from trimtab.adapters.seldon.model import TrimtabModel
    from trimtab.adapters.seldon.settings import read
    from trimtab.serving.meters import Meters

    settings = read()
    meters = Meters(settings.workers, {"model": settings.model, "version": str(settings.version)})
    model = TrimtabModel(meters=meters)
    model.fetch()
    try:
        _application(model).run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _application(model: TrimtabModel) -> Any:
    """gunicorn's application; imported late, after the environment says how many threads BLAS has."""
    from gunicorn.app.base import BaseApplication

    from trimtab.adapters.seldon import exposition
    from trimtab.core.errors import Invalid

    settings, meters = model.settings, model.meters
    try:
        listener = exposition.listen(settings.metrics_bind) if settings.metrics_bind else None
    except OSError as error:
        raise Invalid(
            f"cannot bind {settings.metrics_bind}: {error.strerror}", "correct TRIMTAB_METRICS_BIND"
        ) from error
    places: dict[int, int] = {}  # by worker's age: whose counts it goes on with

    def pre_fork(server: Any, worker: Any) -> None:
        living = {places[other.age] for other in server.WORKERS.values() if other.age in places}
        places[worker.age] = min(set(range(settings.workers)) - living, default=0)

    def post_fork(server: Any, worker: Any) -> None:
        _end_with_parent(worker.ppid)
        meters.take_place(places[worker.age])

    def worker_exit(server: Any, worker: Any) -> None:
        model.close()
        if worker.booted:
            # Taking the interpreter apart module by module takes half a second and saves nothing.
            os._exit(0)

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            options = {
                "bind": settings.bind,
                "workers": settings.workers,
                "threads": settings.threads,
                "worker_class": "trimtab.adapters.seldon.worker.ConnectionThreads",
                "timeout": BOOT_SECONDS,
                "graceful_timeout": GRACEFUL_SECONDS,
                "loglevel": "warning",
                # A heartbeat in memory: a slow disk must not look like a dead worker.
                "worker_tmp_dir": SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None,
                "proc_name": f"{settings.model}/v{settings.version}",
                "pre_fork": pre_fork,
                "post_fork": post_fork,
                "worker_exit": worker_exit,
            }
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            """In a worker: the version was loaded before it was forked."""
            from seldon_core.wrapper import get_rest_microservice

            from trimtab.adapters.seldon.application import Application

            model.load()
            if listener is not None:
                exposition.show(listener, meters)
            assert model.answering is not None
            return Application(model.answering, get_rest_microservice(model, _NoMetrics()))

    return Server()


class _NoMetrics:
    """In place of Seldon's own metrics, whose shared dictionary lives in one more process: ours are in `meters`."""

    def update(self, metrics: Any, method: str) -> None:
        """Nothing: what Seldon's app still answers here is health and metadata."""


def _end_with_parent(parent: int) -> None:
    """Ask the kernel to end this worker when the process that watches it dies, whatever killed it."""
    if sys.platform != "linux":
        return  # the worker looks for its parent every second
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(143)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as in `worker_exit`
