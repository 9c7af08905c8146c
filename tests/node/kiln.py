"""Model `kiln` of namespace `mill`: its spec, its versions as runs leave them in the store, and what it serves."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from site_under_test import MILL, SYSTEM, Site
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer
from versions import register

from trimtab.adapters import columns as tables
from trimtab.adapters.kubernetes.kinds import DEPLOYMENT, MODEL, POD, ROLLOUT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE
from trimtab.adapters.models import store_artifact
from trimtab.adapters.proposals import propose
from trimtab.adapters.s3 import S3Buckets
from trimtab.adapters.state import State
from trimtab.core.records import ModelVersion
from trimtab.core.spec import load
from trimtab.serving import assembly

Body = dict[str, Any]
NAME = "kiln"
CRACKS_FROM = 5.0  # heat
# A step's requests come within seconds of steady traffic.
SHADOW = [{"shadow": {"minRequests": 30}}, {"setWeight": 20, "minRequests": 40}, {"pause": {}}]
SHADOW += [{"setWeight": 50, "minRequests": 100}]
CANARY = [{"setWeight": 20, "minRequests": 200}, {"setWeight": 50, "minRequests": 100}]
SPEC = """
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: kiln}
spec:
  data:
    source: s3://kiln/landing/
    format: csv
    timestamp: ts
    target: cracked
    schema:
      heat:    {type: float, nullable: false}
      cracked: {type: boolean}
  training: {estimator: "sklearn.linear_model:LogisticRegression"}
  evaluation: {primary: log_loss}
  rollout:
    strategy: canary
    steps: STEPS
    maxDuration: 30m
    keepPrevious: 20s
"""


class Kiln:
    """What people and runs do with it, and what can be seen of it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.text = ""
        buckets = S3Buckets(site.store())
        buckets.make("kiln")
        self.state = State.open(buckets, f"s3://trimtab/{MILL}", NAME)

    def apply(self, steps: list[Body]) -> None:
        """The spec, with these steps of a rollout."""
        self.text = SPEC.replace("STEPS", json.dumps(steps))
        self.model = load(self.text)
        self.site.kubectl("apply", "-n", MILL, "-f", "-", stdin=self.text)
        self.site.until(self.accepted, "the spec is accepted")

    # What runs do

    def register(self, cracks_from: float, alias: str, fails_unheated: bool = False) -> int:
        """
        A run's last steps: a fitted version, and for a challenger its rollout.

        Args:
            cracks_from: What it has learned: the heat from which on bricks crack.
            fails_unheated: Whether it raises where the heat is 0, which it never saw.
        """
        estimator: Any = LogisticRegression(C=1e4)
        if fails_unheated:
            estimator = make_pipeline(PowerTransformer("box-cox"), estimator)
        pipeline = assembly.assemble(tables.schema_columns(self.model.spec.data), estimator, "matrix")
        heat = np.linspace(0.1, 10, 400)
        assembly.fit(pipeline, {"heat": heat}, heat > cracks_from, 1)
        artifact, now = store_artifact(self.state, pipeline), datetime.now(UTC)
        spec, learned = self.state.data.put_spec(self.text), now - timedelta(days=20)
        made = {"artifact": artifact, "evaluated_artifact": artifact, "spec": spec, "rows": heat.size}
        seen = {"trained_from": learned - timedelta(days=10), "trained_until": learned}
        version: ModelVersion = register(self.state, alias, now, **made, **seen)
        if alias == "challenger":
            propose(self.state, self.model, version, self.champion(), f"v{version.number} is challenger")
        return version.number

    # What people do

    def kubectl(self, *words: str) -> str:
        return self.site.kubectl(*words, "-n", MILL).stdout

    def ask(self, version: int, **spec: bool) -> None:
        """As the README says it."""
        patch = json.dumps({"spec": spec})
        self.kubectl("patch", "mro", f"{NAME}-v{version}", "--type=merge", "-p", patch)

    # What there is

    def champion(self) -> int:
        """By the registry."""
        found = self.state.registry.manifest()
        assert found is not None
        assert found.champion is not None
        return found.champion

    def accepted(self) -> bool:
        return self.condition("Accepted") == "True"

    def condition(self, kind: str) -> str:
        """Of the model, as its spec stands now; empty before that was looked at."""
        found = self.site.api.get(MODEL, MILL, NAME)
        conditions = {each["type"]: each for each in (found.get("status") or {}).get("conditions") or ()}
        about = conditions.get(kind, {})
        current = about.get("observedGeneration") == found["metadata"]["generation"]
        return str(about["status"]) if current else ""

    def status(self, version: int) -> Body:
        found = self.site.api.find(ROLLOUT, MILL, f"{NAME}-v{version}") or {}
        return found.get("status") or {}

    def phase(self, version: int) -> str:
        return str(self.status(version).get("phase", ""))

    def weights(self) -> dict[str, int]:
        """As the VirtualService has them, where somebody has any."""
        found = self.site.api.find(VIRTUAL_SERVICE, MILL, NAME)
        routes = found["spec"]["http"][0]["route"] if found else []
        alone = 100 if len(routes) == 1 else 0
        shares = {each["destination"]["subset"]: each.get("weight", alone) for each in routes}
        return {name: weight for name, weight in shares.items() if weight}

    def predictors(self) -> dict[str, Body]:
        found = self.site.api.find(SELDON_DEPLOYMENT, MILL, NAME) or {"spec": {"predictors": []}}
        return {each["name"]: each for each in found["spec"]["predictors"]}

    def pods(self, version: int) -> list[Body]:
        """Of its predictor, those that are not being deleted."""
        found, _ = self.site.api.list(POD, MILL, labels=f"seldon-deployment-id={NAME},version=v{version}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, version: int, pods: int) -> bool:
        """Whether so many pods serve it, and no others are left."""
        found = self.pods(version)
        conditions = [each for pod in found for each in pod["status"].get("conditions") or ()]
        ready = [each for each in conditions if (each["type"], each["status"]) == ("Ready", "True")]
        return len(found) == len(ready) == pods

    def deployments(self) -> list[str]:
        found, _ = self.site.api.list(DEPLOYMENT, MILL, labels=f"seldon-deployment-id={NAME}")
        return sorted(each["metadata"]["labels"]["version"] for each in found)

    def labels_address(self) -> str:
        return f"http://{self.site.address(SYSTEM, 'trimtab-listener')}/v1/namespaces/{MILL}/models/{NAME}/labels"
