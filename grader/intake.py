"""Takes from a submission the files that the syllabus names, and nothing else.

A submission is a folder of any name, a zip, or a git work tree. Nothing in it is believed: no link is followed, no path
may lead out, no file may be larger than a person writes, and nothing that it brings is run, git's settings included.
"""

import datetime
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LARGEST = 1 << 20  # bytes of an exercise's file
MOST = 20_000  # entries of a submission
DEEPEST = 6  # folders within folders
PASSED_OVER = {".git", ".venv", "venv", "node_modules", "__pycache__", "__MACOSX", ".kata", ".nox"}
GIT_SECONDS, GIT_MEMORY = 20, 1 << 30  # for reading one commit
UNWANTED = {"solutions", "misconceptions", "right_answers"}  # folders that hold files of the same names


class IntakeError(ValueError):
    """The submission cannot be taken; the message says what is wrong with it."""


@dataclass(frozen=True)
class Taken:
    """What was taken.

    names, folder: the files' names, and the folder they lay in
    contents:      a hash of names and files
    submitted:     when, in UTC, as the submission says: of its commit, or of the newest of these files
    commit:        where it is a git work tree
    """

    names: tuple[str, ...]
    folder: str
    contents: str
    submitted: str
    commit: str = ""


@dataclass(frozen=True)
class _Found:
    path: PurePosixPath
    size: int
    changed: datetime.datetime
    read: Callable[[], bytes]


def take(submission: Path, into: Path, names: Sequence[str]) -> Taken:
    """Copies the files called like this from a submission into a folder, which is made.

    Where several folders have some, the one with most of them counts; of equals the one nearest to the top.
    raises: IntakeError
    """
    into.mkdir(parents=True)
    if submission.is_file():
        found = list(_in_zip(submission, set(names)))
    elif submission.is_dir():
        found = list(_in_folder(submission, set(names)))
    else:
        raise IntakeError(f"there is no {submission}")
    folders: dict[PurePosixPath, list[_Found]] = {}
    for file in found:
        if not UNWANTED & set(file.path.parts):
            folders.setdefault(file.path.parent, []).append(file)
    if not folders:
        raise IntakeError(f"{submission.name} has none of the exercises' files, {names[0]} for instance")
    best = min(folders, key=lambda folder: (-len(folders[folder]), len(folder.parts), str(folder)))
    for file in folders[best]:
        if file.size > LARGEST:
            raise IntakeError(f"{file.path} has {file.size:,} bytes; an exercise has {LARGEST:,} at most")
        (into / file.path.name).write_bytes(file.read())
    commit = _commit(submission) if submission.is_dir() else ""
    names = tuple(sorted(file.path.name for file in folders[best]))
    digest = hashlib.sha256()
    for name in names:
        data = (into / name).read_bytes()
        digest.update(f"{name} {len(data)}\0".encode() + data)
    when = (_commit_time(submission, commit) if commit else None) or max(file.changed for file in folders[best])
    return Taken(names, str(best), digest.hexdigest(), when.strftime("%Y-%m-%dT%H:%M:%SZ"), commit)


def _in_folder(top: Path, names: set[str]) -> Iterator[_Found]:
    seen = 0
    for place, folders, files, here in os.fwalk(top, follow_symlinks=False):
        inside = PurePosixPath(Path(place).relative_to(top).as_posix())
        folders[:] = sorted(folder for folder in folders if folder not in PASSED_OVER and len(inside.parts) < DEEPEST)
        seen += len(folders) + len(files)
        if seen > MOST:
            raise IntakeError(f"{top.name} has more than {MOST:,} files and folders")
        for name in sorted(names & set(files)):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise IntakeError(f"{inside / name} is no regular file (a link, perhaps)")
            yield _Found(inside / name, status.st_size, _time(status.st_mtime), _reader(Path(place, name)))


def _reader(file: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
            return opened.read(LARGEST)

    return read


def _in_zip(file: Path, names: set[str]) -> Iterator[_Found]:
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except Exception as error:  # its decoders raise what they like
        raise IntakeError(f"{file.name} is no zip that can be read: {error}") from None
    if len(entries) > MOST:
        raise IntakeError(f"{file.name} has more than {MOST:,} entries")
    seen: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", str(path)):
            raise IntakeError(f"{file.name} holds a path that leads out of it: {entry.filename[:80]!r}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise IntakeError(f"{file.name} holds a link: {entry.filename[:80]!r}")
        if entry.is_dir() or path.name not in names or PASSED_OVER & set(path.parts):
            continue
        if str(path) in seen:
            raise IntakeError(f"{file.name} holds {path} twice")
        seen.add(str(path))
        try:
            changed = datetime.datetime(*entry.date_time, tzinfo=datetime.UTC)  # in whatever zone it was packed
        except ValueError:
            changed = _time(0)
        yield _Found(path, entry.file_size, changed, lambda entry=entry: _unzipped(archive, entry))


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """An entry's bytes, whatever size it claims to have."""
    try:
        with archive.open(entry) as opened:
            data = opened.read(LARGEST + 1)
    except Exception as error:
        raise IntakeError(f"{entry.filename[:80]!r} cannot be unpacked: {error}") from None
    if len(data) > LARGEST:
        raise IntakeError(f"{entry.filename[:80]!r} unpacks to more than {LARGEST:,} bytes")
    return data


def _commit(folder: Path) -> str:
    """The commit that a git work tree is at, as its files say: git itself would run what a repository tells it to."""
    try:
        head = _text(folder / ".git" / "HEAD")
        if not (match := re.fullmatch(r"ref: (refs/[\w./-]+)", head)) or ".." in head:
            return head if re.fullmatch(r"[0-9a-f]{40,64}", head) else ""
        loose = folder / ".git" / match[1]
        if loose.is_file():
            return _hash(_text(loose))
        packed = _text(folder / ".git" / "packed-refs", 1 << 20)
        return next((_hash(line.split()[0]) for line in packed.splitlines() if line.endswith(f" {match[1]}")), "")
    except (OSError, UnicodeDecodeError):
        return ""


def _commit_time(folder: Path, commit: str) -> datetime.datetime | None:
    """When a commit was made, as it says; None where that cannot be read.

    Git reads it, from the objects alone, in a repository of ours: the settings of theirs can name programs to run.
    """
    with tempfile.TemporaryDirectory(prefix="kata-git-") as ours:
        for name in ("objects", "refs"):
            Path(ours, name).mkdir()
        Path(ours, "HEAD").write_text("ref: refs/heads/none\n")
        environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_DIR": ours, "HOME": ours}
        environment |= {"GIT_OBJECT_DIRECTORY": str((folder / ".git" / "objects").resolve())}
        environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_NO_LAZY_FETCH": "1"}
        try:
            size = _git(["cat-file", "-s", commit], environment)
            text = _git(["cat-file", "commit", commit], environment) if size.isdigit() and int(size) < LARGEST else b""
        except (OSError, subprocess.SubprocessError):
            return None
    made = re.search(rb"^committer .* (\d{1,11}) [+-]\d{4}$", text.partition(b"\n\n")[0], re.MULTILINE)
    return _time(int(made[1])) if made else None


def _git(arguments: list[str], environment: dict[str, str]) -> bytes:
    """What git prints; nothing where it fails. An object that unpacks to more than it may have is such a failure."""
    limited = ["prlimit", f"--as={GIT_MEMORY}", "git"] if shutil.which("prlimit") else ["git"]
    done = subprocess.run([*limited, *arguments], env=environment, capture_output=True, timeout=GIT_SECONDS)
    return done.stdout.strip() if done.returncode == 0 else b""


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(min(max(seconds, 0), 32_503_680_000), datetime.UTC)  # until the year 3000


def _text(file: Path, limit: int = 1 << 10) -> str:
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
        return opened.read(limit).decode().strip()


def _hash(text: str) -> str:
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else ""
