"""The KFP signature of train: read, call, write."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def train(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    window: Input[Dataset],
    candidate: Output[Model],
):
    """Fit the estimator on the window and store the artifact."""
    from trimtab.adapters.steps import step

    with step("train", model, spec, state, run_key) as run:
        if run.done is None:
            from trimtab.adapters import crash, estimators
            from trimtab.adapters.models import store_artifact
            from trimtab.adapters.rows import load_rows
            from trimtab.components.train.training import fit
            from trimtab.core.window import TrainingWindow

            run.hold_to_recipe()
            chosen = TrainingWindow.model_validate(run.earlier("window"))
            dataset = run.state.data.dataset(chosen.dataset)
            rows = load_rows(run.state, dataset, run.model.spec.data, chosen.start, chosen.cut)
            estimator = estimators.build(run.model.spec.training, run.spec_folder)
            run.say(f"fitting {run.model.spec.training.estimator} on {chosen.rows} rows")
            crash.point("mid-fit")
            fitted = fit(rows, run.model, chosen, estimator)
            digest = store_artifact(run.state, fitted.pipeline, run.trusted_types)
            crash.point("after-artifact")
            run.conclude({"artifact": digest, "rows": fitted.rows, "seconds": fitted.seconds, "fits": 1})
        trained = run.result
        run.say(f"fitted on {trained['rows']} rows in {trained['seconds']:.1f} s: artifact {trained['artifact'][:12]}")
        run.hand_on(candidate, run.state.layout.artifact(trained["artifact"]), trained)
