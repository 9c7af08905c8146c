"""The KFP signature of validate: read, call, write."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def validate(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    batch: Input[Dataset],
    report: Output[HTML],
) -> int:
    """Show which rows of the run's uploads are valid, and why the others are not."""
    from trimtab.adapters.steps import step
    from trimtab.components.validate.validation_report import render, valid_rows
    from trimtab.core.wording import counted

    with step("validate", model, spec, state, run_key) as run:
        if run.done is None:
            ledger = run.state.ledger
            findings = [(ledger.entry(entry), ledger.outcome(entry)) for entry in run.earlier("ingest")["entries"]]
            page = run.state.data.put_card(render(model, findings))
            run.conclude({"report": page, "validRows": valid_rows(findings), "uploads": len(findings)})
        found = run.result
        run.say(f"{counted(found['validRows'], 'valid row')} in {counted(found['uploads'], 'upload')}")
        run.hand_on_page(report, run.result["report"], {"validRows": run.result["validRows"]})
        return run.result["validRows"]
