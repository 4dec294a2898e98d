"""The scratch folder of an exercise, which a suite and a student's code both use: `student.files`."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import IO


class Files:
    """A scratch folder that both sides see. Reads are bounded; no link is followed, wherever in a path it lies.

    folder: None: a temporary one
    owner:  the user that what is written here is given to; None: it stays ours
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder
        self.owner: int | None = None

    @property
    def folder(self) -> Path:
        """Made when it is asked for first: inside a worker nobody does, and what is new there is the student's."""
        if self._folder is None:
            self._made = tempfile.TemporaryDirectory(prefix="kata-")
            self._folder = Path(self._made.name)
        return self._folder

    def path(self, name: str = "") -> str:
        return str(self.folder / name)

    def names(self, folder: str = "") -> list[str]:
        """Everything below a folder, relative to it, sorted; empty where there is no such folder."""
        top = self.folder / folder
        if any(part.is_symlink() for part in (top, *top.parents) if part.is_relative_to(self.folder)):
            return []
        return sorted(str(p.relative_to(top)) for p in top.rglob("*")) if top.is_dir() else []

    def regular(self, folder: str = "") -> list[str]:
        """The regular files among the names: no folders, and no links."""
        top = self.folder / folder
        return [name for name in self.names(folder) if stat.S_ISREG(os.lstat(top / name).st_mode)]

    def size(self, name: str) -> int:
        with self._open(name, os.O_RDONLY) as file:
            return os.fstat(file.fileno()).st_size

    def read(self, name: str, limit: int = 1 << 20) -> bytes:
        with self._open(name, os.O_RDONLY) as file:
            return file.read(limit)

    def write(self, name: str, data: bytes) -> str:
        """Makes a new file, and the folders that it needs; returns its path."""
        with self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            file.write(data)
        return self.path(name)

    def _open(self, name: str, flags: int) -> IO[bytes]:
        """raises: OSError, also for a link on the way, or what is no regular file"""
        *folders, last = Path(name).parts
        here = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                if flags & os.O_CREAT:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=here)
                        self._give(folder, here)
                outer, here = here, os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                os.close(outer)
            file = os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=here)
            if flags & os.O_CREAT:
                self._give(last, here)
        finally:
            os.close(here)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(f"{name} is no regular file")
        return os.fdopen(file, "wb" if flags & os.O_CREAT else "rb")

    def _give(self, name: str, folder: int) -> None:
        if self.owner is not None:
            os.chown(name, self.owner, self.owner, dir_fd=folder, follow_symlinks=False)
