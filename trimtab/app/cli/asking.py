"""Asking the platform's listener, which acts at once; whoever gets no answer goes by the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.app.opening import Platform

ASK_SECONDS = 2.0


def ask_listener(platform: Platform, method: str, path: str) -> dict[str, Any] | None:
    """The listener's answer; None where there is none, or it works for another model."""
    import httpx

    url, token = platform.environment.url, platform.environment.token
    if not url:
        return None
    try:
        answer = httpx.request(method, url + path, headers={"Authorization": f"Bearer {token}"}, timeout=ASK_SECONDS)
    except httpx.HTTPError:
        return None
    found: dict[str, Any] | None = answer.json() if answer.is_success else None
    return found
