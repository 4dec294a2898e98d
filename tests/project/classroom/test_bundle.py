"""What is handed out works where it is handed to: a class's copy, Gradescope, Classroom 50.

The platforms' folders are laid out as they do it; only the installation is not repeated: this project's own .venv lies
there already.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from grader.classroom import bundle
from grader.classroom.grade_submission import expected
from grader.commands.bundle import main
from grader.results import syllabus
from llm.checkpoint import PATH
from tests.project import graded
from tests.project.results.test_exports import ENVIRONMENT, classroom50_faults
from tests.project.sandbox.test_hostile import SAMPLES, mentioned


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    out = tmp_path_factory.mktemp("class") / "kata"
    assert main(["students", str(out)]) == 0
    return out


def test_no_answer_is_in_it(copy):
    files = {str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()}
    assert {"README.md", "noxfile.py", "pyproject.toml", "conftest.py", "tests/misconceptions.zip"} <= files
    assert {"exercises/syllabus.toml", "llm/checkpoint/card.json", "grader/commands/check.py"} <= files
    assert not [name for name in files if name.startswith(("solutions/", "tests/project", "tests/misconceptions/"))]
    answer = "return torch.round(w.float() / scale).clamp(-qmax, qmax)"
    assert answer in (graded.ROOT / "solutions" / "ex01_round_trip.py").read_text()
    open_files = files - {"tests/misconceptions.zip"}
    assert not [name for name in open_files if answer.encode() in (copy / name).read_bytes()]


def test_its_readme_speaks_to_learners(copy):
    text = (copy / "README.md").read_text()
    assert "## The command" in text and "nox -s check" in text
    assert not [words for words in ("solutions/", "Teaching", "nox -s tests") if words in text]


def test_the_board_works_and_diagnoses_come_from_the_zip(copy):
    stub = copy / "exercises" / "ex01_round_trip.py"
    wrong = (graded.ROOT / "tests" / "misconceptions" / "ex01_round_trip" / "floors.py").read_text()
    before = stub.read_text()
    stub.write_text(wrong)
    try:
        # a diagnosis gets its time however busy this machine is
        code = "from grader.run import runner; runner.DIAGNOSIS_SECONDS = 60; "
        code += "import sys; from grader.commands import check; sys.exit(check.main())"
        command = [sys.executable, "-c", code, "ex01", "--plain", "--seed", "1"]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    finally:
        stub.write_text(before)
    assert done.returncode == 1
    assert "an answer that rounds down" in done.stdout, done.stdout + done.stderr


def test_two_copies_have_the_same_zip(copy, tmp_path):
    bundle.students(tmp_path / "again")
    zips = [folder / "tests" / "misconceptions.zip" for folder in (copy, tmp_path / "again")]
    assert zips[0].read_bytes() == zips[1].read_bytes()


def test_nothing_is_overwritten(copy, capsys):
    assert main(["students", str(copy)]) == 2
    assert "not empty" in capsys.readouterr().err


# ---- Gradescope ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def gradescope(tmp_path_factory):
    """/autograder as Gradescope lays it out: set up, and waiting for submissions to ex02."""
    root = tmp_path_factory.mktemp("gradescope")
    file = root / "upload.zip"
    assert main(["gradescope", str(file), "--only", "ex02"]) == 0
    source = root / "source"
    for folder in (source, root / "submission", root / "results"):
        folder.mkdir()
    with zipfile.ZipFile(file) as archive:
        archive.extractall(source)  # which forgets modes; Gradescope sets them
    (source / ".venv").symlink_to(graded.ROOT / ".venv")
    shutil.copyfile(source / "run_autograder", root / "run_autograder")
    (root / "run_autograder").chmod(0o755)
    environment = os.environ | {"AUTOGRADER_ROOT": str(root)}
    done = subprocess.run(["bash", source / "setup.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "ready" in done.stdout, done.stderr
    return root, environment


def submit(root: Path, **files: Path) -> None:
    shutil.rmtree(root / "submission")
    shutil.rmtree(root / "results")
    for folder in ("submission", "results"):
        (root / folder).mkdir()
    for short, file in files.items():
        name = next((graded.ROOT / "solutions").glob(f"{short}_*.py")).name
        shutil.copyfile(file, root / "submission" / name)


@pytest.mark.timeout(120)
def test_gradescope_grades_a_submission(gradescope):
    root, environment = gradescope
    submit(root, ex02=graded.ROOT / "solutions" / "ex02_per_channel.py")  # of ex01 nothing was handed in
    done = subprocess.run([root / "run_autograder"], cwd=root, env=environment, capture_output=True, text=True)
    record = json.loads((root / "results" / "results.json").read_text())
    assert done.returncode == 0, done.stderr
    assert record["score"] == 10 and {test["status"] for test in record["tests"]} == {"passed"}
    assert len(record["tests"]) == len(expected("ex02_per_channel"))
    assert "reference's ex01" not in record["output"] and record["extra_data"]["sandbox"]


@pytest.mark.timeout(120)
def test_a_run_that_gradescope_ends_has_no_points_and_all_tests(gradescope):
    root, environment = gradescope
    submit(root, ex02=SAMPLES / "endless_loop.py")
    process = subprocess.Popen([root / "run_autograder"], cwd=root, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (root / "results" / "results.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    record = json.loads((root / "results" / "results.json").read_text())
    assert record["score"] == 0 and len(record["tests"]) == len(expected("ex02_per_channel"))
    while mentioned(str(root)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_autograder_that_cannot_start_gives_no_points_and_all_tests(gradescope, tmp_path):
    root, environment = gradescope
    submit(root, ex02=SAMPLES / "stub.py")
    (root / "source" / ".venv").rename(tmp_path / "elsewhere")
    try:
        done = subprocess.run([root / "run_autograder"], cwd=root, env=environment, capture_output=True, text=True)
    finally:
        (tmp_path / "elsewhere").rename(root / "source" / ".venv")
    record = json.loads((root / "results" / "results.json").read_text())
    assert done.returncode and record["score"] == 0 and "tell your teacher" in record["tests"][0]["output"]
    assert len(record["tests"]) == len(expected("ex02_per_channel"))


@pytest.mark.parametrize("found", ["1", None])
def test_parts_of_two_versions_are_not_mixed_on_gradescope(gradescope, found):
    root, environment = gradescope
    submit(root, ex02=graded.ROOT / "solutions" / "ex02_per_channel.py")
    file = root / "source" / "bundle-format.txt"
    before = file.read_text()
    file.write_text(found) if found else file.unlink()
    try:
        for command in (["bash", root / "source" / "setup.sh"], [root / "run_autograder"]):
            done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
            assert done.returncode == 1 and "parts of two versions" in done.stderr
    finally:
        file.write_text(before)
    record = json.loads((root / "results" / "results.json").read_text())
    assert record["score"] == 0 and len(record["tests"]) == len(expected("ex02_per_channel"))


def test_on_gradescope_answers_are_not_for_every_user(gradescope):
    source = gradescope[0] / "source"
    hidden = [source / "solutions", *(source / "tests").glob("test_*.py"), source / "tests" / "misconceptions.zip"]
    assert len(hidden) > 10 and not any(path.stat().st_mode & 0o077 for path in hidden)
    assert all((source / name).stat().st_mode & 0o004 for name in ("grader", "llm", "tests/specimens.py"))


# ---- Classroom 50 ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def classroom50(tmp_path_factory):
    """run(**files): what Classroom 50's runner finds after it ran our autograder in a checkout with these exercises."""
    top = tmp_path_factory.mktemp("classroom50")
    assert main(["classroom50", str(top / "quantization"), "--only", "ex01"]) == 0
    with tarfile.open(top / "bundle.tar.gz", "w:gz") as archive:
        archive.add(top / "quantization", "quantization")
    assert (top / "bundle.tar.gz").stat().st_size < bundle.LARGEST
    with tarfile.open(top / "bundle.tar.gz") as archive:
        archive.extractall(top / "runtime", filter="data")
    (top / "runtime" / "quantization" / "kata" / ".venv").symlink_to(graded.ROOT / ".venv")

    def run(checkout: Path, **environment: str) -> subprocess.CompletedProcess:
        command = [sys.executable, top / "runtime" / "quantization" / "autograder.py"]
        variables = os.environ | ENVIRONMENT | environment
        return subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True)

    return run


@pytest.fixture
def checkout(tmp_path, copy):
    """A student's: the class's copy, with a wrong ex01."""
    folder = tmp_path / "checkout"
    shutil.copytree(copy, folder)
    shutil.copyfile(SAMPLES / "wrong.py", folder / "exercises" / "ex01_round_trip.py")
    return folder


@pytest.mark.whole
@pytest.mark.timeout(120)
def test_classroom50_grades_a_checkout(classroom50, checkout):
    (checkout / "result.json").symlink_to(checkout / "LICENSE")  # a link is replaced, not written through
    licence = (checkout / "LICENSE").read_bytes()
    done = classroom50(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((checkout / "result.json").read_text())
    assert classroom50_faults(record) == [] and (record["score"], record["max-score"]) == (4, 10)
    assert record["submission"] == ENVIRONMENT["SUBMISSION_TAG"]
    body = (checkout / "release-body.md").read_text()
    assert "### 4 of 10 points" in body and "an answer that rounds down" in body
    assert (checkout / "LICENSE").read_bytes() == licence


def test_no_solution_is_published(tmp_path):
    bundle.classroom50(tmp_path / "a", syllabus.load(), 1)
    solution = "return torch.round(w.float() / scale).clamp(-qmax, qmax)"
    files = [file for file in (tmp_path / "a").rglob("*") if file.is_file()]
    assert not [file for file in files if solution.encode() in file.read_bytes()]
    assert not [file for file in files if "solutions" in file.parts]


@pytest.mark.parametrize("weights", ["missing", "altered", "a link"])
def test_other_weights_than_those_handed_out_are_not_graded_with(classroom50, checkout, weights):
    file = checkout / "llm" / "checkpoint" / PATH.name
    if weights == "altered":
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    else:
        file.unlink()
    if weights == "a link":
        file.symlink_to(PATH)
    done = classroom50(checkout)
    assert done.returncode == 1 and "gpt.safetensors" in done.stderr and not (checkout / "result.json").exists()


@pytest.mark.parametrize("found", ["1", None])
def test_parts_of_two_versions_are_not_mixed_on_classroom50(tmp_path, checkout, found):
    bundle.classroom50(tmp_path / "a", syllabus.load()[:1], 1)
    file = tmp_path / "a" / "kata" / "bundle-format.txt"
    file.write_text(found) if found else file.unlink()
    command = [sys.executable, tmp_path / "a" / "autograder.py"]
    done = subprocess.run(command, cwd=checkout, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1 and "has bundle format 1, and this file needs 2" in done.stderr
    assert not (checkout / "result.json").exists()


def test_without_an_identity_nothing_is_written(classroom50, checkout):
    done = classroom50(checkout, SUBMISSION_TAG="")
    assert done.returncode == 2 and "SUBMISSION_TAG" in done.stderr and not (checkout / "result.json").exists()
