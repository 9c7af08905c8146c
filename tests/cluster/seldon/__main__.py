"""
The stand-in as a program.

    python -m seldon --tls-folder /tmp/tls --port 9443 --url-host 127.0.0.1
    python -m seldon --tls-folder /tmp/tls --port 9443 --address 0.0.0.0 --service seldon-system/seldon-webhook-service
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from seldon.deployments import Engine
from seldon.operator import Operator
from seldon.webhook import PATH, make_certificate, register, serve
from trimtab.adapters.kubernetes.api import Api


def main() -> None:
    parser = argparse.ArgumentParser(prog="seldon", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tls-folder", type=Path, required=True, help="tls.crt and tls.key; made when absent")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9443)
    parser.add_argument("--url-host", default="127.0.0.1", help="where the API server reaches this program")
    parser.add_argument("--service", help="NAMESPACE/NAME of the Service in front of it, in place of --url-host")
    parser.add_argument("--namespaces", default="", help="only those whose names begin so")
    parser.add_argument("--namespace-label", default="", help="KEY=VALUE: only those are asked of the webhook")
    parser.add_argument("--suffix", default="seldon-system", help="of the webhook registration's name")
    parser.add_argument("--executor-image", default=Engine.image)
    parser.add_argument("--executor-command", type=json.loads, default=[], help="JSON list, in place of its arguments")
    parser.add_argument(
        "--executor-delay", type=int, default=Engine.delay_seconds, help="seconds before it is asked for readiness"
    )
    parser.add_argument(
        "--executor-period", type=int, default=Engine.period_seconds, help="seconds between such questions"
    )
    parser.add_argument("--executor-cpu", default=Engine.cpu, help="that it requests")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")

    names, client = _reached(given)
    make_certificate(given.tls_folder, names)
    api = Api.connect()
    engine = Engine(
        given.executor_image,
        tuple(given.executor_command),
        given.executor_delay,
        given.executor_period,
        given.executor_cpu,
    )
    operator = Operator(api, engine, given.namespaces)

    def switch(body: dict[str, Any]) -> dict[str, Any]:
        if "delayStatusSeconds" in body:
            operator.delay_status(float(body["delayStatusSeconds"]))
        return {"synced": operator.synced, "delayStatusSeconds": operator.delay_seconds}

    server = serve(given.address, given.port, given.tls_folder, switch)
    key, _, value = given.namespace_label.partition("=")
    labels = {key: value} if key else {}
    register(api, client, (given.tls_folder / "tls.crt").read_bytes(), labels, given.suffix)
    operator.start()
    server.serve_forever()


def _reached(given: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """The names that its certificate is for, and how the API server is to call it."""
    if not given.service:
        return [given.url_host], {"url": f"https://{given.url_host}:{given.port}{PATH}"}
    namespace, name = given.service.split("/")
    service = {"namespace": namespace, "name": name, "path": PATH, "port": 443}
    return [f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"], {"service": service}


main()
