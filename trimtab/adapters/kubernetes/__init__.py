"""Kubernetes: its API server, and what trimtab keeps there."""
