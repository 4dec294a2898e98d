"""What a student's code has in a worker: its own files, and none of anybody else's."""

from pathlib import Path

import pytest

from grader.sandbox import landlock, policy
from grader.sandbox.sandboxed_student import SandboxedStudent
from grader.suite.load_exercise import LoadError
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
    assert "runs in a sandbox" in "".join(denied.value.__notes__)
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
def test_what_is_in_the_scratch_folder_is_the_suites_or_the_students(behind_walls):
    student = behind_walls("import os\ndef main(argv):\n    print(os.listdir(*argv))\n")
    student.files.write("given", b"")
    ran = student.run([student.files.path()])
    student.close()
    assert ran.stdout == "['given']\n"


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


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "source, kind, line, says",
    [
        ("x = 1", "not started", None, "ex01_x.py has no function `f`"),
        ("from .ex00_y import g", "not started", None, "ex01_x.py imports ex00_y.py, which is not in "),
        ("x = (1 +", "import", 1, "'(' was never closed"),
        ("def f(): pass\nf(1)", "import", 2, "raised    TypeError: f() takes 0 positional arguments but 1 was given"),
    ],
    ids=["missing", "needs another", "syntax", "import"],
)
def test_what_cannot_be_called_says_the_same_as_the_local_student(behind_walls, tmp_path, source, kind, line, says):
    said = []
    for student in (behind_walls(source), LocalStudent(tmp_path, "ex01_x")):
        with pytest.raises(LoadError) as error:
            student.f(1)
        assert (error.value.kind, error.value.line) == (kind, line) and says in error.value.failure.text()
        said.append(error.value.failure)
    assert said[0] == said[1]
