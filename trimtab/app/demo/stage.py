"""The demo's platform, and its spec, edited and taken up as its user would do it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trimtab.app.demo.stream import Stream
from trimtab.app.demo.traffic import Traffic
from trimtab.app.demo.trials import TRUSTED, Trial, edited

if TYPE_CHECKING:
    from trimtab.app.embedded.platform import Platform

TRUSTED_TYPES = "TRIMTAB_TRUSTED_TYPES"
LOG_SECONDS = "TRIMTAB_LOG_SECONDS"
SEGMENT_SECONDS = "0.5"  # a fortnight passes in seconds here


class Stage:
    """
    A running platform, and its user's two sides: who uploads, and who asks for predictions.

    Args:
        source: The example's folder.
        folder: Where the demo works.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self._text = (source / "model.yaml").read_text(encoding="utf-8")
        self._folder = folder
        self._spec = folder / "model.yaml"
        for module in source.glob("*.py"):
            shutil.copyfile(module, folder / module.name)
        self._spec.write_text(edited(self._text, None), encoding="utf-8")
        self._before: dict[str, str | None] = {}
        self.platform: Platform
        self.stream: Stream
        self.traffic: Traffic

    def __enter__(self) -> Self:
        told = {TRUSTED_TYPES: ",".join(TRUSTED), LOG_SECONDS: SEGMENT_SECONDS}
        self._before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            self._start()
        except BaseException:
            self._put_back()
            raise
        self.stream = Stream(self.platform)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.platform.stop()
        self._put_back()

    def edit(self, trial: Trial | None) -> None:
        """Edit the spec for the trial (None: back to what it was), and have it taken up while predictions go on."""
        self._spec.write_text(edited(self._text, trial), encoding="utf-8")
        self.platform.reload()

    def _start(self) -> None:
        from trimtab.app.embedded.platform import Platform

        platform = Platform(self._folder, self._spec, policy_clock="stream")
        platform.start()
        self.platform = platform
        self.traffic = Traffic(platform)

    def _put_back(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
