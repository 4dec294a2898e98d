"""What a process behind the filter cannot do to those around it, whoever's they are, and what it still can."""

import os
import subprocess
import sys

import pytest

from grader.sandbox import seccomp
from tests.project import graded

BEGIN = f"""
import ctypes, fcntl, os, resource, signal, socket, subprocess, sys, threading
sys.path.insert(0, {str(graded.ROOT)!r})
from grader.sandbox import linux, seccomp
other = subprocess.Popen(["sleep", "5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
linux.prctl(linux.NO_NEW_PRIVILEGES, 1)
seccomp.restrict()
libc, target, me = ctypes.CDLL(None, use_errno=True), other.pid, os.getpid()

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")

def own_the_signals_of(pid):
    one, other = socket.socketpair()
    fcntl.fcntl(one, fcntl.F_SETOWN, pid)
"""
FORBIDDEN = {
    "a signal": "os.kill(target, 0)",
    "a signal to a group": "os.killpg(os.getpgid(target), 0)",
    "a signal to a thread": "call(234 if x86 else 131, target, target, 0)",
    "a signal through a descriptor": "signal.pidfd_send_signal(os.pidfd_open(target), 0)",
    "signals by files": "own_the_signals_of(target)",
    "signals by sockets": "fcntl.ioctl(socket.socketpair()[0], 0x8902, target.to_bytes(4, 'little'))",
    "priority": "os.setpriority(os.PRIO_PROCESS, target, 1)",
    "priority of a user": "os.setpriority(os.PRIO_USER, 0, os.getpriority(os.PRIO_USER, 0))",
    "cores": "os.sched_setaffinity(target, {0})",
    "scheduling": "os.sched_setscheduler(target, os.SCHED_BATCH, os.sched_param(0))",
    "limits": "resource.prlimit(target, resource.RLIMIT_CPU, (1, 1))",
    "tracing": "call(101 if x86 else 117, 16, target, 0, 0)",
    "its memory": "call(310 if x86 else 270, target, 0, 0, 0, 0, 0)",
    "services": "socket.socket(socket.AF_UNIX)",
    "services by another way": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', '/nowhere/socket')",
    "memory that stays": "call(29 if x86 else 194, 0, 0, 0)",
    "files, by their path": "os.truncate('/nowhere/file', 0)",
    "timers that wake": "call(222 if x86 else 107, 0, 0, ctypes.byref(ctypes.c_int()))",
    "keys": "call(250 if x86 else 219, 0, -3, 1)",
    "memory without a name": "os.memfd_create('x')",
    "names without end": "os.link('/nowhere/one', '/nowhere/other')",
    "namespaces": "call(272 if x86 else 97, 0x10000000)",
}
ALLOWED = {
    "its own signals": "os.kill(me, 0); os.kill(0, 0); signal.raise_signal(signal.SIGCHLD)",
    "its own priority": "os.nice(1); os.setpriority(os.PRIO_PROCESS, 0, 2)",
    "its own cores": "os.sched_setaffinity(0, os.sched_getaffinity(0))",
    "its own limits": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
    "threads": "t = threading.Thread(target=print); t.start(); t.join()",
    "programs": "subprocess.run([sys.executable, '-c', 'print(1)'], check=True)",
    "pairs of sockets": "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'",
    "files": "f = open(os.devnull); fcntl.fcntl(f, fcntl.F_SETFL, os.O_NONBLOCK); f.close()",
}
needs_seccomp = pytest.mark.skipif(not seccomp.works(), reason="this machine has no seccomp")


def within(code: str, wall: str = "seccomp.restrict()") -> subprocess.CompletedProcess:
    begin = BEGIN.replace("seccomp.restrict()", wall) + f"x86 = {os.uname().machine == 'x86_64'}\n"
    return subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=30)


def check_done(code: str) -> None:
    """It comes to its end behind the wall."""
    done = within(code)
    assert done.returncode == 0, done.stderr


@needs_seccomp
@pytest.mark.parametrize("what", FORBIDDEN)
def test_other_processes_are_out_of_reach(what):
    done = within(f"try:\n    {FORBIDDEN[what]}\nexcept PermissionError:\n    sys.exit(42)")
    assert done.returncode == 42, done.stderr


@needs_seccomp
@pytest.mark.parametrize("what", FORBIDDEN)
def test_without_the_wall_each_of_these_is_possible_or_refused_for_another_reason(what):
    """Else the test above would show nothing."""
    code = f"try:\n    {FORBIDDEN[what]}\nexcept PermissionError:\n    sys.exit(42)\nexcept OSError:\n    pass"
    assert within(code, wall="").returncode != 42


@needs_seccomp
@pytest.mark.parametrize("what", ALLOWED)
def test_a_process_may_do_as_it_likes_with_itself(what):
    check_done(ALLOWED[what])


@needs_seccomp
def test_modes_and_times_stay_as_they_are_and_nobody_is_the_wiser(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o640)
    os.utime(file, (5, 5))
    code = f"import shutil\nfile = {str(file)!r}\nos.chmod(file, 0)\nos.utime(file, (9, 9))\nos.chown(file, 1, 1)\n"
    code += f"shutil.copy2(file, {str(tmp_path / 'copy')!r})"
    check_done(code)
    status = file.stat()
    assert (status.st_mode & 0o777, status.st_mtime, status.st_uid) == (0o640, 5, os.geteuid())
    assert (tmp_path / "copy").read_text() == "x"


@needs_seccomp
def test_touch_makes_a_file(tmp_path):
    check_done(f"import pathlib\nfor _ in range(2):\n    pathlib.Path({str(tmp_path / 'new')!r}).touch()")
    assert (tmp_path / "new").exists()


@needs_seccomp
def test_nobody_hides_the_time_that_its_children_took():
    code = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nbefore = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    code += "subprocess.run([sys.executable, '-c', 'sum(range(10_000_000))'])\n"
    code += "assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > before.ru_utime + 0.05"
    check_done(code)
    assert within(code, wall="").returncode == 1


@needs_seccomp
def test_nobody_leaves_the_group():
    code = "group = os.getpgid(0)\nchild = 'import os; os.setsid(); print(os.getpgid(0))'\n"
    code += "said = subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout\n"
    code += "assert int(said) == group, said"
    check_done(code)


@needs_seccomp
def test_programs_of_its_own_may_be_ended_where_other_walls_keep_signals_in():
    code = "own = subprocess.Popen(['sleep', '2'])\nown.terminate()\nassert own.wait(5) == -15\n"
    code += "try:\n    os.kill(-1, 0)\nexcept PermissionError:\n    sys.exit(42)"
    assert within(code, wall="seccomp.restrict(signals=True)").returncode == 42
    assert within(code).returncode == 1


@needs_seccomp
def test_room_on_a_disk_is_not_had_in_a_moment(tmp_path):
    code = f"file = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_RDWR)\n"
    code += "try:\n    call(285 if x86 else 47, file, 0, 0, 1 << 20)\n"
    code += "except OSError:\n    os.posix_fallocate(file, 0, 1 << 20)\n    sys.exit(42)"
    done = within(code)
    assert done.returncode == 42 and (tmp_path / "file").stat().st_size == 1 << 20, done.stderr


@needs_seccomp
def test_an_abort_is_still_one():
    assert within("os.abort()").returncode == -6
