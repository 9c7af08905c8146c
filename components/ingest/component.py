"""The KFP signature of ingest: read, call, write."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def ingest(
    model: str,
    spec: str,
    state: str,
    objects: list,
    reason: str,
    run_key: str,
    batch: Output[Dataset],
) -> NamedTuple("Ingested", [("run_key", str)]):
    """Take in what is new, and fix the dataset that this run is about."""
    from collections import namedtuple

    from trimtab.adapters.steps import step
    from trimtab.components.ingest.ingestion import ingest_by_hand, ingest_decided
    from trimtab.core.wording import counted

    with step("ingest", model, spec, state, run_key) as run:
        if run.done is None:
            found = ingest_decided(run) if run_key else ingest_by_hand(run, objects, reason, batch.uri)
            run.conclude(found)
        dataset = run.state.data.dataset(run.result["dataset"])
        rows = sum(part.rows for part in dataset.partitions)
        held = f"{counted(rows, 'row')} in {counted(len(dataset.partitions), 'partition')}"
        run.say(f"decision {run.result['decision']}: {held}")
        about = {"digest": dataset.digest, "rows": rows, "partitions": len(dataset.partitions)}
        run.hand_on(batch, run.state.layout.dataset(dataset.digest), about)
        return namedtuple("Ingested", ["run_key"])(run.run_key)
