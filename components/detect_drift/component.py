"""The KFP signature of detect_drift: read, call, write."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def detect_drift(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    batch: Input[Dataset],
    report: Output[HTML],
) -> bool:
    """Retrain, wait, or have the data mended: stop the run only for the last."""
    from trimtab.adapters.steps import step
    from trimtab.components.detect_drift.drift_verdict import judge, render

    with step("drift", model, spec, state, run_key) as run:
        if run.done is None:
            ledger, taken = run.state.ledger, run.earlier("ingest")
            findings = [(ledger.entry(entry), ledger.outcome(entry)) for entry in taken["entries"]]
            found = judge(findings, taken["reason"])
            page = run.state.data.put_card(render(model, findings, found))
            run.conclude({"report": page, "verdict": found.verdict, "reason": found.reason, "goOn": found.go_on})
        if not run.result["goOn"]:
            run.end_run(state="fixData", reason=run.result["reason"])
        run.say(f"{run.result['verdict']}: {run.result['reason']}")
        run.hand_on_page(report, run.result["report"], {"verdict": run.result["verdict"]})
        return run.result["goOn"]
