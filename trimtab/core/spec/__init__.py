"""The spec: parsing, cross-field rules, digests."""

from trimtab.core.spec.model import ContinuousModel
from trimtab.core.spec.parse import load, resolve_schema

__all__ = ["ContinuousModel", "load", "resolve_schema"]
