"""Which walls there are, and what a worker has behind them."""

from pathlib import Path

import pytest

from grader.sandbox import landlock, policy
from grader.sandbox.sandboxed_student import SandboxedStudent
from grader.suite.local_student import LocalStudent
from tests.project.sandbox.test_seccomp import needs_seccomp


@needs_seccomp
@pytest.mark.timeout(60)
def test_a_worker_ends_what_it_started_and_hears_why_it_may_not_have_more(behind_walls):
    student = behind_walls(
        "import subprocess\n"
        "def ends():\n    p = subprocess.Popen(['sleep', '30'])\n    p.terminate()\n    return p.wait(5)\n"
        "def outside():\n    open('/usr/x', 'w')\n"
        "class Bad(ArithmeticError, ValueError): pass\n"
        "def both():\n    raise Bad('two kinds at once')\n"
    )
    with pytest.raises(PermissionError) as denied:
        student.outside()
    assert "behind walls" in "".join(denied.value.__notes__)
    with pytest.raises(ArithmeticError) as both:
        student.both()
    assert isinstance(both.value, ValueError)
    if policy.best().uid is not None or landlock.keeps_signals_in():
        assert student.ends() == -15


@pytest.mark.timeout(60)
def test_a_worker_has_its_own_files_and_no_others(behind_walls):
    student = behind_walls(
        "import os\ndef links():\n    names = os.listdir('/proc/self/fd')\n"
        "    return [os.readlink('/proc/self/fd/' + n) for n in names if os.path.lexists('/proc/self/fd/' + n)]\n"
    )
    links = student.links()
    student.close()
    kinds = sorted(link.partition(":")[0] for link in links)
    assert kinds == sorted(["/dev/null", "pipe", "pipe", "socket", "/memfd"]), links


def test_the_tier_says_what_there_is(monkeypatch):
    built = policy.best()
    assert ("Landlock" in built.tier) == built.landlock and ("seccomp" in built.tier) == built.seccomp
    assert ("user" in built.tier) == (built.uid is not None) or "practice only" in built.tier


@pytest.mark.parametrize("reads_answers", [False, True])
def test_a_user_who_can_read_the_answers_is_no_wall(monkeypatch, reads_answers):
    monkeypatch.setattr(policy.sys, "platform", "linux")
    monkeypatch.setattr(policy.landlock, "version", lambda: 0)
    monkeypatch.setattr(policy.os, "geteuid", lambda: 0)
    monkeypatch.setattr(policy, "_succeeds", lambda uid, code, *paths: not (reads_answers and code is policy.LOOK))
    built = policy.best()
    assert ("practice only" in built.tier, built.uid is None) == (reads_answers, reads_answers)


def test_everybody_has_a_user_and_the_suites_workers_have_others():
    built = policy.Walls("separate user", False, policy.FIRST_UID + policy.UIDS - 2)
    everybody = [built.of_its_own(number) for number in range(5)]
    users = [w.uid for one in everybody for w in (one, one.for_the_suite())]
    assert len(set(users)) == 10 and min(users) >= policy.FIRST_UID
    assert policy.PRACTICE.of_its_own(3) == policy.PRACTICE.for_the_suite() == policy.PRACTICE


@pytest.mark.parametrize("system", ["darwin", "linux"])
def test_without_any_wall_it_is_practice_and_says_so(monkeypatch, system):
    monkeypatch.setattr(policy.sys, "platform", system)
    monkeypatch.setattr(policy.landlock, "version", lambda: 0)
    monkeypatch.setattr(policy.seccomp, "works", lambda: False)
    monkeypatch.setattr(policy, "_succeeds", lambda *_: False)
    built = policy.best()
    assert "practice only" in built.tier and not built.apart


@pytest.mark.timeout(60)
def test_what_is_in_the_scratch_folder_is_the_suites_or_the_students(behind_walls):
    student = behind_walls("import os\ndef main(argv):\n    print(os.listdir(*argv))\n")
    student.files.write("given", b"")
    ran = student.run([student.files.path()])
    student.close()
    assert ran.stdout == "['given']\n"


@pytest.mark.timeout(60)
def test_a_worker_begins_in_a_folder_of_its_own_that_looks_like_the_projects(behind_walls):
    student = behind_walls(
        "import os, tempfile\ndef main(argv):\n    print(sorted(os.listdir()))\n    here = os.getcwd()\n"
        "    assert here == os.path.expanduser('~') == tempfile.gettempdir()\n"
        "    open('log', 'x').close()\n    open('llm/checkpoint/card.json').close()\n"
        "    open('exercises/ex01_x.py').close()\n    print(here)\n"
    )
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
    for student in (LocalStudent(tmp_path, "ex01_x"), SandboxedStudent(tmp_path, "ex01_x", policy.best(), 1)):
        student.files.write("below/one.pt", b"one")
        student.files.write("below/other.pt", b"other")
        alone, text = student.fresh("load", "below/one.pt")
        assert (alone, text) == (["one.pt"], "one")
        student.close()


def test_a_landlock_that_lets_no_file_be_moved_is_none(monkeypatch):
    for found, version in ((-1, 0), (1, 0), (2, 2), (7, 7)):
        monkeypatch.setattr(landlock.libc, "syscall", lambda *_, found=found: found)
        assert landlock.version() == version
