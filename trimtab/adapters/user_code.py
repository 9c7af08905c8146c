"""
A user's own module, imported from beside the spec by its place and by nothing else.

The folder is never put on `sys.path`: a file that lies there by accident can shadow nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from trimtab.core.errors import Invalid
from trimtab.core.records import digest

MARK = "__trimtab_source__"  # on a module that was loaded here: the digest of its source


def sources(module: str, folder: str) -> list[Path]:
    """
    The files that make up the user's module, the one to import first: one file, or every .py of its package.

    Raises:
        Invalid: If there is none in the folder, or it leads out of it.
    """
    home = Path(folder or ".").resolve()
    top = module.partition(".")[0]
    package, single = home / top, home / f"{top}.py"
    if (package / "__init__.py").is_file():
        start = package / "__init__.py"
        found = [start, *sorted(path for path in package.rglob("*.py") if path != start)]
    elif single.is_file() and "." not in module:
        found = [single]
    else:
        raise Invalid(
            f"spec.training.estimator: found no module {module} in {home}; an estimator comes from scikit-learn, or "
            f"from {top}.py or a package {top}/ (with __init__.py) beside the spec",
            _nearest(top, home),
        )
    for path in found:
        if not path.resolve().is_relative_to(home):
            raise Invalid(
                f"spec.training.estimator: {path} leads out of the spec's folder, to {path.resolve()}",
                "copy the file beside the spec instead of linking it",
            )
    return found


def source_digest(module: str, folder: str) -> str:
    """
    SHA-256 over the names and contents of the module's files, without importing it.

    Raises:
        Invalid: As `sources`.
    """
    home = Path(folder or ".").resolve()
    files = [
        (path.relative_to(home).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sources(module, folder)
    ]
    return digest("code", files)


def load_module(module: str, folder: str) -> ModuleType:
    """
    The user's module as its files are now: imported once in a process, and again when they have changed.

    It stands in `sys.modules` under its own name, so that artifacts which hold its types can be loaded.

    Raises:
        Invalid: If it is not there, takes an installed module's name, or fails; naming file and line.
    """
    files = sources(module, folder)
    fresh = source_digest(module, folder)
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    try:
        with _no_bytecode():
            if getattr(loaded, MARK, None) != (fresh, str(files[0])):
                _refuse_taken_name(top, files[0])
                _forget(top)
                _execute(top, files[0], fresh)
            return importlib.import_module(module)
    except Invalid:
        raise
    except (Exception, SystemExit) as error:
        _forget(top)
        raise _told(error, module, files) from None


def _execute(top: str, start: Path, fresh: str) -> None:
    package = [str(start.parent)] if start.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(top, start, submodule_search_locations=package)
    if spec is None or spec.loader is None:
        raise ImportError(f"{start} is no Python file")
    loaded = importlib.util.module_from_spec(spec)
    setattr(loaded, MARK, (fresh, str(start)))
    sys.modules[top] = loaded
    spec.loader.exec_module(loaded)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """Leave no bytecode beside a user's files: one edited twice within a second must not run as its first edition."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _forget(top: str) -> None:
    """Drop the module and what lies below it, so that the next import reads the files."""
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _refuse_taken_name(top: str, own: Path) -> None:
    """A user's `random.py` must not take the place of everybody's `random`."""
    loaded = sys.modules.get(top)
    taken = top in sys.stdlib_module_names
    if not taken and not hasattr(loaded, MARK):
        if loaded is not None:
            origin = getattr(loaded, "__file__", None)
        else:
            installed = importlib.util.find_spec(top)
            origin = installed.origin if installed is not None else str(own)
        taken = origin is None or Path(origin).resolve() != own.resolve()
    if taken:
        raise Invalid(
            f"spec.training.estimator: {own.name} has the name of a module that is installed, {top}",
            f"rename it, such as my_{top}, and the estimator with it",
        )


def _told(error: BaseException, module: str, files: list[Path]) -> Invalid:
    """What failed while the user's code was imported, with the last line of theirs that was running."""
    own = {str(path) for path in files}
    place = ""
    if isinstance(error, SyntaxError) and error.filename in own:
        place = f"{error.filename} line {error.lineno}: "
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
        place = f"{frames[-1].filename} line {frames[-1].lineno}: " if frames else ""
    what = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    hint = "mend it; `python FILE` runs it alone"
    if isinstance(error, ModuleNotFoundError):
        hint = (
            f"if {error.name} is a file of yours, put both into one package beside the spec and write "
            f"`from .{error.name} import …`; else install it where trimtab runs"
        )
    return Invalid(f"spec.training.estimator: importing {module} failed\n  {place}{what}", hint)


def _nearest(top: str, home: Path) -> str:
    names = [path.stem for path in home.glob("*.py")]
    names += [path.parent.name for path in home.glob("*/__init__.py")]
    close = get_close_matches(top, names, n=1)
    return f"did you mean {close[0]}?" if close else f"put {top}.py beside the spec, or name a class of sklearn"
