"""
KFP's REST API by its SDK's own client: experiments and runs, with errors told apart by what a caller may do next.

After a refusal the request may be repeated, after a `Doubtful` one it may not: KFP makes a run's Workflow before it
stores the run, so each repeated POST may leave one more Workflow that executes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trimtab.core.errors import Invalid, NotFound, Unavailable

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 8.0  # together below the lease of a claim
AUDIENCE = "pipelines.kubeflow.org"  # of the service account's token
NAME_CHARACTERS = 200  # KFP's columns hold 255, and a longer name leaves a Workflow without a run
# KFP answers 500 also to what will never be right.
PERMANENT = (
    "InvalidInputError",
    "Invalid input error",
    "ResourceNotFoundError",
    "PipelineVersion Latest not found",
    "empty pipeline spec manifest",
    "name cannot be empty",
    "Data too long",
    "belongs to pipeline",
)

Json = dict[str, Any]


class Doubtful(Unavailable):
    """Whether the request took effect is not known: look before it is repeated."""


class KfpService:
    """
    One KFP API server; nothing is asked of it before the first call.

    Args:
        url: Of the API server, as `kfp.Client(host=...)` takes it.
        token_file: A service account's token for `AUDIENCE`, read again for each request; none where KFP has one user.
    """

    def __init__(
        self,
        url: str,
        token_file: Path | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url = url.rstrip("/")
        self._token_file = token_file
        self._timeout = (connect_seconds, answer_seconds)
        self._lock = threading.Lock()
        self._client: Any = None
        self._multi_user: bool | None = None

    # What is asked

    def multi_user(self) -> bool:
        """Whether runs stand in their users' own namespaces."""
        if self._multi_user is None:
            found = self._call(lambda api, client: api.HealthzServiceApi(client).healthz_service_get_healthz)
            self._multi_user = bool(found.get("multi_user"))
        return self._multi_user

    def run(self, run_id: str) -> Json | None:
        """The run, None when there is none by this id."""
        try:
            return self._call(lambda api, client: api.RunServiceApi(client).run_service_get_run, run_id)
        except NotFound:
            return None

    def experiment(self, name: str, namespace: str) -> str | None:
        """The id of the experiment by that very name; KFP's own comparison leaves out case and trailing spaces."""
        predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        found = self._call(
            lambda api, client: api.ExperimentServiceApi(client).experiment_service_list_experiments,
            filter=quote(json.dumps({"predicates": [predicate]})),  # the server decodes it a second time
            namespace=namespace,
            page_size=200,
        )
        same = [each for each in found.get("experiments", []) if each["display_name"] == name]
        same.sort(key=lambda each: each.get("storage_state") == "ARCHIVED")
        return str(same[0]["experiment_id"]) if same else None

    def pipeline_version(self, name: str, namespace: str) -> Json:
        """
        The reference to a PipelineVersion, by its own name.

        Raises:
            NotFound: If there is none, or its pipeline is none.
        """
        pipeline_name, _, _ = name.rpartition("-")  # as `trimtab compile --kubernetes` names a version
        pipeline = self._call(
            lambda api, client: api.PipelineServiceApi(client).pipeline_service_get_pipeline_by_name,
            pipeline_name,
            namespace=namespace,
        )
        predicate = {"operation": "EQUALS", "key": "name", "string_value": name}
        found = self._call(
            lambda api, client: api.PipelineServiceApi(client).pipeline_service_list_pipeline_versions,
            pipeline["pipeline_id"],
            filter=quote(json.dumps({"predicates": [predicate]})),
        )
        for version in found.get("pipeline_versions", []):
            if version.get("name") == name:
                return {
                    "pipeline_id": pipeline["pipeline_id"],
                    "pipeline_version_id": version["pipeline_version_id"],
                }
        raise NotFound(
            f"KFP knows no version {name} of pipeline {pipeline_name}",
            f"`trimtab compile --kubernetes -n {namespace or 'kubeflow'}` writes it, `kubectl apply` puts it there",
        )

    # What is changed

    def create_experiment(self, name: str, namespace: str) -> str:
        """Its id. Raises Invalid when it exists by now, as by a launcher beside this one."""
        body = {"display_name": name, "namespace": namespace, "description": "Training runs of a ContinuousModel."}
        found = self._call(
            lambda api, client: api.ExperimentServiceApi(client).experiment_service_create_experiment, body
        )
        return str(found["experiment_id"])

    def create_run(self, body: Json) -> Json:
        """
        Start a run; never call it twice for one `run_id` without having looked.

        Raises:
            Doubtful: If it may have started all the same.
            Unavailable: If it has not.
            NotFound: If there is no such experiment.
            Invalid: If KFP will never start it.
        """
        return self._call(lambda api, client: api.RunServiceApi(client).run_service_create_run, body)

    def terminate(self, run_id: str) -> bool:
        """Ask for the end of a run; False when it has ended already, or its Workflow is gone."""
        try:
            self._call(lambda api, client: api.RunServiceApi(client).run_service_terminate_run, run_id)
        except (Invalid, NotFound, Doubtful):
            return False
        return True

    # The wire

    def _call(self, method: Callable[[Any, Any], Callable[..., Any]], *arguments: Any, **parameters: Any) -> Json:
        import kfp_server_api
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProtocolError

        call = method(kfp_server_api, self._connected(kfp_server_api))
        try:
            response = call(*arguments, **parameters, _preload_content=False, _request_timeout=self._timeout)
            found: Json = json.loads(response.data)
        except ApiException as error:
            raise self._told(error.status or 0, error.body) from error
        except (ConnectTimeoutError, NewConnectionError) as error:  # it was never sent
            raise Unavailable(f"KFP at {self.url} does not answer: {_short(error)}") from error
        except (HTTPError, ProtocolError, OSError, ValueError) as error:
            raise Doubtful(f"KFP at {self.url} did not finish its answer: {_short(error)}") from error
        return found

    def _connected(self, api: Any) -> Any:
        with self._lock:
            if self._client is None:
                configuration = api.Configuration(host=self.url)
                configuration.retries = False  # a POST is never repeated unseen
                if self._token_file is not None:
                    configuration.api_key_prefix["authorization"] = "Bearer"
                    configuration.api_key["authorization"] = ""
                    configuration.refresh_api_key_hook = self._refresh
                self._client = api.ApiClient(configuration)
            return self._client

    def _refresh(self, configuration: Any) -> None:
        assert self._token_file is not None
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise Invalid(
                f"found no token for KFP at {self._token_file}: {error.strerror}",
                f"mount a projected service account token with audience {AUDIENCE} there",
            ) from error
        configuration.api_key["authorization"] = token

    def _told(self, status: int, body: Any) -> Exception:
        """The error that a caller acts upon, with KFP's own words."""
        try:
            answer = json.loads(body or "{}")
        except ValueError:
            answer = {}
        whole = str(answer.get("message") or answer.get("error_message") or str(body)[:500])
        short = next((str(each["message"]) for each in answer.get("details", []) if each.get("message")), whole)
        if status == 404 and answer.get("code") == 5:
            return NotFound(f"KFP: {short}")
        if status in (401, 403):
            return Invalid(
                f"KFP refuses trimtab's own account: {short}",
                f"the token needs audience {AUDIENCE}, and the account a role for runs and experiments there",
            )
        if status == 429:
            return Unavailable(f"KFP has too much to do: {short}")
        if status >= 500 and status != 501 and not any(text in whole for text in PERMANENT):
            return Doubtful(f"KFP answered {status}: {whole}")
        if status == 0:
            return Unavailable(f"KFP at {self.url} cannot be reached: {whole}")
        return Invalid(f"KFP answered {status}: {whole if short == 'Internal Server Error' else short}")


def _short(error: Exception) -> str:
    return str(error).rpartition("): ")[2].splitlines()[0] if str(error) else type(error).__name__
