"""The namespace that a command means when it names none: that of kubectl's context, or of the pod it runs in."""

from __future__ import annotations

from pathlib import Path

IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT = "default"


def current_namespace(context: str = "") -> str:
    """As kubectl finds it; `default` where nothing says another."""
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException

    try:
        contexts, active = config.list_kube_config_contexts()
    except (ConfigException, TypeError):
        return IN_POD.read_text().strip() if IN_POD.is_file() else DEFAULT
    chosen = next((each for each in contexts if each["name"] == context), active) if context else active
    return str((chosen.get("context") or {}).get("namespace") or DEFAULT)
