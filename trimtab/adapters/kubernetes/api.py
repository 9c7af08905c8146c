"""
The API server, by the official client's connection and with objects as they stand in manifests.

Typed classes exist for few of the kinds that trimtab handles, so every object is a mapping here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from trimtab.adapters.kubernetes.kinds import Kind
from trimtab.core.errors import Conflict, Invalid, NotFound, TrimtabError, Unavailable

Object = dict[str, Any]
Patch = Sequence[Mapping[str, Any]]  # RFC 6902: [{"op": "test", "path": ..., "value": ...}, ...]

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
PAGE = 500  # objects of one listing's answer
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
AWAY = "it is asked again by itself; `kubectl get --raw /readyz?verbose` says how it is"


class Gone(TrimtabError):
    """What was watched from is too long ago: list again."""


class Api:
    """
    One API server.

    Every method raises:
        NotFound: If there is no such object, or no such kind.
        Conflict: If another wrote first, the object exists already, or another manager owns a field.
        Invalid: If the server, or an admission webhook, refuses the request for good, with the reason it gives.
        Unavailable: If it does not answer, or answers that it cannot now (429, 5xx, an absent webhook).
    """

    def __init__(self, client: Any) -> None:
        self._client = client  # kubernetes.client.ApiClient

    @classmethod
    def connect(cls, context: str = "") -> Self:
        """
        As kubectl finds it (KUBECONFIG, then ~/.kube/config), else by the pod's own service account.

        Raises:
            Invalid: If neither is there, or the file cannot be read.
        """
        from kubernetes import client, config
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION
        from yaml import YAMLError

        configuration = client.Configuration()
        files = [Path(each).expanduser() for each in KUBE_CONFIG_DEFAULT_LOCATION.split(os.pathsep) if each]
        try:
            if context or any(file.exists() for file in files):
                config.load_kube_config(context=context or None, client_configuration=configuration)
            else:
                config.load_incluster_config(client_configuration=configuration)
        except (ConfigException, TypeError, AttributeError, OSError, UnicodeDecodeError, YAMLError) as error:
            raise Invalid(
                f"found no Kubernetes cluster by {KUBE_CONFIG_DEFAULT_LOCATION}: {' '.join(str(error).split())}",
                "set KUBECONFIG to a file that `kubectl get nodes` works with",
            ) from error
        configuration.retries = False  # whoever calls decides when to try again
        return cls(client.ApiClient(configuration))

    # Reading

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return self._call("GET", kind.path(namespace, name))

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """As `get`, with None when there is none."""
        try:
            return self.get(kind, namespace, name)
        except NotFound:
            return None

    def list(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> tuple[list[Object], str]:
        """All objects, of all namespaces without one, and the resource version from which to watch."""
        found: list[Object] = []
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        query = {name: value for name, value in query.items() if value}
        while True:
            answer = self._call("GET", kind.path(namespace), query=query)
            found += answer.get("items") or []
            more = answer.get("metadata", {}).get("continue")
            if not more:
                return found, answer["metadata"]["resourceVersion"]
            query["continue"] = more

    def watch(
        self, kind: Kind, namespace: str = "", resource_version: str = "", seconds: int = 60
    ) -> Iterator[tuple[Literal["ADDED", "MODIFIED", "DELETED"], Object]]:
        """
        What happens from that version on, for so long; ends quietly when the server ends it.

        Raises:
            Gone: If the version is too old.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
            "allowWatchBookmarks": "true",
        }
        response = self._raw("GET", kind.path(namespace), query=query, stream=True, seconds=seconds + ANSWER_SECONDS)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    if status.get("code") == 410:
                        raise Gone(str(status.get("message")))
                    raise Unavailable(f"watching {kind.plural}: {status.get('message')}")
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]
        finally:
            response.release_conn()

    # Writing

    def create(self, kind: Kind, body: Object, namespace: str = "", manager: str = "") -> Object:
        namespace = namespace or body.get("metadata", {}).get("namespace", "")
        query = {"fieldManager": manager} if manager else {}
        return self._call("POST", kind.path(namespace), body, query)

    def replace(self, kind: Kind, body: Object, subresource: str = "") -> Object:
        """With the resourceVersion it was read at: a Conflict when another wrote since."""
        meta = body["metadata"]
        return self._call("PUT", kind.path(meta.get("namespace", ""), meta["name"], subresource), body)

    def apply(self, kind: Kind, body: Object, manager: str, force: bool = False) -> Object:
        """Server-side apply: the fields of `body` become this manager's, and no others."""
        meta = body["metadata"]
        path = kind.path(meta.get("namespace", ""), meta["name"])
        query = {"fieldManager": manager, "force": "true" if force else "false", "fieldValidation": "Strict"}
        return self._call("PATCH", path, body, query, APPLY)

    def merge(
        self, kind: Kind, namespace: str, name: str, body: Mapping[str, Any], subresource: str = "", manager: str = ""
    ) -> Object:
        """Merge patch: null deletes, lists are replaced whole."""
        query = {"fieldManager": manager} if manager else {}
        return self._call("PATCH", kind.path(namespace, name, subresource), dict(body), query, MERGE)

    def patch(
        self, kind: Kind, namespace: str, name: str, patch: Patch, subresource: str = "", manager: str = ""
    ) -> Object:
        """JSON patch; a `test` that fails is a Conflict: the object is not what it was thought to be."""
        query = {"fieldManager": manager} if manager else {}
        return self._call("PATCH", kind.path(namespace, name, subresource), list(patch), query, JSON_PATCH)

    def delete(self, kind: Kind, namespace: str, name: str, propagation: str = "Background") -> None:
        """Nothing happens when there is none."""
        try:
            self._call("DELETE", kind.path(namespace, name), {"propagationPolicy": propagation})
        except NotFound:
            return

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """What no other method does: reviews, proxies, logs; text where the answer is no JSON."""
        data = self._raw(method, path, body).data
        try:
            return json.loads(data)
        except ValueError:
            return data.decode(errors="replace")

    def whoami(self) -> str:
        """The user name that the server knows the caller by."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        found = self._call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        return str(found["status"]["userInfo"].get("username", ""))

    # The wire

    def _call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None, content: str = ""
    ) -> Object:
        found: Object = json.loads(self._raw(method, path, body, query, content).data)
        return found

    def _raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = "",
        stream: bool = False,
        seconds: float = ANSWER_SECONDS,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": content or "application/json"}
        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=(CONNECT_SECONDS, seconds),
            )
            if not stream:
                _ = answer.data  # read here, where an answer that is cut short is told as none
            return answer
        except ApiException as error:
            raise _told(method, path, error.status or 0, error.body) from error
        except (HTTPError, OSError) as error:
            raise Unavailable(f"the Kubernetes API server does not answer {method} {path}: {error}", AWAY) from error


def _told(method: str, path: str, code: int, body: Any) -> TrimtabError:
    """The error that a caller acts upon, with the server's own words."""
    try:
        status = json.loads(body or "{}")
    except ValueError:
        status = {"message": str(body)[:500]}
    message = str(status.get("message") or f"HTTP {code}")
    if code == 404:
        return NotFound(message, "`kubectl get` shows what there is; `kubectl api-resources` whether the kind is known")
    if code == 410:
        return Gone(message, "list again, and watch from there")
    # A failed `test` of a JSON patch is 422 like a refusal, and means that another wrote first.
    if code == 409 or (code == 422 and "the server rejected our request due to an error in our request" in message):
        return Conflict(message, "read the object again, and decide again")
    # A field or type that the schema does not know is answered 500 to server-side apply, and stays unknown.
    if "failed to create typed patch object" in message:
        return Invalid(message, "the cluster's definitions are of another version: apply manifests/crds of this one")
    if code == 429 or code >= 500 or code == 0:
        return Unavailable(f"{method} {path}: {message}", AWAY)
    if code in (401, 403):
        return Invalid(message, "docs/kubernetes.md lists the permissions that each process needs")
    return Invalid(message, "change what the message names: in the object, or in the policy or webhook that refuses it")


def _lines(response: Any) -> Iterator[bytes]:
    """Lines of a streamed answer; a connection that breaks ends them."""
    from urllib3.exceptions import HTTPError

    rest = b""
    try:
        for chunk in response.stream(amt=None, decode_content=False):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line)
    except HTTPError:
        return
