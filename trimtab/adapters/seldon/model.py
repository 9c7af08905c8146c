"""
The model class that Seldon runs: under our own server here, or under its stock wrapper in a cluster:

    seldon-core-microservice trimtab.adapters.seldon.model.TrimtabModel --service-type MODEL

Its settings stand in the environment; `model` and `version` may come as parameters of the graph's node.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from trimtab.adapters.seldon import loading
from trimtab.adapters.seldon import settings as reading
from trimtab.adapters.seldon.settings import Settings
from trimtab.adapters.seldon.shipping import PredictionLog
from trimtab.serving.answering import Answering, Asked, is_shadow, request_id
from trimtab.serving.meters import Meters
from trimtab.serving.refusal import Refused
from trimtab.serving.served import Served

LOG = logging.getLogger(__name__)


class TrimtabModel:
    """
    A registered version as a Seldon microservice.

    Args:
        model: By default TRIMTAB_MODEL.
        version: By default TRIMTAB_VERSION.
        meters: Shared by the processes of one server; made here where there is only this one.
    """

    def __init__(self, model: str = "", version: str | int = "", meters: Meters | None = None) -> None:
        self.settings: Settings = reading.read(model=model, version=str(version))
        self.served: Served | None = None
        self.answering: Answering | None = None
        self.log: PredictionLog | None = None
        self.meters = meters or Meters(1, {"model": self.settings.model, "version": str(self.settings.version)})

    def fetch(self) -> Served:
        """The version, loaded once; before the server forks, so that its workers share it. Raises as `load_served`."""
        if self.served is None:
            self.served = loading.load_served(loading.open_state(self.settings), self.settings)
        return self.served

    def load(self) -> None:
        """In each process that answers: load what is not loaded yet, and open the log. Seldon's wrapper calls it."""
        if self.answering is not None:
            return
        served = self.fetch()
        served.warm_up()
        root = reading.log_root(self.settings)
        if root is None:
            LOG.warning("found no TRIMTAB_LOG_FOLDER: predictions are not logged, so nothing can be judged later")
        else:
            # Connections are not shared with the process that loaded.
            state = loading.open_state(self.settings)
            rows, seconds = self.settings.log_rows, self.settings.log_seconds
            self.log = PredictionLog(state, root, served.variant, rows, seconds, self.meters)
            self.log.start()
        self.answering = Answering(served, self.log.append if self.log else None, self.meters)

    def close(self) -> None:
        """Send what the log still holds."""
        if self.log is not None:
            self.log.close()

    # What Seldon's wrapper calls.

    def predict_raw(self, msg: Any) -> Any:
        """A request in Seldon's protocol: JSON by REST, a SeldonMessage by gRPC."""
        if not isinstance(msg, dict | list):
            from seldon_core.utils import json_to_seldon_message, seldon_message_to_json

            return json_to_seldon_message(self.predict_raw(seldon_message_to_json(msg)))
        return self._answer(lambda answering, asked: answering.predict(lambda: msg, asked).body, msg)

    def send_feedback_raw(self, feedback: Any) -> Any:
        """Seldon's feedback, as its wrapper hands it over."""
        from google.protobuf import json_format
        from seldon_core.utils import json_to_seldon_message

        given = json_format.MessageToDict(feedback)
        # Of a reward of 0 the message says nothing.
        given.setdefault("reward", 0)
        told = self._answer(lambda answering, asked: answering.feedback(lambda: given, asked).body, given)
        return json_to_seldon_message(told)

    def tags(self) -> dict[str, Any]:
        return {"version": self.settings.version, "variant": f"v{self.settings.version}"}

    def health_status(self) -> list[str]:
        """Raises while the version is not loaded, which Seldon answers with an error."""
        if self.answering is None:
            raise RuntimeError(f"{self.settings.model}/v{self.settings.version} is not loaded yet")
        return ["ready"]

    def init_metadata(self) -> dict[str, Any]:
        return {"name": self.settings.model, "versions": [f"v{self.settings.version}"], "platform": "trimtab"}

    def _answer(self, ask: Callable[[Answering, Asked], bytes], message: Any) -> Any:
        self.load()
        assert self.answering is not None
        asked = Asked("")
        try:
            asked.id, asked.shadow = _headers(message)
        except Refused as refused:
            return json.loads(self.answering.refuse(refused, asked, "seldon").body)
        return json.loads(ask(self.answering, asked))


def _headers(message: Any) -> tuple[str, bool]:
    """The request's id and whether it is mirrored: from HTTP's headers, by gRPC from the message."""
    from flask import has_request_context, request

    meta = message.get("meta") if isinstance(message, dict) else None
    own = meta.get("puid") if isinstance(meta, dict) else None
    if not has_request_context():
        return request_id(own if isinstance(own, str) else None, None), False
    return request_id(request.headers.get("Seldon-Puid"), request.headers.get("X-Request-Id")), is_shadow(
        request.headers.get("Host")
    )
