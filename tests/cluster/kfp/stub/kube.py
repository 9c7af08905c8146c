"""The real API server behind the stub: Workflows, reviews of tokens and rights, pipelines as objects."""

from __future__ import annotations

from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

Json = dict[str, Any]
ARGO = ("argoproj.io", "v1alpha1")
PIPELINES = ("pipelines.kubeflow.org", "v2beta1")
AUDIENCE = "pipelines.kubeflow.org"


class Kube:
    def __init__(self) -> None:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            config.load_kube_config()
        self._custom = client.CustomObjectsApi()
        self._tokens = client.AuthenticationV1Api()
        self._rights = client.AuthorizationV1Api()

    # Workflows

    def create_workflow(self, body: Json) -> Json:
        return self._custom.create_namespaced_custom_object(*ARGO, body["metadata"]["namespace"], "workflows", body)

    def workflows(self, namespace: str) -> list[Json]:
        if namespace:
            return self._custom.list_namespaced_custom_object(*ARGO, namespace, "workflows")["items"]
        return self._custom.list_cluster_custom_object(*ARGO, "workflows")["items"]

    def patch_workflow(self, namespace: str, name: str, body: Json) -> None:
        self._custom.patch_namespaced_custom_object(*ARGO, namespace, "workflows", name, body)

    def delete_workflow(self, namespace: str, name: str) -> None:
        try:
            self._custom.delete_namespaced_custom_object(*ARGO, namespace, "workflows", name)
        except ApiException as error:
            if error.status != 404:
                raise

    # Pipelines

    def objects(self, plural: str, namespace: str = "") -> list[Json]:
        if namespace:
            return self._custom.list_namespaced_custom_object(*PIPELINES, namespace, plural)["items"]
        return self._custom.list_cluster_custom_object(*PIPELINES, plural)["items"]

    def create(self, plural: str, body: Json) -> Json:
        return self._custom.create_namespaced_custom_object(*PIPELINES, body["metadata"]["namespace"], plural, body)

    def delete(self, plural: str, namespace: str, name: str) -> None:
        self._custom.delete_namespaced_custom_object(*PIPELINES, namespace, plural, name)

    # Reviews

    def user_of(self, token: str) -> tuple[str, str]:
        """The user of a token, or empty and what is wrong with it."""
        spec = client.V1TokenReviewSpec(token=token, audiences=[AUDIENCE])
        status = self._tokens.create_token_review(client.V1TokenReview(spec=spec)).status
        if status.authenticated:
            return status.user.username, ""
        return "", f"Review.Status.Authenticated is false. Error {status.error or 'invalid bearer token'}"

    def allows(self, user: str, verb: str, resource: str, namespace: str) -> bool:
        attributes = client.V1ResourceAttributes(
            namespace=namespace, verb=verb, group="pipelines.kubeflow.org", version="v1beta1", resource=resource
        )
        groups = []
        if user.startswith("system:serviceaccount:"):
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}", "system:authenticated"]
        spec = client.V1SubjectAccessReviewSpec(user=user, groups=groups, resource_attributes=attributes)
        review = client.V1SubjectAccessReview(spec=spec)
        return bool(self._rights.create_subject_access_review(review).status.allowed)
