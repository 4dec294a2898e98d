"""Landlock (Linux 5.13 and later): a process gives up, for itself and all that it starts, what is not allowed here.

The numbers are those of linux/landlock.h and of the system call table, which is the same on all architectures there.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from grader.sandbox.linux import NO_NEW_PRIVILEGES, error, libc, prctl

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_FOR_VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << k for k in range(4))
SINCE = {
    1: 13,
    2: 14,
    3: 15,
    5: 16,
}  # how many rights over files there are, by the version that brought the last of them
ALL_OF_TCP = 0b11  # bind and connect, since version 4
KNOWS_RENAMES = 2  # the version since which files may move from one folder to another, where both may be written
KNOWS_TRUNCATE = 3  # the version since which nothing outside can be emptied
KNOWS_SIGNALS = 6  # the version since which it keeps signals and abstract sockets in
SIGNALS_AND_SOCKETS = 0b11  # to processes outside
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15  # the rights that mean something for what is no folder


def version() -> int:
    """Of the kernel's Landlock; 0 where there is none, or one that lets no file be moved."""
    found = libc.syscall(CREATE_RULESET, None, 0, ASK_FOR_VERSION)
    return found if found >= KNOWS_RENAMES else 0


def keeps_signals_in() -> bool:
    return version() >= KNOWS_SIGNALS


def restrict(readable: Iterable[Path], listable: Iterable[Path], writable: Iterable[Path]) -> None:
    """From now on only these files can be read (and run), only these folders listed, only these written below.

    Of what the kernel's version knows besides, nothing is allowed: no TCP, and no signals to processes outside.
    raises: OSError
    """
    known = version()
    everything = (1 << next(count for since, count in reversed(SINCE.items()) if known >= since)) - 1
    attributes = struct.pack(
        "=QQQ", everything, ALL_OF_TCP if known >= 4 else 0, SIGNALS_AND_SOCKETS if known >= KNOWS_SIGNALS else 0
    )[: 24 if known >= KNOWS_SIGNALS else 16 if known >= 4 else 8]
    rules = _call(CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), 0)
    for paths, rights in (
        (readable, EXECUTE | READ_FILE | READ_DIR),
        (listable, READ_DIR),
        (writable, everything),
    ):
        for path in paths:
            if path.exists():
                _allow(rules, path, rights & everything)
    prctl(NO_NEW_PRIVILEGES, 1)
    _call(RESTRICT_SELF, rules, 0)
    os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = rights if path.is_dir() else rights & OF_FILES
        _call(ADD_RULE, rules, PATH_BENEATH, ctypes.c_char_p(struct.pack("=Qi", rights, place)), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments) -> int:
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise error("landlock")
    return result
