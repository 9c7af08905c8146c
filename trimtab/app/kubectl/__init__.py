"""
`kubectl trimtab`: rollouts shown and steered by custom resources alone.

kubectl finds `kubectl-trimtab` on the PATH. It needs no access to the store, and what it may do is what the cluster
allows its user to do with the resources.
"""

from __future__ import annotations

import click

from trimtab.app.cli import run
from trimtab.app.kubectl.showing import plan, status
from trimtab.app.kubectl.steering import abort, approve, pause, promote, resume, rollback


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example:  kubectl trimtab status flights -n shop",
)
@click.version_option(package_name="trimtab", message="trimtab %(version)s")
def cli() -> None:
    """
    Show and steer rollouts on a cluster.

    NAME is a ContinuousModel, whose rollout that goes on is meant, or a ModelRollout.
    """


for command in (status, plan, promote, approve, abort, pause, resume, rollback):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """The entry point."""
    run(cli, "kubectl trimtab", arguments)
