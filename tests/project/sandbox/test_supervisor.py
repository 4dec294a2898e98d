"""What a supervisor sees of the processes, threads, files and time of its worker, and how it stops and ends them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from grader.results.safe_files import discard
from grader.sandbox import process_table, supervisor
from grader.sandbox.supervisor import _Disk
from grader.sandbox.worker_client import STIRRED
from grader.suite.verdict import ProcessLost
from tests.project.sandbox.test_seccomp import needs_seccomp

KINDS = (process_table.Linux, process_table.Anywhere)


@needs_seccomp
@pytest.mark.timeout(60)
def test_threads_are_counted_and_prints_come_at_once(behind_walls, capsys):
    student = behind_walls(
        "import threading, time\n"
        "def says():\n    print('here I am')\n"
        "def many():\n    for _ in range(400):\n        threading.Thread(target=time.sleep, args=(20,)).start()\n"
        "    time.sleep(20)\n"
    )
    student.says()
    assert "here I am" in capsys.readouterr().out
    with pytest.raises(ProcessLost, match="more than 256 threads"):
        student.many()


@needs_seccomp
@pytest.mark.timeout(60)
def test_what_is_stopped_stands_still(behind_walls):
    """Also where a program that is not stopped yet sets others going again."""
    student = behind_walls(
        "import os, signal, subprocess, sys\n"
        "BURN = 'import os, signal\\nwhile True: os.kill(0, signal.SIGCONT)'\n"
        "def start():\n    for _ in range(3): subprocess.Popen([sys.executable, '-c', BURN])\n"
    )
    student.start()
    time.sleep(0.5)
    process = student._workers.student._process
    before = process.pause()
    time.sleep(1)
    assert process.cpu_seconds() - before < STIRRED
    process.resume()
    time.sleep(0.5)
    assert process.cpu_seconds() - before > 0.1


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
    before = process_table.Linux().seconds([])  # of what ended before
    seen = {kind: [pid for pid in kind().below(family) if _group(pid) == family] for kind in KINDS}
    assert all(len(pids) == 2 and family in pids for pids in seen.values())
    assert set(seen[process_table.Linux]) == set(seen[process_table.Anywhere])
    held = [kind().held(pids) for kind, pids in seen.items()]
    assert held[0] > 1 << 20 and abs(held[0] - held[1]) < 1 << 20
    seconds = [kind().seconds(pids) for kind, pids in seen.items()]
    assert 1.4 < seconds[0] - before < 3 and 1 <= seconds[1] - before < 3  # ps tells whole seconds on Linux


def test_an_orphan_of_the_group_is_still_seen(family):
    child = next(pid for pid in process_table.Anywhere().below(family) if pid != family and _group(pid) == family)
    os.kill(family, signal.SIGKILL)
    while os.waitid(os.P_PID, family, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        pass
    assert child in process_table.Anywhere().below(family)


@pytest.mark.parametrize(
    "text, seconds", [("0:01.23", 1.23), ("01:02", 62), ("01:02:03", 3723), ("2-01:02:03", 2 * 86_400 + 3723)]
)
def test_the_time_that_ps_tells(text, seconds):
    assert process_table._clock(text) == pytest.approx(seconds)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


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
    discard(tmp_path / ("x" * 250))


def test_who_goes_on_is_stopped_again(monkeypatch):
    """By another one that was not stopped yet, for instance; also where nothing moved for one look."""
    sent, seen = [], iter([[7, 8], [7], [], [8], [], []])
    kind = process_table.Linux()
    monkeypatch.setattr(kind, "below", lambda worker: [7, 8])
    monkeypatch.setattr(kind, "moving", lambda pids: next(seen))
    monkeypatch.setattr(supervisor, "_signal", lambda pids, number: sent.append((list(pids), number)))
    supervisor._stop(7, kind)
    assert [pids for pids, number in sent if number == signal.SIGSTOP and pids] == [[7, 8], [7], [8]]


@pytest.mark.timeout(60)
def test_a_workers_end_is_heard_of_where_nobody_cares_for_children(behind_walls):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        student = behind_walls("import os\ndef end():\n    os._exit(3)\n")
        with pytest.raises(ProcessLost, match="exit code 3"):
            student.end()
        student.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


@needs_seccomp
@pytest.mark.timeout(60)
def test_why_all_is_over_is_known_whoever_hears_it_first(behind_walls):
    student = behind_walls(
        "import subprocess\ndef start():\n    for _ in range(20): subprocess.Popen(['sleep', '20'])\n"
    )
    client = student._workers.student
    with pytest.raises(ProcessLost, match="more than 16 processes"):
        student.start()
        time.sleep(1)
        client.pause()
        client.pause()
    student.close()
