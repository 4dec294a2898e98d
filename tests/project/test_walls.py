"""What a worker cannot do to the processes around it, whoever's they are, and what it still can."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grader import scratch
from grader.boundary import Lost, Student
from grader.sandbox import landlock, processes, seccomp, walls, warden
from grader.sandbox.remote import RemoteStudent
from grader.sandbox.station import STIRRED
from grader.sandbox.warden import _Disk
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
KINDS = (processes.Linux, processes.Anywhere)
needs_seccomp = pytest.mark.skipif(not seccomp.works(), reason="this machine has no seccomp")


def within(code: str) -> subprocess.CompletedProcess:
    x86 = f"x86 = {os.uname().machine == 'x86_64'}\n"
    return subprocess.run([sys.executable, "-c", BEGIN + x86 + code], capture_output=True, text=True, timeout=30)


@needs_seccomp
@pytest.mark.parametrize("what", FORBIDDEN)
def test_other_processes_are_out_of_reach(what):
    done = within(f"try:\n    {FORBIDDEN[what]}\nexcept PermissionError:\n    sys.exit(42)")
    assert done.returncode == 42, done.stderr


@needs_seccomp
@pytest.mark.parametrize("what", FORBIDDEN)
def test_without_the_wall_each_of_these_is_possible_or_refused_for_another_reason(what):
    """Else the test above would show nothing."""
    code = BEGIN.replace("seccomp.restrict()", "") + f"x86 = {os.uname().machine == 'x86_64'}\n"
    code += f"try:\n    {FORBIDDEN[what]}\nexcept PermissionError:\n    sys.exit(42)\nexcept OSError:\n    pass"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode != 42


@needs_seccomp
@pytest.mark.parametrize("what", ALLOWED)
def test_a_process_may_do_as_it_likes_with_itself(what):
    done = within(ALLOWED[what])
    assert done.returncode == 0, done.stderr


@needs_seccomp
def test_modes_and_times_stay_as_they_are_and_nobody_is_the_wiser(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o640)
    os.utime(file, (5, 5))
    code = f"import shutil\nfile = {str(file)!r}\nos.chmod(file, 0)\nos.utime(file, (9, 9))\nos.chown(file, 1, 1)\n"
    code += f"shutil.copy2(file, {str(tmp_path / 'copy')!r})"
    done = within(code)
    assert done.returncode == 0, done.stderr
    status = file.stat()
    assert (status.st_mode & 0o777, status.st_mtime, status.st_uid) == (0o640, 5, os.geteuid())
    assert (tmp_path / "copy").read_text() == "x"


@needs_seccomp
def test_touch_makes_a_file(tmp_path):
    done = within(f"import pathlib\nfor _ in range(2):\n    pathlib.Path({str(tmp_path / 'new')!r}).touch()")
    assert done.returncode == 0 and (tmp_path / "new").exists(), done.stderr


@needs_seccomp
def test_nobody_hides_the_time_that_its_children_took():
    code = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nbefore = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    code += "subprocess.run([sys.executable, '-c', 'sum(range(10_000_000))'])\n"
    code += "assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > before.ru_utime + 0.05"
    done = within(code)
    assert done.returncode == 0, done.stderr
    without = subprocess.run([sys.executable, "-c", BEGIN.replace("seccomp.restrict()", "") + code], timeout=30)
    assert without.returncode == 1


@needs_seccomp
def test_nobody_leaves_the_group():
    code = "group = os.getpgid(0)\nchild = 'import os; os.setsid(); print(os.getpgid(0))'\n"
    code += "said = subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout\n"
    code += "assert int(said) == group, said"
    done = within(code)
    assert done.returncode == 0, done.stderr


@needs_seccomp
def test_programs_of_its_own_may_be_ended_where_other_walls_keep_signals_in():
    code = "own = subprocess.Popen(['sleep', '9'])\nown.terminate()\nassert own.wait(5) == -15\n"
    code += "try:\n    os.kill(-1, 0)\nexcept PermissionError:\n    sys.exit(42)"
    begin = BEGIN.replace("seccomp.restrict()", "seccomp.restrict(signals=True)")
    assert subprocess.run([sys.executable, "-c", begin + code], timeout=30).returncode == 42
    assert within(code).returncode == 1


@needs_seccomp
@pytest.mark.timeout(60)
def test_a_worker_ends_what_it_started_and_hears_why_it_may_not_have_more(tmp_path):
    (tmp_path / "ex01_x.py").write_text(
        "import subprocess\n"
        "def ends():\n    p = subprocess.Popen(['sleep', '30'])\n    p.terminate()\n    return p.wait(5)\n"
        "def outside():\n    open('/usr/x', 'w')\n"
        "class Bad(ArithmeticError, ValueError): pass\n"
        "def both():\n    raise Bad('two kinds at once')\n"
        "def says():\n    print('here I am')\n    raise Bad\n"
    )
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    try:
        with pytest.raises(PermissionError) as denied:
            student.outside()
        assert "behind walls" in "".join(denied.value.__notes__)
        with pytest.raises(ArithmeticError) as both:
            student.both()
        assert isinstance(both.value, ValueError)
        if walls.best().uid is not None or landlock.keeps_signals_in():
            assert student.ends() == -15
    finally:
        student.close()


@needs_seccomp
@pytest.mark.timeout(60)
def test_threads_are_counted_and_prints_come_at_once(tmp_path, capsys):
    (tmp_path / "ex01_x.py").write_text(
        "import threading, time\n"
        "def says():\n    print('here I am')\n"
        "def many():\n    for _ in range(400):\n        threading.Thread(target=time.sleep, args=(20,)).start()\n"
        "    time.sleep(20)\n"
    )
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    try:
        student.says()
        assert "here I am" in capsys.readouterr().out
        with pytest.raises(Lost, match="more than 256 threads"):
            student.many()
    finally:
        student.close()


@needs_seccomp
@pytest.mark.timeout(60)
def test_what_is_stopped_stands_still(tmp_path):
    """Also where a program that is not stopped yet sets others going again."""
    (tmp_path / "ex01_x.py").write_text(
        "import os, signal, subprocess, sys\n"
        "BURN = 'import os, signal\\nwhile True: os.kill(0, signal.SIGCONT)'\n"
        "def start():\n    for _ in range(3): subprocess.Popen([sys.executable, '-c', BURN])\n"
    )
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    try:
        student.start()
        time.sleep(0.5)
        cell = student._home.student._cell
        before = cell.pause()
        time.sleep(1)
        assert cell.cpu_seconds() - before < STIRRED
        cell.resume()
        time.sleep(0.5)
        assert cell.cpu_seconds() - before > 0.1
    finally:
        student.close()


@needs_seccomp
def test_room_on_a_disk_is_not_had_in_a_moment(tmp_path):
    code = f"file = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_RDWR)\n"
    code += "try:\n    call(285 if x86 else 47, file, 0, 0, 1 << 20)\n"
    code += "except OSError:\n    os.posix_fallocate(file, 0, 1 << 20)\n    sys.exit(42)"
    done = within(code)
    assert done.returncode == 42 and (tmp_path / "file").stat().st_size == 1 << 20, done.stderr


@pytest.mark.timeout(60)
def test_a_worker_has_its_own_files_and_no_others(tmp_path):
    (tmp_path / "ex01_x.py").write_text(
        "import os\ndef links():\n    names = os.listdir('/proc/self/fd')\n"
        "    return [os.readlink('/proc/self/fd/' + n) for n in names if os.path.lexists('/proc/self/fd/' + n)]\n"
    )
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    links = student.links()
    student.close()
    kinds = sorted(link.partition(":")[0] for link in links)
    assert kinds == sorted(["/dev/null", "pipe", "pipe", "socket", "/memfd"]), links


@needs_seccomp
def test_an_abort_is_still_one():
    assert within("os.abort()").returncode == -6


def test_the_tier_says_what_there_is(monkeypatch):
    built = walls.best()
    assert ("Landlock" in built.tier) == built.landlock and ("seccomp" in built.tier) == built.seccomp
    assert ("user" in built.tier) == (built.uid is not None) or "practice only" in built.tier


@pytest.mark.parametrize("reads_answers", [False, True])
def test_a_user_who_can_read_the_answers_is_no_wall(monkeypatch, reads_answers):
    monkeypatch.setattr(walls.sys, "platform", "linux")
    monkeypatch.setattr(walls.landlock, "version", lambda: 0)
    monkeypatch.setattr(walls.os, "geteuid", lambda: 0)
    monkeypatch.setattr(walls, "_succeeds", lambda uid, code, *paths: not (reads_answers and code is walls.LOOK))
    built = walls.best()
    assert ("practice only" in built.tier, built.uid is None) == (reads_answers, reads_answers)


def test_everybody_has_a_user_and_the_suites_workers_have_others():
    built = walls.Walls("separate user", False, walls.FIRST_UID + walls.UIDS - 2)
    everybody = [built.of_its_own(number) for number in range(5)]
    users = [w.uid for one in everybody for w in (one, one.for_the_suite())]
    assert len(set(users)) == 10 and min(users) >= walls.FIRST_UID
    assert walls.PRACTICE.of_its_own(3) == walls.PRACTICE.for_the_suite() == walls.PRACTICE


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_without_any_wall_it_is_practice_and_says_so(monkeypatch, system):
    monkeypatch.setattr(walls.sys, "platform", system)
    monkeypatch.setattr(walls.landlock, "version", lambda: 0)
    monkeypatch.setattr(walls.seccomp, "works", lambda: False)
    monkeypatch.setattr(walls, "_succeeds", lambda *_: False)
    built = walls.best()
    assert "practice only" in built.tier and not built.apart


@pytest.mark.timeout(60)
def test_what_is_in_the_scratch_folder_is_the_suites_or_the_students(tmp_path):
    (tmp_path / "ex01_x.py").write_text("import os\ndef main(argv):\n    print(os.listdir(*argv))\n")
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    student.files.write("given", b"")
    ran = student.run([student.files.path()])
    student.close()
    assert ran.stdout == "['given']\n"


@pytest.mark.timeout(60)
def test_a_worker_begins_in_a_folder_of_its_own_that_looks_like_the_projects(tmp_path):
    (tmp_path / "ex01_x.py").write_text(
        "import os, tempfile\ndef main(argv):\n    print(sorted(os.listdir()))\n    here = os.getcwd()\n"
        "    assert here == os.path.expanduser('~') == tempfile.gettempdir()\n"
        "    open('log', 'x').close()\n    open('llm/checkpoint/card.json').close()\n"
        "    open('exercises/ex01_x.py').close()\n    print(here)\n"
    )
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    names, here = student.run([]).stdout.splitlines()
    assert names == "['exercises', 'llm']" and student.files.names() == [] and Path(here, "log").exists()
    student.close()
    assert not Path(here).exists()


@pytest.mark.timeout(60)
def test_a_fresh_process_has_one_file_and_nothing_else(tmp_path):
    (tmp_path / "ex01_x.py").write_text(
        "import os\ndef main(argv):\n    pass\n"
        "def load(path):\n    folder, name = os.path.split(path)\n"
        "    return [os.listdir(folder), open(path).read()]\n"
    )
    for student in (Student(tmp_path, "ex01_x"), RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)):
        student.files.write("below/one.pt", b"one")
        student.files.write("below/other.pt", b"other")
        alone, text = student.fresh("load", "below/one.pt")
        assert (alone, text) == (["one.pt"], "one")
        student.close()


# ---- processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def family():
    """A process with a child, both below this one; and their ids."""
    code = "import subprocess, time; subprocess.Popen(['sleep', '30'])\nwhile time.process_time() < 1.5: pass\n"
    code += "print('ready', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    yield process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_two_ways_to_look_see_the_same_processes(family):
    before = processes.Linux().seconds([])  # of what ended before
    seen = {kind: [pid for pid in kind().below(family) if _group(pid) == family] for kind in KINDS}
    assert all(len(pids) == 2 and family in pids for pids in seen.values())
    assert set(seen[processes.Linux]) == set(seen[processes.Anywhere])
    held = [kind().held(pids) for kind, pids in seen.items()]
    assert held[0] > 1 << 20 and abs(held[0] - held[1]) < 1 << 20
    seconds = [kind().seconds(pids) for kind, pids in seen.items()]
    assert 1.4 < seconds[0] - before < 3 and 1 <= seconds[1] - before < 3  # ps tells whole seconds on Linux


def test_an_orphan_of_the_group_is_still_seen(family):
    child = next(pid for pid in processes.Anywhere().below(family) if pid != family and _group(pid) == family)
    os.kill(family, signal.SIGKILL)
    while os.waitid(os.P_PID, family, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        pass
    assert child in processes.Anywhere().below(family)


@pytest.mark.parametrize(
    "text, seconds", [("0:01.23", 1.23), ("01:02", 62), ("01:02:03", 3723), ("2-01:02:03", 2 * 86_400 + 3723)]
)
def test_the_time_that_ps_tells(text, seconds):
    assert processes._clock(text) == pytest.approx(seconds)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


# ---- the disk --------------------------------------------------------------------------------------------------------


def _lost_much(folder) -> _Disk:
    """Of a disk that has lost a terabyte, to whomever, since the worker began."""
    disk = _Disk([str(folder)], 1 << 20)
    disk._bytes += 1 << 40
    return disk


def test_only_ones_own_files_count(tmp_path):
    assert not _lost_much(tmp_path).is_full(lambda: 0)
    (tmp_path / "file").write_bytes(b"x" * (2 << 20))
    assert _lost_much(tmp_path).is_full(lambda: 0)
    assert not _Disk([str(tmp_path)], 1 << 40).is_full(
        lambda: 1 << 50
    )  # nobody looks before the disk has lost anything


def test_files_that_were_deleted_count_as_well(tmp_path):
    assert _lost_much(tmp_path).is_full(lambda: 2 << 20)


def test_what_is_in_any_of_the_folders_counts(tmp_path):
    folders = [tmp_path / "own", tmp_path / "scratch"]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_bytes(b"x" * (700 << 10))
    disk = _Disk([str(folder) for folder in folders], 1 << 20)
    disk._bytes += 1 << 40
    assert disk.is_full(lambda: 0) and not _lost_much(folders[0]).is_full(lambda: 0)


def test_a_folder_too_deep_to_look_into_is_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(20):
        os.mkdir("x" * 250)
        os.chdir("x" * 250)
    os.chdir(tmp_path)
    assert _lost_much(tmp_path).is_full(lambda: 0)
    scratch.discard(tmp_path / ("x" * 250))


def test_who_goes_on_is_stopped_again(monkeypatch):
    """By another one that was not stopped yet, for instance."""
    sent, seen = [], iter([[7, 8], [7], []])
    kind = processes.Linux()
    monkeypatch.setattr(kind, "below", lambda worker: [7, 8])
    monkeypatch.setattr(kind, "moving", lambda pids: next(seen))
    monkeypatch.setattr(warden, "_signal", lambda pids, number: sent.append((list(pids), number)))
    warden._stop(7, kind)
    assert sent == [([7, 8], signal.SIGSTOP), ([7], signal.SIGSTOP)]


@pytest.mark.timeout(60)
def test_a_workers_end_is_heard_of_where_nobody_cares_for_children(tmp_path):
    (tmp_path / "ex01_x.py").write_text("import os\ndef end():\n    os._exit(3)\n")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
        with pytest.raises(Lost, match="exit code 3"):
            student.end()
        student.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


@needs_seccomp
@pytest.mark.timeout(60)
def test_why_all_is_over_is_known_whoever_hears_it_first(tmp_path):
    (tmp_path / "ex01_x.py").write_text(
        "import subprocess\ndef start():\n    for _ in range(20): subprocess.Popen(['sleep', '20'])\n"
    )
    student = RemoteStudent(tmp_path, "ex01_x", walls.best(), 1)
    station = student._home.student
    with pytest.raises(Lost, match="more than 16 processes"):
        student.start()
        time.sleep(1)
        station.pause()
        station.pause()
    student.close()


def test_a_landlock_that_lets_no_file_be_moved_is_none(monkeypatch):
    for found, version in ((-1, 0), (1, 0), (2, 2), (7, 7)):
        monkeypatch.setattr(landlock.libc, "syscall", lambda *_, found=found: found)
        assert landlock.version() == version
