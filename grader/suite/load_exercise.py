"""Imports one exercise of a submission, always as `exercises.<name>`, whatever its folder is called.

Only the `student` fixture comes here. Sources are compiled afresh each time: a stale .pyc next to a file that was
edited twice within a second would make a learner doubt their own eyes.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from grader.results.failure import Failure, Frame

PACKAGE = "exercises"
_log_handlers: list[logging.Handler] = []  # that the submission added while it was imported


class LoadError(Exception):
    """Why an exercise cannot even be called: its `kind` is "not started" or "import"."""

    def __init__(self, kind: str, failure: Failure, file: Path | None = None, line: int | None = None):
        super().__init__(failure.text())
        self.kind, self.failure, self.file, self.line = kind, failure, file, line


def not_started(summary: str) -> LoadError:
    return LoadError("not started", Failure(summary=summary))


class _Stream:
    """sys.stdout or sys.stderr as it is at the time: default arguments and log handlers keep what an import saw."""

    def __init__(self, name: str):
        self._name, self._first = name, getattr(sys, name)

    def __getattr__(self, name: str):
        now = getattr(sys, self._name)
        return getattr(self._first if now is self else now, name)


class _SourceLoader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        data = self.get_data(self.path)
        try:
            return self.source_to_code(data, self.path)  # never from bytecode
        except (SyntaxError, ValueError):
            if _is_text(data) and b"\0" not in data:
                raise
        if b"\0" in data and _is_text(data):
            line = data[: data.index(b"\0")].count(b"\n") + 1
            why = "it holds a NUL byte, which no source may: delete the invisible character in this line"
            raise SyntaxError(why, (self.path, line, None, None))
        raise SyntaxError("it is not UTF-8 text: save it as UTF-8", (self.path, 1, None, None))


class _Finder:
    """Answers for `exercises` and `exercises.*` out of one folder, before any other finder is asked."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.instead: dict[str, Path] = {}  # by module: another file than the folder's

    def find_spec(self, fullname, path=None, target=None):
        if fullname == PACKAGE:
            spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
            spec.submodule_search_locations = [str(self.folder)]
            return spec
        file = self.instead.get(fullname) or self.folder / f"{fullname.removeprefix(PACKAGE + '.')}.py"
        if fullname.startswith(PACKAGE + ".") and file.is_file():
            return importlib.util.spec_from_file_location(fullname, file, loader=_SourceLoader(fullname, str(file)))
        return None


def load(submission: Path, name: str) -> ModuleType:
    """The module of exercise `name` in the folder `submission`.

    raises: LoadError where the file is missing (not started) or does not import; the message names file and line
    """
    submission = submission.resolve()
    file = submission / f"{name}.py"
    if not file.is_file():
        raise not_started(f"there is no {name}.py in {submission}")
    _install(submission)
    try:
        streams = contextlib.redirect_stdout(_Stream("stdout")), contextlib.redirect_stderr(_Stream("stderr"))
        with streams[0], streams[1], own_logging(keep=True):
            return importlib.import_module(f"{PACKAGE}.{name}")
    except SyntaxError as error:
        where = Path(error.filename or file)
        raise LoadError("import", _syntax_error(error, where), where, error.lineno) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an exercise may well call sys.exit() at import
        frame = next(reversed(frames(error, submission)), None)
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith(PACKAGE + "."):
            missing = error.name.removeprefix(PACKAGE + ".")
            raise not_started(f"{name}.py imports {missing}.py, which is not in {submission}") from None
        failure = Failure(summary=f"importing {name}.py raised an error", raised=message_of(error))
        if frame:
            place, text = shown(Path(frame.filename)), frame.line or ""
            failure.frames = [Frame(file=place, line=frame.lineno or 0, function=frame.name, text=text)]
        where = Path(frame.filename) if frame else file
        raise LoadError("import", failure, where, frame and frame.lineno) from None


@contextlib.contextmanager
def own_logging(keep: bool = False) -> Iterator[None]:
    """While this lasts, logging has only the handlers that the submission added while it was imported.

    pytest's handlers would make logging.basicConfig do nothing.
    keep: what is added meanwhile stays for later
    """
    root = logging.getLogger()
    before, root.handlers = root.handlers, list(_log_handlers)
    try:
        yield
    finally:
        if keep:
            _log_handlers[:] = root.handlers
        root.handlers = before


@contextlib.contextmanager
def standing_in(name: str, submission: Path) -> Iterator[Callable[[Path], None]]:
    """In a submission other files may stand in for exercise `name`; afterwards all is as it was.

    Calling what this yields with a file puts it there. Exercises before it stay as they are, later ones load again.
    """
    _install(submission.resolve())
    finder, handlers = next(f for f in sys.meta_path if isinstance(f, _Finder)), list(_log_handlers)
    modules = {module: sys.modules[module] for module in _loaded()}

    def forget() -> None:
        for module in [module for module in _loaded() if module >= f"{PACKAGE}.{name}"]:
            del sys.modules[module]

    def put(file: Path) -> None:
        forget()
        finder.instead = {f"{PACKAGE}.{name}": file}

    try:
        yield put
    finally:
        forget()
        finder.instead = {}
        sys.modules.update(modules)
        _log_handlers[:] = handlers


def message_of(error: BaseException) -> str:
    """Kind and message of an exception that a learner's code raised, whatever its __str__ does."""
    try:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    except Exception:
        return f"{type(error).__name__}: (its message cannot be shown)"


def frames(error: BaseException, folder: Path) -> list[traceback.FrameSummary]:
    """The frames of the traceback that lie in folder, the learner's own lines, the innermost last."""
    return [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]


def shown(file: Path) -> str:
    """A path as a learner would type it: relative to the working folder where it lies below it."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


def _install(submission: Path) -> None:
    present = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if present and present.folder == submission:
        return
    if present:
        sys.meta_path.remove(present)
    for name in _loaded():
        del sys.modules[name]
    sys.meta_path.insert(0, _Finder(submission))
    _log_handlers.clear()


def _loaded() -> list[str]:
    return [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]


def _is_text(data: bytes) -> bool:
    """Whether this is a text in the encoding that it names, UTF-8 if it names none."""
    if data.count(0) > len(data) / 4:
        return False  # two bytes a character
    try:
        importlib.util.decode_source(data)
        return True
    except (SyntaxError, UnicodeDecodeError):
        return False


def _syntax_error(error: SyntaxError, file: Path) -> Failure:
    """The message, and the line with a mark below the place."""
    lines = [f"{shown(file)}:{error.lineno}: {error.msg}"]
    if error.text:
        text = error.text.rstrip("\n")
        indent = len(text) - len(text.lstrip())
        lines.append("    " + text.lstrip())
        lines.append("    " + " " * max(0, (error.offset or 1) - 1 - indent) + "^")
    return Failure(summary="\n".join(lines))
