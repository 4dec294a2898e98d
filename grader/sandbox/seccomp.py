"""Seccomp (Linux 3.17 and later): system calls that reach into other processes fail, here and in all that is started.

A worker has the user of whoever grades, unless it was given one of its own; so it could signal, stop, slow down or
trace every process of that user, and Landlock keeps only signals in, since its version 6. The numbers are those of the
system call tables and of linux/seccomp.h, linux/bpf_common.h, linux/audit.h.
"""

import ctypes
import errno
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from grader.sandbox.linux import SECCOMP, prctl

FILTER = 2  # SECCOMP_MODE_FILTER
ALLOW, ERROR = 0x7FFF0000, 0x00050000
FAIL, UNSUPPORTED = ERROR | errno.EPERM, ERROR | errno.EOPNOTSUPP
PRETEND = ERROR  # number 0: nothing is done, and all is well
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # where they are in struct seccomp_data
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NONE = -1
ALL = 0xFFFFFFFF  # kill's -1
CHILD_ENDED, PARENT_DEATH_SIGNAL = 17, 1  # SIGCHLD; prctl's
OTHER_CALLS = 0x40000000  # from here on those of the x32 interface
SET_OWNER, SET_SIGNAL, SET_OWNER_TOO = 8, 10, 15  # fcntl's
SEND_SIGNALS = (0x5452, 0x8901, 0x8902)  # ioctl's FIOASYNC, FIOSETOWN, SIOCSPGRP


ATTRIBUTES = (
    *((90, NONE), (91, 52), (268, 53), (452, 452)),  # chmod, fchmod, fchmodat, fchmodat2
    *((92, NONE), (93, 55), (94, NONE), (260, 54)),  # chown, fchown, lchown, fchownat
    *((132, NONE), (235, NONE), (261, NONE), (280, 88)),  # utime, utimes, futimesat, utimensat
    *((188, 5), (189, 6), (190, 7), (197, 14), (198, 15), (199, 16)),  # setxattr, removexattr, and their kin
)


class Rule(NamedTuple):
    """A call fails unless its argument is one of these; without an argument it always fails.

    never:   the other way round: it fails if the argument is one of these
    instead: what becomes of a call that is not let through
    """

    x86_64: int
    aarch64: int  # NONE where there is no such call
    argument: int | None = None
    only: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    instead: int = FAIL


def rules(own: int, signals: bool) -> list[Rule]:
    """own: the worker's process id; 0 is whoever asks

    signals: programs that it started may be sent some, since other walls keep them from reaching further
    """
    return [
        Rule(62, 129, 0, never=(ALL,)) if signals else Rule(62, 129, 0, (0, own)),  # kill
        Rule(200, 130),  # tkill
        Rule(234, 131, 0, (own,)),  # tgkill
        Rule(129, 138, 0, (own,)),  # rt_sigqueueinfo
        Rule(297, 240, 0, (own,)),  # rt_tgsigqueueinfo
        Rule(424, 424),  # pidfd_send_signal
        Rule(72, 25, 1, never=(SET_OWNER, SET_SIGNAL, SET_OWNER_TOO)),  # fcntl
        Rule(16, 29, 1, never=SEND_SIGNALS),  # ioctl
        Rule(101, 117),  # ptrace
        Rule(310, 270),  # process_vm_readv
        Rule(311, 271),  # process_vm_writev
        Rule(302, 261, 0, (0, own)),  # prlimit64
        Rule(141, 140, 0, (0,)),  # setpriority, of processes; and see below
        Rule(141, 140, 1, (0, own)),
        Rule(142, 118, 0, (0, own)),  # sched_setparam
        Rule(144, 119, 0, (0, own)),  # sched_setscheduler
        Rule(203, 122, 0, (0, own)),  # sched_setaffinity
        Rule(314, 274, 0, (0, own)),  # sched_setattr
        Rule(251, 30, 1, (0, own)),  # ioprio_set
        Rule(256, 238),  # migrate_pages
        Rule(272, 97),  # unshare
        Rule(308, 268),  # setns
        Rule(425, 425),  # io_uring_setup, which does what it is asked behind the filter's back
        # What was stopped while others are timed is to stay so: no timer wakes it, and no parent's end.
        Rule(222, 107),  # timer_create
        Rule(157, 167, 0, never=(PARENT_DEATH_SIGNAL,), instead=PRETEND),  # prctl
        # Children's processor time is their parent's once they are waited for, so nobody is spared the waiting.
        Rule(13, 134, 1, never=(0,), instead=ALLOW),  # rt_sigaction, which only asks
        Rule(13, 134, 0, never=(CHILD_ENDED,), instead=PRETEND),
        # All that it starts stays in one group, and ends with one signal.
        Rule(112, 157, instead=PRETEND),  # setsid
        Rule(109, 154, instead=PRETEND),  # setpgid
        # Keys of whoever grades, to files and services elsewhere.
        Rule(248, 217),  # add_key
        Rule(249, 218),  # request_key
        Rule(250, 219),  # keyctl
        # Sockets lead to services of the same user, which may start programs outside. A socketpair may stay.
        Rule(41, 198),  # socket
        Rule(42, 203),  # connect
        Rule(49, 200),  # bind
        Rule(44, 206, 5, (0,)),  # sendto, with an address
        Rule(46, 211),  # sendmsg
        Rule(307, 269),  # sendmmsg
        # Memory that outlives whoever took it.
        Rule(29, 194),  # shmget
        Rule(64, 190),  # semget
        Rule(68, 186),  # msgget
        Rule(240, 180),  # mq_open
        Rule(319, 279),  # memfd_create: mapped and closed, it would be charged to nobody
        Rule(447, 447),  # memfd_secret
        # Landlock knows nothing of modes, owners, times and attributes, and early versions nothing of truncate. What
        # copies files may try to set them, and need not know that it did not.
        # Now for a time, as touch asks, is no copy's: it may fail, and the file is opened or made instead.
        Rule(280, 88, 2, never=(0,)),  # utimensat
        *(Rule(*numbers, instead=PRETEND) for numbers in ATTRIBUTES),
        Rule(86, NONE),  # link: names without end for one file, which no limit counts
        Rule(265, 37),  # linkat
        Rule(76, 45),  # truncate, by path
        # A disk would be full at once, sooner than anybody looks. Where there is no such call, C's library writes.
        Rule(285, 47, instead=UNSUPPORTED),  # fallocate
    ]


def restrict(signals: bool = False) -> None:
    """From now on, for this process and all that it starts. It has to have given up new privileges before.

    signals: as in rules
    raises:  OSError
    """
    program = _program(rules(os.getpid(), signals), os.uname().machine)
    code = ctypes.create_string_buffer(program)
    header = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    prctl(SECCOMP, FILTER, ctypes.c_char_p(header))


def works() -> bool:
    """Whether this machine can do it, found out by a process that does it and then asks for what it may not have."""
    if os.uname().machine not in ARCHITECTURES:
        return False
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from grader.sandbox import linux
from grader.sandbox import seccomp
linux.prctl(linux.NO_NEW_PRIVILEGES, 1)
seccomp.restrict()
os.kill(os.getpid(), 0)
try:
    os.kill(os.getppid(), 0)
except PermissionError:
    sys.exit(42)
"""
    try:
        return (
            subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, timeout=20).returncode == 42
        )
    except (OSError, subprocess.SubprocessError):
        return False


def _program(chosen: list[Rule], machine: str) -> bytes:
    """The filter: of the calls that are named those fail that the rules say; all others are none of its business."""
    code = [
        _step(LOAD, ARCHITECTURE),
        _step(JUMP_IF_EQUAL, ARCHITECTURES[machine], 1, 0),
        _step(RETURN, FAIL),
        _step(LOAD, NUMBER),
        _step(JUMP_IF_AT_LEAST, OTHER_CALLS, 0, 1),
        _step(RETURN, FAIL),
    ]
    for rule in chosen:
        if getattr(rule, machine) == NONE:
            continue
        body = _body(rule)
        code += [_step(JUMP_IF_EQUAL, getattr(rule, machine), 0, len(body)), *body]
    return b"".join([*code, _step(RETURN, ALLOW)])


def _body(rule: Rule) -> list[bytes]:
    """What is asked about one call; it ends with the call's number loaded again, or not at all."""
    if rule.argument is None:
        return [_step(RETURN, rule.instead)]
    values = rule.only or rule.never
    here, there = (1, 0) if rule.only else (0, 1)  # how many steps over the failure, when equal and when not
    tests = []
    for k, value in enumerate(values):
        left = len(values) - 1 - k  # tests after this one
        if rule.only:
            tests.append(_step(JUMP_IF_EQUAL, value, left + here, 0))
        else:
            tests.append(_step(JUMP_IF_EQUAL, value, left, there if left == 0 else 0))
    return [
        _step(LOAD, ARGUMENTS + 8 * rule.argument),  # its lower half: all of these are ints
        *tests,
        _step(RETURN, rule.instead),
        _step(LOAD, NUMBER),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
