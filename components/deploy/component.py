"""The KFP signature of deploy: read, call, write."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from trimtab.adapters.environment import pipeline_image


@dsl.component(base_image=pipeline_image(), packages_to_install=[], install_kfp_package=False)
def deploy(
    model: str,
    spec: str,
    state: str,
    run_key: str,
    version: Input[Model],
    rollout: Output[Artifact],
):
    """Propose the rollout of a challenger; the controller leads it after the run has ended."""
    from trimtab.adapters.steps import step

    with step("deploy", model, spec, state, run_key) as run:
        if run.done is None:
            from trimtab.components.deploy.deployment import deploy_run

            run.conclude(deploy_run(run))
        proposed = run.result
        run.say(proposed["reason"])
        number, layout = proposed["rollout"], run.state.layout
        run.hand_on(rollout, layout.numbered("rollouts", number) if number else run.key(), proposed)
