"""
Telling people by apprise: Slack, mail, a webhook and a hundred others, by the scheme of one address.

The address holds a token. It is read from the environment variable that the spec names, and stands in no log, error
or state.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trimtab.adapters import environment
from trimtab.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from apprise import Apprise

# They write addresses, and with them tokens, into the log: below these levels they are not heard.
QUIET = {"apprise": logging.CRITICAL + 1, "urllib3.connectionpool": logging.ERROR}
TIMEOUT_SECONDS = 5.0  # to connect, and to be answered


class Receiver:
    """
    Whoever is at the address in an environment variable.

    Raises:
        Invalid: If the variable is not set, or holds no address that apprise knows.
    """

    def __init__(self, variable: str) -> None:
        address = environment.alert_address(variable)
        if not address:
            raise Invalid(
                f"spec.alerts: found no {variable} in the environment",
                f"set {variable} to an address as apprise takes it, such as slack://TOKEN or "
                "json://HOST/PATH, or leave the alert out",
            )
        self.variable = variable
        self._address = address
        self._apprise()

    def __repr__(self) -> str:
        return f"Receiver({self.variable})"

    def tell(self, title: str, body: str) -> None:
        """
        Send one message, within some seconds.

        Raises:
            Unavailable: If it was not accepted; why is not said, because the answer may repeat the address.
        """
        if not self._apprise().notify(body=body, title=title):
            raise Unavailable(f"the address in {self.variable} did not accept a message", "look at its receiver")

    def _apprise(self) -> Apprise:
        import apprise

        for name, least in QUIET.items():
            logging.getLogger(name).setLevel(least)
        told = apprise.Apprise()
        separator = "&" if "?" in self._address else "?"
        bounded = f"{self._address}{separator}cto={TIMEOUT_SECONDS}&rto={TIMEOUT_SECONDS}"
        if not told.add(bounded):
            raise Invalid(
                f"spec.alerts: found no address that apprise knows in {self.variable}",
                "see https://github.com/caronc/apprise/wiki for the form of each service's address",
            )
        return told
