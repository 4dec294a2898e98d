"""Takes from a submission the files that the syllabus names, and nothing else.

A submission is a folder of any name, a zip, or a git work tree. Nothing in it is believed: no link is followed, no path
may lead out, no file may be larger than a person writes, and nothing that it brings is run, git's settings included.
What a working folder has besides, an environment for instance, is passed over.
"""

import datetime
import hashlib
import itertools
import os
import re
import shutil
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path, PurePosixPath

from grader.results.paths import ROOT

LARGEST = 1 << 20  # bytes of an exercise's file
MOST = 20_000  # files and folders of a submission, without those that are passed over
MOST_PACKED = 500_000  # entries of a zip, with them
MOST_PACKS = 1_000  # files of git's with many objects each
DEEPEST = 6  # folders within folders
PASSED_OVER = {".git", ".venv", "venv", "node_modules", "__pycache__", "__MACOSX", ".kata", ".nox"}
GIT_SECONDS, GIT_MEMORY = 20, 1 << 30  # for reading one commit
UNWANTED = {"solutions", "misconceptions", "right_answers"}  # folders that hold files of the same names
NAMED = 3  # files or folders in a message


class IntakeError(ValueError):
    """The submission cannot be taken; the message says what is wrong with it."""


@dataclass(frozen=True)
class Taken:
    """What was taken.

    names, folder: the files' names, and the folder they lay in
    source:        that folder in words, and which others have such files
    place:         the folder that they lie in now
    contents:      a hash of names and files
    submitted:     when, in UTC, as the submission says: of its commit, or of the newest of these files
    commit:        where it is a git work tree
    left:          files that could not be taken, by their name: what is wrong with them
    """

    names: tuple[str, ...]
    folder: str
    source: str
    place: Path
    contents: str
    submitted: str
    commit: str = ""
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """A file with a name that says something.

    link: it, or a folder that it lies in, is no such thing but leads to one
    read: its first bytes, so many
    """

    path: PurePosixPath
    changed: datetime.datetime
    read: Callable[[int], bytes]
    link: bool = False


def take(submission: Path, into: Path, names: Sequence[str]) -> Taken:
    """Copies the files called like this from a submission into a folder, which is made.

    Where several folders have some, the one with most of them counts; of equals the one nearest to the top. Files that
    are as they were handed out count less than any other. A file that cannot be taken is left, as long as there are
    others. A folder that has none, but one zip, is that zip.
    raises: IntakeError
    """
    into.mkdir(parents=True)
    found, unreadable = _look(submission, names)
    wanted = _wanted(found, names)
    zips = [file for file in found if file.path.suffix.lower() == ".zip"]
    if not wanted and len(zips) == 1 and not zips[0].link and submission.is_dir():
        found, unreadable = _look(submission / zips[0].path, names)
        wanted = _wanted(found, names)
    if not wanted:
        raise IntakeError(_none_of_them(submission, names, found, unreadable))
    folders: dict[PurePosixPath, list[_Found]] = {}
    for file in wanted:
        folders.setdefault(file.path.parent, []).append(file)
    best = min(folders, key=lambda folder: (*_worth(folders[folder]), len(folder.parts), str(folder)))
    if link := next((file for file in folders[best] if file.link), None):
        raise IntakeError(f"{link.path} is no regular file (a link, perhaps)")
    taken, left = {}, {}
    for file in sorted(folders[best], key=lambda file: file.path):
        try:
            taken[file.path.name] = _read(file)
        except IntakeError as error:
            left[file.path.name] = str(error)
    if not taken:
        raise IntakeError(next(iter(left.values())))
    digest = hashlib.sha256()
    for name, data in taken.items():
        (into / name).write_bytes(data)
        digest.update(f"{name} {len(data)}\0".encode() + data)
    digest.update(repr(left).encode() if left else b"")
    commit = _commit(submission) if submission.is_dir() else ""
    when = (_commit_time(submission, commit) if commit else None) or max(file.changed for file in folders[best])
    return Taken(
        names=tuple(taken),
        folder=str(best),
        source=_in_words(best, [folder for folder in folders if folder != best]),
        place=into,
        contents=digest.hexdigest(),
        submitted=when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit,
        left=left,
    )


def as_handed_out(name: str, data: bytes) -> bool:
    """Whether this is what everybody got, but for spaces and ends of lines."""
    return (stub := _stub(name)) is not None and data.split() == stub.split()


@cache
def _stub(name: str) -> bytes | None:
    file = ROOT / "exercises" / name
    return file.read_bytes() if file.is_file() else None


def _look(submission: Path, names: Sequence[str]) -> tuple[list[_Found], list[str]]:
    """The files of a submission whose names say something, and what could not be looked into. raises: IntakeError"""
    unreadable: list[str] = []
    try:
        if submission.is_file():
            return list(_in_zip(submission, names)), unreadable
        if submission.is_dir():
            return list(_in_folder(submission, names, unreadable)), unreadable
    except OSError as error:
        raise IntakeError(f"{submission.name} cannot be read: {error.strerror}") from None
    raise IntakeError(f"there is no {submission}")


def _wanted(found: Sequence[_Found], names: Sequence[str]) -> list[_Found]:
    return [file for file in found if file.path.name in names and not UNWANTED & set(file.path.parts)]


def _says_something(name: str, names: Sequence[str]) -> bool:
    """Whether it is wanted, nearly called like what is wanted, or packed."""
    plain = re.sub(r"[\W_]+", "_", name.lower())
    return name.lower().endswith(".zip") or any(wanted.partition(".")[0] in plain for wanted in names)


def _worth(files: Sequence[_Found]) -> tuple[int, int]:
    """The less the better. Links do not count, so that those of a build or an editor take nobody's place."""
    real = [file for file in files if not file.link]
    return -sum(not _is_stub(file) for file in real), -len(real)


def _is_stub(file: _Found) -> bool:
    stub = _stub(file.path.name) or b""
    try:
        return as_handed_out(file.path.name, file.read(2 * len(stub)))
    except Exception:  # of the system, or whatever decoders raise: that is said when it is taken
        return False


def _in_words(best: PurePosixPath, others: Sequence[PurePosixPath]) -> str:
    named = ["the top folder" if str(folder) == "." else f"{folder}/" for folder in [best, *sorted(others)]]
    return f"what lies in {named[0]}" + (f", and not in {_some(named[1:])}" if others else "")


def _none_of_them(submission: Path, names: Sequence[str], found: Sequence[_Found], unreadable: Sequence[str]) -> str:
    """What to tell somebody whose work is not found, perhaps for its name or place."""
    said = f"{submission.name} has none of the exercises' files, {names[0]} for instance"
    unwanted = sorted({str(file.path.parent) for file in found if file.path.name in names})
    others = sorted(str(file.path) for file in found if file.path.name not in names)
    zips = [name for name in others if name.lower().endswith(".zip")]
    some = {"passed over": unwanted, "called otherwise": [name for name in others if name not in zips]}
    some |= {"packed once more": zips, "cannot be read": unreadable}
    return "; ".join([said, *(f"{words}: {_some(named)}" for words, named in some.items() if named)])


def _some(named: Sequence[str]) -> str:
    return ", ".join(named[:NAMED]) + (f" and {len(named) - NAMED} more" if len(named) > NAMED else "")


def _in_folder(top: Path, names: Sequence[str], unreadable: list[str]) -> Iterator[_Found]:
    def note(error: OSError) -> None:
        unreadable.append(os.path.relpath(error.filename, top))

    seen = 0
    for place, folders, files, here in os.fwalk(top, follow_symlinks=False, onerror=note):
        inside = PurePosixPath(Path(place).relative_to(top).as_posix())
        folders[:] = sorted(folder for folder in folders if folder not in PASSED_OVER and len(inside.parts) < DEEPEST)
        seen += len(folders) + len(files)
        if seen > MOST:
            raise IntakeError(f"{top.name} has more than {MOST:,} files and folders")
        for name in sorted(file for file in files if _says_something(file, names)):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            link = not stat.S_ISREG(status.st_mode)
            yield _Found(inside / name, _time(status.st_mtime), _reader(Path(place, name)), link)


def _reader(file: Path) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
            return opened.read(limit)

    return read


def _in_zip(file: Path, names: Sequence[str]) -> Iterator[_Found]:
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
    except Exception as error:  # its decoders raise what they like
        raise IntakeError(f"{file.name} is no zip that can be read: {error}") from None
    if len(entries) > MOST_PACKED:
        raise IntakeError(f"{file.name} has more than {MOST_PACKED:,} entries")
    there: dict[PurePosixPath, zipfile.ZipInfo] = {}
    links: set[PurePosixPath] = set()
    seen = 0
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", str(path)):
            raise IntakeError(f"{file.name} holds a path that leads out of it: {entry.filename[:80]!r}")
        if PASSED_OVER & set(path.parts) or len(path.parts) > DEEPEST + 1:
            continue
        seen += 1
        if seen > MOST:
            raise IntakeError(f"{file.name} has more than {MOST:,} files and folders")
        if stat.S_ISLNK(entry.external_attr >> 16):
            links.add(path)
        if entry.is_dir() or not _says_something(path.name, names):
            continue
        if path in there and path.name in names:
            raise IntakeError(f"{file.name} holds {path} twice")
        there[path] = entry
    for path, entry in there.items():
        try:
            changed = datetime.datetime(*entry.date_time, tzinfo=datetime.UTC)  # in whatever zone it was packed
        except ValueError:
            changed = _time(0)
        link = not links.isdisjoint([path, *path.parents])
        yield _Found(path, changed, partial(_unzipped, archive, entry), link)


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """An entry's first bytes, whatever size it claims to have."""
    with archive.open(entry) as opened:
        return opened.read(limit)


def _read(file: _Found) -> bytes:
    """raises: IntakeError"""
    try:
        data = file.read(LARGEST + 1)
    except Exception as error:  # of the system, or whatever decoders raise
        raise IntakeError(f"{file.path} cannot be read or unpacked: {error}") from None
    if len(data) > LARGEST:
        raise IntakeError(f"{file.path} has more than {LARGEST:,} bytes")
    return data


def _commit(folder: Path) -> str:
    """The commit that a git work tree is at, as its files say: git itself would run what a repository tells it to.

    Only what lies in the submission counts: a link, or the file that a linked work tree has for .git, leads anywhere.
    """
    git = folder / ".git"
    try:
        head = _text(git / "HEAD", folder)
        if not (match := re.fullmatch(r"ref: (refs/[\w./-]+)", head)) or ".." in head:
            return head if re.fullmatch(r"[0-9a-f]{40,64}", head) else ""
        if (git / match[1]).is_file():
            return _hash(_text(git / match[1], folder))
        packed = _text(git / "packed-refs", folder, 1 << 20)
        return next((_hash(line.split()[0]) for line in packed.splitlines() if line.endswith(f" {match[1]}")), "")
    except (OSError, UnicodeDecodeError):
        return ""


def _commit_time(folder: Path, commit: str) -> datetime.datetime | None:
    """When a commit was made, as it says; None where that cannot be read.

    Git reads it in a repository of ours that has this object, and their packs, and no more: the settings of theirs can
    name programs to run, and other repositories.
    """
    theirs = folder / ".git" / "objects"
    with tempfile.TemporaryDirectory(prefix="kata-git-") as ours:
        objects, loose = Path(ours, "objects"), f"{commit[:2]}/{commit[2:]}"
        for name in ("objects/pack", f"objects/{commit[:2]}", "refs"):
            Path(ours, name).mkdir(parents=True)
        Path(ours, "HEAD").write_text("ref: refs/heads/none\n")
        packs = [f"pack/{file.name}" for file in itertools.islice(theirs.glob("pack/pack-*"), MOST_PACKS)]
        for name in [loose, *packs]:
            if _is_plain(theirs / name, folder):
                (objects / name).symlink_to((theirs / name).absolute())
        environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_DIR": ours, "HOME": ours}
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


def _text(file: Path, top: Path, limit: int = 1 << 10) -> str:
    """raises: OSError also for a file that a link below `top` leads to"""
    if not _is_plain(file, top):
        raise OSError(f"{file} is a link, or behind one")
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as opened:
        return opened.read(limit).decode().strip()


def _is_plain(file: Path, top: Path) -> bool:
    """Whether this is a regular file that no link leads to from the folder `top`."""
    way = [file, *file.parents]
    return file.is_file() and not any(step.is_symlink() for step in way[: way.index(top)])


def _hash(text: str) -> str:
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else ""
