"""Models of a cluster with a past, as listener, runs and controller leave it in the state."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from trimtab.adapters.state import State
from trimtab.app.cluster.acceptance import Checked
from trimtab.app.cluster.check_job import check_digest
from trimtab.app.cluster.resources import model_of, spec_text
from trimtab.core.ports import Buckets
from trimtab.core.records import (
    Decision,
    IntakeOutcome,
    LedgerEntry,
    Manifest,
    ModelVersion,
    Outcome,
    Partition,
    entry_id,
    run_key,
)
from trimtab.core.rollout.values import RolloutSpec
from trimtab.core.spec.digests import training_digest
from trimtab.core.spec.document import read
from trimtab.core.spec.model import ContinuousModel

NAMESPACES = ("bench-a", "bench-b", "bench-c", "bench-d")
IMAGE = "trimtab/pipeline:benchmark"
SKLEARN = "1.9.1"
VERSIONS = 3  # decisions that became a version
THREADS = 16
COLUMNS = tuple(f"x{number}" for number in range(8))
SPEC = """\
apiVersion: trimtab.dev/v1alpha1
kind: ContinuousModel
metadata: {name: NAME}
spec:
  data:
    source: s3://landing/NAMESPACE/NAME/
    format: csv
    timestamp: ts
    target: 'y'
    schema:
COLUMNS
      'y': {type: float}
  triggers:
    upload: {minNewRows: 5000, settle: 0s}
    drift: {falseAlarmsPerYear: 2, minEffect: 0.1}
  window: {strategy: fixed, size: 26w, minRows: 100}
  training: {estimator: "sklearn.linear_model:Ridge"}
  evaluation: {holdout: 2w, primary: mean_absolute_error, block: 1d}
  rollout: {strategy: canary, steps: [{setWeight: 10}, {setWeight: 50}], maxDuration: 26w}
"""


@dataclass(frozen=True)
class Made:
    namespace: str
    name: str
    body: dict[str, Any]


def history(buckets: Buckets, models: int, rollouts: int, uploads: int, rng: random.Random) -> list[Made]:
    """So many models over the namespaces, each with its state written; the first ones have a rollout that goes on."""
    made = [_made(NAMESPACES[number % len(NAMESPACES)], f"model-{number:03}") for number in range(models)]
    seeds = [rng.random() for _ in made]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda one, seed: _past(buckets, one, uploads, random.Random(seed)), made, seeds))
        list(pool.map(lambda one: _challenger(state_of(buckets, one), model_of(one.body)), made[:rollouts]))
    return made


def state_of(buckets: Buckets, one: Made) -> State:
    return State.open(buckets, f"s3://state/{one.namespace}", one.name)


def _made(namespace: str, name: str) -> Made:
    columns = "\n".join(f"      {column}: {{type: float, min: -10, max: 10}}" for column in COLUMNS)
    text = SPEC.replace("NAMESPACE", namespace).replace("NAME", name).replace("COLUMNS", columns)
    body: dict[str, Any] = read(text, name).value
    return Made(namespace, name, body | {"metadata": {"name": name, "namespace": namespace}})


def _past(buckets: Buckets, one: Made, uploads: int, rng: random.Random) -> None:
    state = state_of(buckets, one)
    model = model_of(one.body)
    text = spec_text(model)
    recipe, spec = training_digest(model, "", SKLEARN), state.data.put_spec(text)
    checked = Checked(check=check_digest(model, IMAGE), ok=True, sklearn=SKLEARN, spec=spec, nonce="seed")
    state.bucket.create(state.layout.current("acceptance"), checked.to_json())
    entries = [upload(state, buckets, 40, number, rng) for number in range(uploads)]
    share = max(len(entries) // VERSIONS, 1)
    for number in range(1, VERSIONS + 1):
        _trained(state, number, entries[(number - 1) * share : number * share], recipe, spec)
    rest = entries[VERSIONS * share :]
    for number, entry in enumerate(rest):
        state.journal.tell(f"ledger/{entry}/ingested", "ingested", f"{number}.csv: 40 rows", {"rows": 40}, _now())


def upload(state: State, buckets: Buckets, rows: int, number: int, rng: random.Random | None = None) -> str:
    """An upload that the listener has taken in; returns its ledger id."""
    rng, now = rng or random.Random(number), _now()
    key = f"{state.namespace}/{state.model}/{number:05}.csv"
    landing = buckets.bucket("landing")
    landing.put(key, f"ts,{','.join(COLUMNS)},y\n{number}\n".encode())
    info = landing.head(key)
    assert info is not None
    id = entry_id(state.namespace, state.model, "landing", key, info.etag)
    state.ledger.see(
        LedgerEntry(
            id=id,
            bucket="landing",
            key=key,
            etag=info.etag,
            size=info.size,
            modified=info.modified,
            via="webhook",
            recorded_at=now,
        )
    )
    name = sha256(id.encode()).hexdigest()
    part = Partition(id=name, rows=rows, labelled=rows, quarantined=0, first=now - timedelta(hours=1), last=now)
    outcome = IntakeOutcome(
        entry=id,
        state="ingested",
        sha256=name,
        partition=part,
        validation={"columns": [_report(column, rng) for column in COLUMNS]},
        drift={"verdict": "wait", "reason": "none is far", "columns": [_report(column, rng) for column in COLUMNS]},
        decided_at=now,
        recorded_at=now,
    )
    state.ledger.conclude(outcome)
    return id


def _report(column: str, rng: random.Random) -> dict[str, Any]:
    cells = [rng.randrange(100) for _ in range(32)]
    return {"column": column, "effect": rng.random() / 20, "score": rng.random(), "adjusted": 0.5, "cells": cells}


def _trained(state: State, number: int, entries: Sequence[str], recipe: str, spec: str) -> None:
    """A decision that became a version and champion."""
    key = _version(state, number, entries, recipe, spec)
    _aliases(state, key, number, None)
    _concluded(state, key, number, "champion")


def _challenger(state: State, model: ContinuousModel) -> None:
    """One more version, which is to take over in a rollout."""
    champion = state.registry.versions()[-1]
    number = champion.number + 1
    key = _version(state, number, (), champion.training_digest, champion.spec)
    _aliases(state, key, champion.number, number)
    _concluded(state, key, number, "challenger")
    policy = model.spec.rollout.model_dump(mode="json", by_alias=True)
    state.rollouts.propose(
        RolloutSpec(
            number=0,
            name="",
            model=model.name,
            version=number,
            champion=champion.number,
            rollout=policy,
            run_key=key,
            cause=f"v{number} is better",
            recorded_at=_now(),
        )
    )


def _version(state: State, number: int, entries: Sequence[str], recipe: str, spec: str) -> str:
    """A decision and the version that its run registered; returns the run's key."""
    now = _now()
    key = run_key(state.namespace, state.model, entries, recipe, "upload", number)
    state.decisions.propose(
        Decision(
            number=number,
            reason="upload",
            entries=tuple(entries),
            dataset="0" * 64,
            training_digest=recipe,
            spec=spec,
            run_key=key,
            decided_at=now,
            recorded_at=now,
        )
    )
    state.registry.add_version(
        lambda version: ModelVersion(
            number=version,
            run_key=key,
            artifact="0" * 64,
            evaluated_artifact="0" * 64,
            dataset="0" * 64,
            training_digest=recipe,
            spec=spec,
            trained_from=now - timedelta(days=100),
            trained_until=now,
            rows=5_000,
            estimator="sklearn.linear_model:Ridge",
            seed=0,
            metrics={"mean_absolute_error": 0.5},
            evaluation={"outcome": "better", "intervals": {column: [0.1, 0.2] for column in COLUMNS}},
            reference="",
            lineage={"packages": {"scikit-learn": SKLEARN}, "partitions": list(entries)},
            training_seconds=1.0,
            fits=2,
            recorded_at=now,
        )
    )
    return key


def _aliases(state: State, key: str, champion: int, challenger: int | None) -> None:
    state.registry.publish(
        lambda before: Manifest(
            number=0,
            champion=champion,
            challenger=challenger,
            previous=before.champion if before else None,
            cause=f"v{challenger or champion} is better",
            run_key=key,
            recorded_at=_now(),
        )
    )


def _concluded(state: State, key: str, number: int, how: Literal["champion", "challenger"]) -> None:
    now = _now()
    state.decisions.conclude(
        Outcome(
            number=number,
            run_key=key,
            state=how,
            reason="better",
            version=number,
            training_seconds=1.0,
            fits=2,
            decided_at=now,
            recorded_at=now,
        )
    )
    state.journal.tell(f"decision/{number}", "decided", f"decision {number}: train (upload)", {}, now)
    state.journal.tell(f"outcome/{number}", "finished", f"decision {number}: {how}: better", {}, now)


def _now() -> datetime:
    return datetime.now(UTC)
