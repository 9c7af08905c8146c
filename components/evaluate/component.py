"""The KFP signature of evaluate: read, call, write."""

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def evaluate(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    window: Input[Dataset],
    candidate: Input[Model],
    refitted: Output[Model],
    metrics: Output[Metrics],
    classification: Output[ClassificationMetrics],
) -> bool:
    """Judge the candidate beside the champion on rows that neither has seen, and refit it once accepted."""
    from trimtab.adapters.steps import step

    with step("evaluate", model, spec, state, run_key) as run:
        trained = run.earlier("train")
        if run.done is None:
            from trimtab.adapters import models, serving_check
            from trimtab.adapters.rows import load_rows
            from trimtab.components.evaluate.evaluation import assess, checked, conclusion, held_back
            from trimtab.core.window import TrainingWindow

            data, trust = run.model.spec.data, (run.trusted_types, run.spec_folder)
            # Its imports go on while the candidate is judged and refitted.
            with serving_check.started(run.model, run.spec_folder, run.trusted_types) as served:
                chosen = TrainingWindow.model_validate(run.earlier("window"))
                rows = load_rows(run.state, run.state.data.dataset(chosen.dataset), data, chosen.start, chosen.end)
                champion = models.load_standing_rival(run.state, *trust)
                fitted = models.load_artifact(run.state, trained["artifact"], run.model.spec.training.estimator, *trust)
                found = assess(rows, run.model, chosen, fitted, champion)
                artifact, reference = trained["artifact"], ""
                if found.evaluation.accepted:
                    refit = models.store_artifact(run.state, found.pipeline, run.trusted_types)
                    file = run.state.registry.artifact(refit)
                    check = served.check(found.pipeline, file, refit, held_back(rows, chosen, data))
                    run.say(f"serving check: {check.sentence()}")
                    found = checked(found, check)
                if found.evaluation.accepted:
                    artifact = refit
                    reference = run.state.data.put_profile(models.reference_of(found.pipeline, found.learned, data))
            run.conclude(conclusion(found, artifact, reference, data))
        evaluation = run.result["evaluation"]
        accepted = evaluation["state"] != "rejected"
        if not accepted:
            run.end_run(
                state="rejected",
                reason=evaluation["reason"],
                training_seconds=trained["seconds"] + run.result["seconds"],
                fits=trained["fits"] + run.result["fits"],
            )
        run.say(f"{'accepted' if accepted else 'rejected'}: {evaluation['reason']}")
        artifact = run.result["artifact"]
        run.hand_on(refitted, run.state.layout.artifact(artifact), {"digest": artifact, "accepted": accepted})
        for name, interval in evaluation["candidate"].items():
            if interval["point"] is not None:
                metrics.log_metric(name, interval["point"])
        curves = evaluation["curves"]
        if curves is not None:
            classification.log_confusion_matrix(curves["classes"], curves["confusion"])
            if curves["roc"]:
                classification.log_roc_curve(*(list(axis) for axis in zip(*curves["roc"], strict=True)))
        return accepted
