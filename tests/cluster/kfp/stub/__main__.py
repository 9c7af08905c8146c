"""
The KFP API server of 2.17 as a program: `python tests/cluster/kfp/stub --port 8888`.

It answers as the real one does, its faults included, and executes nothing: Workflows stand in memory, or with
`--kubernetes` in the cluster that the `kubernetes` client finds. Prints one line with its port once it answers. Tests
steer it under `/_stub/`; leave that off (`--no-steering`) where others reach it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from server import Server
from world import World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--namespace", default="kubeflow", help="of all runs, unless --multi-user")
    parser.add_argument("--multi-user", action="store_true")
    parser.add_argument("--kubernetes", action="store_true", help="Workflows, tokens and reviews of a real API server")
    parser.add_argument("--pipelines-store-kubernetes", action="store_true", help="needs --kubernetes")
    parser.add_argument("--agent-seconds", type=float, default=0, help="report Workflows' phases by itself, so often")
    parser.add_argument("--tls-cert", default="", help="with --tls-key: HTTPS, for the admission webhooks")
    parser.add_argument("--tls-key", default="")
    parser.add_argument("--no-steering", action="store_true")
    options = parser.parse_args()
    kube = None
    if options.kubernetes:
        from kube import Kube

        kube = Kube()
    world = World(options.namespace, options.multi_user, kube, store_kubernetes=options.pipelines_store_kubernetes)
    server = Server(world, options.host, options.port, steering=not options.no_steering)
    if options.tls_cert:
        server.secure(options.tls_cert, options.tls_key)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server.start()
    print(server.port, flush=True)
    while not stopping.wait(options.agent_seconds or None):
        server.world.reports.agent()
    server.stop()


if __name__ == "__main__":
    sys.exit(main())
