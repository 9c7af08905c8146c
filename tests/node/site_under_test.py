"""trimtab in a cluster that runs pods: brought up from the manifests, taken down again, looked at by the tests."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import systems
from console import sessions

from trimtab.adapters.kubernetes.api import Api
from trimtab.adapters.kubernetes.kinds import CRD, DEPLOYMENT, MODEL, POD, ROLLOUT, SERVICE, Kind

Body = dict[str, Any]
ROOT = Path(__file__).parents[2]
SYSTEM, MODELS, NAME = "trimtab-system", "shop", "demand"
MILL = "mill"  # whose model serves
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
OF_MODELS = (MILL, MODELS)
SYSTEMS = (SYSTEM, "kubeflow", "seldon-system")
NAMESPACES = (*OF_MODELS, *SYSTEMS)  # in the order in which they go
CLUSTER_WIDE = (
    "validatingwebhookconfiguration/seldon-validating-webhook-configuration-seldon-system",
    "validatingadmissionpolicybinding/trimtab-jobs",
    "validatingadmissionpolicy/trimtab-jobs",
    "persistentvolume/trimtab-test-store",
)
# A busy machine is five times slower than a quiet one.
SECONDS = 600.0


class Site:
    """
    Attributes:
        key: Of the store: id and secret.
        began: When it was asked for, so that what is printed tells how long things took.
    """

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig = kubeconfig
        self.folder = folder
        self.key = ("trimtab", uuid.uuid4().hex)
        self.began = time.monotonic()
        self.api = self._connect()

    # Up and down

    def up(self) -> None:
        """All of it, ready."""
        self._definitions()
        self.apply([*systems.kfp(), *systems.driver(), *systems.seldon()])
        self._store()
        (self.folder / "store.env").write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        (self.folder / "manifests").symlink_to(ROOT / "manifests")
        install = [command for command, _ in sessions(ROOT / "README.md", "## Run it on Kubernetes")[0]]
        for command in install:
            self._shell(command)
        for command in install[install.index(f"kubectl create namespace {MODELS}") :]:
            self._shell(command.replace(MODELS, MILL))
        self.apply([systems.namespace(place) for place in (SYSTEM, *OF_MODELS)])
        self.until(self.all_ready, "everything is ready")

    def down(self) -> None:
        """Namespaces and whatever stands in none of them; the definitions stay."""
        self.kubectl("delete", *CLUSTER_WIDE, "--ignore-not-found", "--wait=false", check=False)
        for place in OF_MODELS:
            self.kubectl("delete", "mro,ctm", "--all", "-n", place, "--ignore-not-found", "--wait=false", check=False)
        names = ("namespace", *NAMESPACES)
        self.kubectl("delete", *names, "--ignore-not-found", "--wait=false", check=False)
        for place in NAMESPACES:  # nothing is waited for that would be tidied up
            self.kubectl("delete", "pod", "--all", "-n", place, "--grace-period=0", "--force", check=False)
        self.kubectl("delete", *names, "--ignore-not-found", "--timeout=300s", check=False)
        found = self.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name").stdout.split()
        ours = [
            each for each in found if each.partition("/")[2].startswith(("trimtab-", "kubeflow-", "seldon-system-"))
        ]
        if ours:
            self.kubectl("delete", *ours, "--wait=false", check=False)

    def _definitions(self) -> None:
        others = ROOT / "tests" / "cluster"
        for file in (
            *(others / "crds-of-others").glob("istio*.yaml"),
            *(others / "kfp" / "crds").glob("*.yaml"),
        ):
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
        seldon = gzip.decompress((others / "crds-of-others" / "seldondeployments.json.gz").read_bytes())
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=seldon.decode())
        self.until(self._established, "definitions are established")

    def _established(self) -> bool:
        return all(
            any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
            for conditions in (body.get("status", {}).get("conditions") or () for body in self.api.list(CRD)[0])
        )

    def _store(self) -> None:
        """The store's volume: a folder of this machine, which the node's kubelet sees."""
        data = self.folder / "store"
        data.mkdir(mode=0o777)
        for each in (data, *data.parents):
            if each.is_relative_to(self.folder):
                each.chmod(0o777)
        claim = {"name": "data-trimtab-store-0", "namespace": SYSTEM}
        spec = {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(data)},
            "claimRef": claim,
        }
        self.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {"name": "trimtab-test-store"},
                    "spec": spec,
                }
            ]
        )

    def _settings(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.key[0],
            "AWS_SECRET_ACCESS_KEY": self.key[1],
            "AWS_ENDPOINT_URL_S3": f"http://trimtab-store.{SYSTEM}:8333",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _shell(self, command: str) -> None:
        """A line of the documentation, as it stands there."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(
            shell, cwd=self.folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"

    # As people use it

    def apply(self, bodies: list[Body]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            env=env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr[-3000:]}"
        return done

    def token(self, place: str, account: str, audience: str) -> str:
        return self.kubectl("create", "token", account, "-n", place, "--audience", audience).stdout.strip()

    def store(self) -> Any:
        """An S3 client of the store's Service, as an uploading program has."""
        import boto3
        from botocore.config import Config

        config = Config(retries={"total_max_attempts": 5}, s3={"addressing_style": "path"})
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address(SYSTEM, 'trimtab-store')}:8333",
            aws_access_key_id=self.key[0],
            aws_secret_access_key=self.key[1],
            region_name="us-east-1",
            config=config,
        )

    # What there is

    def address(self, place: str, service: str) -> str:
        return str(self.api.get(SERVICE, place, service)["spec"]["clusterIP"])

    def all_ready(self) -> bool:
        found = [each for place in SYSTEMS for each in self.api.list(DEPLOYMENT, place)[0]]
        found += self.api.list(STATEFUL_SET, SYSTEM)[0]
        return len(found) >= 6 and all(
            each.get("status", {}).get("readyReplicas", 0) == each["spec"].get("replicas", 1) for each in found
        )

    def pods(self, place: str, labels: str) -> list[Body]:
        return self.api.list(POD, place, labels=labels)[0]

    def kill(self, place: str, labels: str, most: int | None = None) -> list[Body]:
        """Those pods at once, without grace, as when their node is lost; returns what they were."""
        pods = self.pods(place, labels)[:most]
        names = [pod["metadata"]["name"] for pod in pods]
        assert names, f"no pod {labels} in {place}"
        self.kubectl("delete", "pod", *names, "-n", place, "--grace-period=0", "--force")
        self.say(f"killed {', '.join(names)}")
        return pods

    def model(self) -> Body:
        return self.api.find(MODEL, MODELS, NAME) or {}

    def rollout(self, version: int) -> Body:
        return self.api.find(ROLLOUT, MODELS, f"{NAME}-v{version}") or {}

    def condition(self, kind: str) -> str:
        found = self.model().get("status", {}).get("conditions", ())
        return next((each["status"] for each in found if each["type"] == kind), "")

    def until(self, found: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """What the function returns, once that is true; says how long it took."""
        began = time.monotonic()
        while True:
            value = found()
            if value:
                self.say(f"{what}: {time.monotonic() - began:.0f} s")
                return value
            assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}\n{self.told()}"
            time.sleep(0.5)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:4.0f} s] {text}", flush=True)

    def told(self) -> str:
        """For whoever looks why a test failed."""
        parts = [json.dumps(self.model().get("status", {}), indent=1)]
        parts += [self.kubectl("get", "pods,jobs,ctm,mro", "-A", check=False).stdout]
        for name in ("controller", "listener", "monitor"):
            logs = self.kubectl("logs", "-n", SYSTEM, f"deployment/trimtab-{name}", "--tail=30", check=False)
            parts.append(f"{name}:\n{logs.stdout}{logs.stderr}")
        return "\n".join(parts)

    def _connect(self) -> Api:
        from kubernetes import client, config

        configuration = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)
        configuration.retries = False
        return Api(client.ApiClient(configuration))
