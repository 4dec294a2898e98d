"""Folders for what is written meanwhile, in which a stranger's code may have been at work."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

REMOVE_SECONDS = 120


@contextlib.contextmanager
def scratch_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A new folder that other users may pass through; afterwards it is gone, whatever lies in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    os.chmod(folder, 0o711)
    try:
        yield folder
    finally:
        discard(folder)


def discard(folder: Path) -> None:
    """Removes a folder, however deep it is, and raises nothing: a result is not lost for a file that stays behind."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["rm", "-rf", "--", str(folder)], capture_output=True, timeout=REMOVE_SECONDS)
