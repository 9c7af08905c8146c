"""Commands as people type them in a cluster, in place of those of a laptop."""

from __future__ import annotations

import re
from dataclasses import dataclass

COMMAND = re.compile(r"`trimtab ([^`]+)`")
PLUGIN = frozenset({"abort", "approve", "pause", "plan", "promote", "resume", "rollback", "status"})
SYSTEM = "trimtab-system"  # where the manifests put the processes


@dataclass(frozen=True, slots=True)
class Commands:
    """
    How commands read that are told about the objects of one namespace.

    Args:
        namespace: Of the objects.
        system: Of trimtab's own processes.
    """

    namespace: str
    system: str = SYSTEM

    def told(self, text: str) -> str:
        """
        The sentence with its commands, which stand between backticks, as they work here.

        What the plugin does not know is asked in the listener's pod, which has the settings and the store's keys.

        >>> Commands("shop").told("`trimtab plan flights`, then act")
        '`kubectl trimtab plan flights -n shop`, then act'
        >>> Commands("shop").told("`trimtab run flights`")
        '`kubectl -n trimtab-system exec deploy/trimtab-listener -- env TRIMTAB_NAMESPACE=shop trimtab run flights`'
        """
        return COMMAND.sub(lambda found: f"`{self._typed(found[1])}`", text)

    def _typed(self, command: str) -> str:
        verb, *named = command.split()
        # `approve NAME VERSION` lets a candidate serve, which the plugin does not do: it approves a rollout's step.
        if verb in PLUGIN and len(named) == 1:
            return f"kubectl trimtab {command} -n {self.namespace}"
        pod = f"kubectl -n {self.system} exec deploy/trimtab-listener --"
        return f"{pod} env TRIMTAB_NAMESPACE={self.namespace} trimtab {command}"
