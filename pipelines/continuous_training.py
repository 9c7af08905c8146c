"""
From new data to a registered model and its rollout: the training run, step by step.

The same function runs on a laptop (kfp.local, under `trimtab up`), in a cluster (`trimtab compile`) and through the
SDK (`kfp.Client().create_run_from_pipeline_func(continuous_training, arguments={...})`).
"""

from kfp import dsl

from trimtab.adapters.environment import pipeline_image
from trimtab.components.deploy.component import deploy
from trimtab.components.detect_drift.component import detect_drift
from trimtab.components.evaluate.component import evaluate
from trimtab.components.ingest.component import ingest
from trimtab.components.register.component import register
from trimtab.components.select_window.component import select_window
from trimtab.components.train.component import train
from trimtab.components.validate.component import validate


@dsl.pipeline(name="continuous-training", description="Train a model on new data, judge it, register and deploy it.")
def continuous_training(
    model: str,
    spec: str,
    state: str,
    objects: list = [],  # noqa: B006 - KFP reads the default; nobody changes it
    reason: str = "sdk",
    run_key: str = "",
    image: str = pipeline_image(),
):
    """
    Args:
        model: The ContinuousModel's name.
        spec: Its YAML, or the s3:// address of it.
        state: `s3://BUCKET/NAMESPACE`, where everything durable stands.
        objects: s3:// addresses of the uploads to take in; none means everything new in the source.
        reason: Why it runs: upload, schedule, drift, performance, onDemand, trainingDigest or sdk.
        run_key: The decision's own key; empty, it is derived from the inputs and the decision is written first.
        image: What the steps run in.
    """
    common = {"model": model, "spec": spec, "state": state}

    new = ingest(**common, objects=objects, reason=reason, run_key=run_key)
    common["run_key"] = new.outputs["run_key"]
    validation = validate(**common, batch=new.outputs["batch"])
    drift = detect_drift(**common, batch=new.outputs["batch"]).after(validation)
    tasks = [new, validation, drift]

    # The data has to be mended first: training on it would teach the model the fault.
    with dsl.If(drift.outputs["Output"] == True, name="data-is-sound"):  # noqa: E712 - builds a KFP condition
        window = select_window(**common, batch=new.outputs["batch"])
        candidate = train(**common, window=window.outputs["window"])
        evaluation = evaluate(**common, window=window.outputs["window"], candidate=candidate.outputs["candidate"])
        with dsl.If(evaluation.outputs["Output"] == True, name="candidate-is-accepted"):  # noqa: E712
            version = register(**common, refitted=evaluation.outputs["refitted"])
            # The alias of any other has moved already, or waits for approval.
            with dsl.If(version.outputs["Output"] == True, name="it-is-challenger"):  # noqa: E712
                rollout = deploy(**common, version=version.outputs["version"])

    for task in [*tasks, window, candidate, evaluation, version, rollout]:
        task.set_container_image(image)
        # Each step reads what may have changed since: the state, the champion, the source.
        task.set_caching_options(False)
