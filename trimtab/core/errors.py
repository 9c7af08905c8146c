"""
Errors by what the caller does next: mend the input, try again, read again, or stop.

Each says what was found, what was needed and the next move. The command line prints them without a traceback and
exits with `exit_code`.
"""


class TrimtabError(Exception):
    """
    Base of every error that a user may see.

    Args:
        message: What was found and what was needed, one or more lines.
        hint: The next move, without the word "hint".
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class Invalid(TrimtabError):
    """The input must change (a spec, a file, an argument): repeating the same call fails again."""

    exit_code = 2


class NotFound(Invalid):
    """The named object, version, run or model does not exist."""


class Unavailable(TrimtabError):
    """A service did not answer or answered that it cannot now: the same call may succeed later."""


class Conflict(TrimtabError):
    """Somebody else wrote first: read again and decide again."""


class Fenced(TrimtabError):
    """This process lost its lease or epoch to another: stop, and write nothing more."""


class Superseded(TrimtabError):
    """A newer result stands where this one was going: end without harm."""
