"""The spec: parsing, cross-field rules, digests."""

from trimtab.core.spec.model import ContinuousModel

__all__ = ["ContinuousModel"]
