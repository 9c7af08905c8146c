"""The stub of KFP's API server as a process of its own, and what speaks with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from trimtab.adapters.kfp_package import compile_package

PROGRAM = Path(__file__).parent / "stub"
PIPELINE = "trimtab.pipelines.continuous_training:continuous_training"
BASE = "/apis/v2beta1"


@dataclass
class Stub:
    """A running stub: requests as any client sends them, and what only a test may do."""

    url: str
    process: subprocess.Popen[str]
    http: httpx.Client

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, Any]:
        """Status and answer of `METHOD /apis/v2beta1PATH`."""
        content = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        answer = self.http.request(method, BASE + path, content=content, params=query, headers=headers)
        return answer.status_code, answer.json()

    def upload(self, path: str, spec: Any, **query: str) -> httpx.Response:
        files = {"uploadfile": ("p.yaml", json.dumps(spec).encode())}
        return self.http.post(f"{BASE}/pipelines/{path}", files=files, params=query)

    def steer(self, what: str, **body: Any) -> Any:
        answer = self.http.post(f"/_stub/{what}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def report(self, run_id: str, phase: str = "", **more: Any) -> None:
        """The run's Workflow comes to this phase, and the persistence agent tells of it."""
        self.steer("report", run_id=run_id, phase=phase, **more)

    def workflows(self, run_id: str, namespace: str = "kubeflow") -> list[dict[str, Any]]:
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows"
        return self.http.get(path, params={"labelSelector": f"pipeline/runid={run_id}"}).json()["items"]


def start(*arguments: str, env: dict[str, str] | None = None) -> Stub:
    command = [sys.executable, str(PROGRAM), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    assert port, f"the stub ended with {process.wait(10)}"
    url = f"http://127.0.0.1:{port}"
    return Stub(url, process, httpx.Client(base_url=url, timeout=30))


def stop(stub: Stub) -> None:
    stub.http.close()
    stub.process.terminate()
    stub.process.wait(20)


@pytest.fixture
def start_stub() -> Iterator[Callable[..., Stub]]:
    """Starts a stub with these arguments; it ends with the test."""
    started: list[Stub] = []

    def begin(*arguments: str, env: dict[str, str] | None = None) -> Stub:
        started.append(start(*arguments, env=env))
        return started[-1]

    yield begin
    for stub in started:
        stop(stub)


@pytest.fixture(scope="session")
def one_stub() -> Iterator[Stub]:
    stub = start()
    yield stub
    stop(stub)


@pytest.fixture
def stub(one_stub: Stub) -> Stub:
    """A stub that holds nothing yet."""
    one_stub.steer("reset")
    return one_stub


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training pipeline as `trimtab compile` writes it."""
    return compile_package(PIPELINE, tmp_path_factory.mktemp("package") / "continuous_training.yaml").path


@pytest.fixture
def kubernetes_of() -> Callable[[str], Any]:
    """An API server's client for an address, as the launcher looks for Workflows."""
    from kubernetes import client

    from trimtab.adapters.kubernetes.api import Api

    def make(url: str) -> Any:
        configuration = client.Configuration(host=url)
        configuration.retries = False
        return Api(client.ApiClient(configuration))

    return make


@pytest.fixture
def make_kfp(package: Path, kubernetes_of: Callable[[str], Any]) -> Callable[..., Any]:
    """KFP as a controller has it, on a stub; `buckets` are shared by those that work for one model."""
    from trimtab.adapters.kfp_api import Kfp
    from trimtab.adapters.kfp_posting import Postings
    from trimtab.adapters.kfp_rest import KfpService
    from trimtab.adapters.memory import MemoryBuckets

    def make(
        stub: Stub,
        buckets: Any = None,
        patience: float = 60.0,
        answer_seconds: float = 20.0,
        token_file: Path | None = None,
        sees_workflows: bool = True,
        **settings: Any,
    ) -> Any:
        return Kfp(
            service=KfpService(stub.url, token_file, answer_seconds=answer_seconds),
            postings=Postings(buckets or MemoryBuckets(), lambda: datetime.now(UTC), timedelta(seconds=patience)),
            api=kubernetes_of(stub.url) if sees_workflows else None,
            **{"package": package, "secret": "trimtab-s3", "service_account": "trimtab-model", **settings},
        )

    return make
