"""What the kernel offers and Python does not: prctl, by the numbers of linux/prctl.h."""

import ctypes
import os

PARENT_DEATH_SIGNAL, DUMPABLE, SECCOMP, DROP_CAPABILITY, SUBREAPER, NO_NEW_PRIVILEGES = 1, 4, 22, 24, 36, 38

libc = ctypes.CDLL(None, use_errno=True)


def prctl(number: int, *arguments) -> None:
    """raises: OSError"""
    if libc.prctl(number, *arguments, *[0] * (4 - len(arguments))) < 0:
        raise error(f"prctl {number}")


def error(what: str) -> OSError:
    """Why the last call failed."""
    return OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
