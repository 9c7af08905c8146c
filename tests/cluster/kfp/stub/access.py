"""Who may do what, in multi-user mode; with one user nothing is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refusals import Refused

if TYPE_CHECKING:
    from world import World

AUDIENCE = "pipelines.kubeflow.org"
USER_HEADER = "kubeflow-userid"
EMPTY = "Failed to check authorization. User identity is empty in the request header"


class Access:
    """
    Tokens and grants are a test's tables, or a real API server's reviews.

    `tokens` maps a token to `{"user", "audiences"}`; `grants` holds (user, namespace, resource, verb), `*` for any.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.tokens: dict[str, dict] = {}
        self.grants: list[tuple] = []

    def user_of(self, headers: dict[str, str]) -> tuple[str, str]:
        """The user, or empty and what is said beside; asked for only where somebody must be somebody."""
        if user := headers.get(USER_HEADER, ""):
            return user, ""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return "", ""
        if self._world.kube is not None:
            return self._world.kube.user_of(token)
        held = self.tokens.get(token)
        if held is None:
            return "", "Review.Status.Authenticated is false. Error invalid bearer token"
        if AUDIENCE not in held.get("audiences", []):
            listed = " ".join(f'"{each}"' for each in held.get("audiences", []))
            return "", (
                f"Review.Status.Authenticated is false. Error token audiences [{listed}] is invalid for the target "
                f'audiences ["{AUDIENCE}"]'
            )
        return held["user"], ""

    def check(self, identity: tuple[str, str], verb: str, resource: str, namespace: str) -> None:
        """Refuses with 401 whoever is nobody, with 403 who may not."""
        if not self._world.multi_user:
            return
        user, wrong = identity
        if not user:
            raise Refused(16, f"{EMPTY}. {wrong}" if wrong else EMPTY, f"{EMPTY}. {wrong}" if wrong else EMPTY)
        if not self._allows(user, verb, resource, namespace):
            attributes = (
                f"&ResourceAttributes{{Namespace:{namespace},Verb:{verb},Group:pipelines.kubeflow.org,"
                f"Version:v1beta1,Resource:{resource},Subresource:,Name:,}}"
            )
            raise Refused(7, f"User '{user}' is not authorized with reason:  (request: {attributes})")

    def _allows(self, user: str, verb: str, resource: str, namespace: str) -> bool:
        if self._world.kube is not None:
            return self._world.kube.allows(user, verb, resource, namespace)
        asked = (user, namespace, resource, verb)
        return any(all(a in ("*", b) for a, b in zip(grant, asked, strict=True)) for grant in self.grants)
