"""Files and folders that are there in full or not at all: whole writes, scratch folders, and who holds them.

A stranger's code may have been at work in a scratch folder.
"""

import contextlib
import errno
import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REMOVE_SECONDS = 120
TRIES = 3  # what was at work there may take a moment to end
UNLOCKED = "new-"  # begins the name of a folder that nobody holds yet


@contextlib.contextmanager
def scratch_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder that other users may pass through; afterwards it is gone, whatever lies in it.

    As long as this process lives it holds the folder, so that `sweep` can tell what a killed run left behind.
    """
    made = Path(tempfile.mkdtemp(prefix=UNLOCKED + prefix, dir=place))
    os.chmod(made, 0o711)
    lock = hold(made)
    folder = made.with_name(made.name.removeprefix(UNLOCKED))
    os.rename(made, folder)
    try:
        yield folder
    finally:
        discard(folder)
        if lock is not None:
            os.close(lock)


def discard(folder: Path) -> None:
    """Removes a folder, however deep it is, and raises nothing: a result is not lost for a file that stays behind."""
    end = time.monotonic() + REMOVE_SECONDS
    for again in range(TRIES):
        _run("rm", "-rf", "--", str(folder), until=end)
        if not os.path.lexists(folder):
            return
        _run("chmod", "-R", "u+rwx", "--", str(folder), until=end)  # folders that their owner may not even list
        time.sleep(0.1 * again)
    _run("rm", "-rf", "--", str(folder), until=end)


def sweep(prefix: str) -> None:
    """Removes the folders that dead runs of this user left where the system has such files."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.geteuid():
                continue
            lock = hold(folder)
            if lock is not None:
                discard(folder)
                os.close(lock)


def hold(path: Path) -> int | None:
    """A descriptor that keeps others from holding a file or folder until it is closed; None where another has it.

    raises: OSError where it cannot even be opened
    """
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            os.close(lock)
            return None
    return lock  # also where the file system knows no locks


def _run(*command: str, until: float) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        seconds = max(0.1, until - time.monotonic())
        # in a session of its own: the terminal's Ctrl-C is for those who ask for this, and not for rm
        subprocess.run(command, capture_output=True, timeout=seconds, start_new_session=True)


def write_whole(file: Path, text: str) -> None:
    """All of it or nothing; a link of that name is replaced, not followed."""
    data = text.encode("utf-8", "backslashreplace")  # what a student's code says may hold halves of characters
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.name, delete=False) as partial:
        pass  # a name that nobody could have put a link at
    try:
        Path(partial.name).write_bytes(data)
        os.chmod(partial.name, 0o644)
        os.replace(partial.name, file)
    except BaseException:  # Ctrl-C, too
        with contextlib.suppress(OSError):
            os.unlink(partial.name)
        raise
