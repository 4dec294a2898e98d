"""`nox -s new`: skeletons that work from the start, what is missing in them, and names that no exercise can have."""

import re
import shutil
import subprocess
import sys

import pytest

from grader.commands import new
from grader.results.paths import ROOT
from tests.project import exercise_parts, verified

NAME = "ex17_name"
FILES = [
    "exercises/ex17_name.py",
    "solutions/ex17_name.py",
    "tests/misconceptions/ex17_name/forgets_the_sign.py",
    "tests/project/right_answers/ex17_name/numpy_abs.py",
    "tests/test_ex17_name.py",
]
STUB, SOLUTION, WRONG, RIGHT, SUITE = FILES
SYLLABUS, README = "exercises/syllabus.toml", "README.md"


@pytest.fixture
def project(monkeypatch, tmp_path):
    """The parts of the project that the command reads and writes, in a folder of their own; all answers were tried."""
    for folder in ("exercises", "solutions", "tests/misconceptions", "tests/project/right_answers"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "tests" / "__init__.py").touch()  # for ruff, which sorts the project's own imports last
    for file in (SYLLABUS, README, "pyproject.toml"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    monkeypatch.setattr(exercise_parts, "ROOT", tmp_path)
    monkeypatch.setattr(verified, "unverified", lambda: set())
    return tmp_path


@pytest.fixture
def typed(project, capsys):
    """What a command line of `nox -s new --` gives: exit code, standard output, standard error."""

    def run(*argv: str) -> tuple[int, str, str]:
        code = new.main(list(argv))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def complete(project, typed):
    """The skeletons as a maintainer leaves them in the end: nothing is missing."""
    typed(NAME)
    for path in (*FILES, SYLLABUS):
        edit(project / path, lambda text: text.replace("REPLACE", "Written"))
    for path, number in ((WRONG, 5), (RIGHT, 2)):
        for k in range(number):
            shutil.copyfile(project / path, (project / path).with_name(f"another_{k}.py"))
    title = exercise_parts.exercises()[-1].title
    edit(project / README, lambda text: f"{text}\n · ex17  {title}\n\n| ex17 name | a function | its law |\n")
    return project


def edit(file, change):
    """change(text) becomes the file's text."""
    text = file.read_text()
    assert change(text) != text
    file.write_text(change(text))


def written(project):
    return {file.relative_to(project).as_posix(): file.read_text() for file in project.rglob("*") if file.is_file()}


# ---- the skeletons ---------------------------------------------------------------------------------------------------


def test_the_skeletons_are_written_and_named(project, typed):
    before = written(project)
    code, out, err = typed(NAME)
    after = written(project)
    assert (code, err) == (0, "")
    assert sorted(after.keys() - before.keys()) == FILES
    assert [path for path in before if before[path] != after[path]] == [SYLLABUS]
    assert after[SYLLABUS].startswith(before[SYLLABUS])
    for path in (*FILES, SYLLABUS):
        assert f"wrote {path}" in out
    exercise = exercise_parts.exercises()[-1]
    assert (exercise.name, exercise.points, exercise.track) == (NAME, 10, "beyond")


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_has_nothing_to_say(project, typed, command):
    typed(NAME)
    ruff = [sys.executable, "-m", "ruff", *command.split(), "--no-cache", "."]
    done = subprocess.run(ruff, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_the_skeletons_work_in_the_whole_project(tmp_path):
    copy = tmp_path / "project"
    unneeded = shutil.ignore_patterns(".*", "build", "__pycache__", "hostile", "gpt.safetensors")
    shutil.copytree(ROOT, copy, ignore=unneeded)

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-m", *words], cwd=copy, capture_output=True, text=True)
        assert not done.stderr
        return done.returncode, done.stdout

    assert run("grader.commands.new", NAME)[0] == 0
    code, shown = run("grader.commands.check", "ex17", "--plain", "--submission", "solutions")
    assert code == 0 and "passed, 10 of 10 points" in shown, shown
    code, shown = run("grader.commands.check", "ex17", "--plain")
    assert code == 1 and "not started, 0 of 10 points" in shown, shown
    shutil.copytree(copy / "solutions", tmp_path / "wrong")
    shutil.copyfile(copy / WRONG, tmp_path / "wrong" / f"{NAME}.py")
    code, shown = run("grader.commands.check", "ex17", "--plain", "--submission", str(tmp_path / "wrong"))
    says = re.search(r"^# says: (.+)$", (copy / WRONG).read_text(), re.MULTILINE)[1]
    assert code == 1 and re.search(re.escape(says).replace(r"\.\.\.", ".*"), " ".join(shown.split())), shown
    assert "not there yet: ex17: largest" in run(f"exercises.{NAME}")[1]
    assert len(run(f"solutions.{NAME}")[1].splitlines()) >= 3


def test_it_starts_without_torch():
    asked = "import sys, grader.commands.new; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], cwd=ROOT).returncode == 0


# ---- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", exercise_parts.exercises(), ids=lambda exercise: exercise.name)
def test_nothing_is_missing_in_an_exercise_of_the_project(exercise):
    assert exercise_parts.missing(exercise) == []


def test_what_is_left_to_replace_is_named(project, typed):
    _, out, _ = typed(NAME)
    for path in FILES:
        assert re.search(rf"^  {path}:\d+: the word REPLACE", out, re.MULTILINE), path
    for line in (
        f"{SYLLABUS}: the title has the word REPLACE",
        f"{SYLLABUS}: hint 3 has the word REPLACE",
        "tests/misconceptions/ex17_name: 1 of at least 6 wrong answers",
        "tests/project/right_answers/ex17_name: 1 of at least 3 right answers",
        "README.md: the table of exercises has no row `| ex17 ... |`",
    ):
        assert f"  {line}\n" in out
    assert "\nex17_name: 14 things are missing\n" in out and "\nTo run next:\n" in out
    for command in (
        "nox -s check -- ex17 --submission solutions",
        "nox -s tests -- --whole -k ex17",
        "nox -s doors -- ex17",
        "nox -s mutate -- ex17",
    ):
        assert command in out


@pytest.mark.parametrize("word", [NAME, "ex17"])
def test_asked_again_it_writes_nothing(project, typed, word):
    typed(NAME)
    before = written(project)
    code, out, err = typed(word)
    assert (code, err) == (1, "") and "wrote" not in out and "the word REPLACE" in out
    assert written(project) == before


def test_nothing_is_missing(complete, typed):
    assert typed(NAME) == (0, f"{NAME}: nothing is missing\n", "")


def test_answers_that_were_not_tried_are_missing(complete, typed, monkeypatch):
    monkeypatch.setattr(verified, "unverified", lambda: {NAME})
    code, out, _ = typed(NAME)
    assert code == 1 and "1 thing is missing" in out and "nox -s tests -- --whole --record -k ex17" in out


HINT = "Written the second hint: which functions of torch to look for, and which case is easy to forget."
THIRD_HINT = (
    "Written the third hint, which is nearly the answer: w.float().abs().max(), once w is known not to be empty."
)
ENTRY = 'points = 10\nneeds = []\nhints = [\n  "Written'
FAULTS = {  # in which file, what is changed into what, and what is said
    "placeholder": (STUB, "Written the lesson", "REPLACE the lesson", "the word REPLACE"),
    "broken": (SUITE, "import pytest", "import import", "line 5 is no Python"),
    "few-points": (SUITE, "points(10)", "points(9)", "the points add up to 9, not to 10"),
    "no-points": (SUITE, "@pytest.mark.points(10)\n", "", "test_the_largest_weight_is_found has no pytest.mark.points"),
    "title": (SUITE, "found: Written these laws.", "found", "is no sentence with a full stop"),
    "short-title": (SUITE, "The largest weight is found: Written these laws.", "It works.", "is no sentence"),
    "lesson": (SOLUTION, "one idea", "two ideas", "the lesson is not that of exercises/ex17_name.py"),
    "contract": (SOLUTION, "returns: () float32", "returns: a number", "another signature or docstring"),
    "signature": (SOLUTION, "w: Tensor)", "w: Tensor, bits: int = 8)", "another signature or docstring"),
    "unsolved": (SOLUTION, "return w.float().abs().max()", "raise NotImplementedError", "largest is not written"),
    "done": (STUB, 'raise NotImplementedError("ex17: largest")', "return w.max()", "there is nothing to do"),
    "whose-stub": (STUB, '"ex17: largest"', '"largest"', 'does not raise NotImplementedError("ex17: largest")'),
    "step": (STUB, "# TODO: ex17, step 1 of 1.", "# TODO:", "# TODO: ex17, step 1 of 1."),
    "todo": (SOLUTION, "if w.numel", "# TODO\n    if w.numel", "a TODO is left"),
    "no-demonstration": (STUB, "demonstration()", "show()", "there is no demonstration()"),
    "not-there-yet": (STUB, "not there yet: ", "", "does not print `not there yet: ...`"),
    "no-question": (SYLLABUS, "the largest value?", "the largest value.", "the first hint is no question"),
    "short-hint": (SYLLABUS, HINT, "Look closer.", "hint 2 has 40 characters or fewer"),
    "hint-twice": (SYLLABUS, THIRD_HINT, HINT, "two hints are the same"),
    "no-afterwards": (SYLLABUS, "afterwards = ", "# ", "there is no `afterwards`"),
    "points": (SYLLABUS, ENTRY, ENTRY.replace("10", "12"), "12 points instead of 10"),
    "long-title": (
        SYLLABUS,
        "Written the title",
        f"Written the {'long ' * 4}title",
        "characters, more than 43",
    ),
    "row": (README, "| ex17 name", "| name", "the table of exercises has no row `| ex17 ... |`"),
    "board": (README, " · ex17", " · name", "the board does not show `ex17  Written the title"),
    "does": (WRONG, "Takes the", "The", "does not begin with one sentence of what the answer does"),
    "two-sentences": (WRONG, "value, not", "value. Not", "does not end with one question"),
    "question": (WRONG, "from 0?", "from 0.", "does not end with one question"),
    "caught-by": (WRONG, "# caught by: ", "# caught: ", "there is not one line `# caught by: test_...`"),
    "no-such-test": (WRONG, "test_the_largest", "test_a_large", "caught by test_a_large_weight_is_found, which is no"),
    "says": (WRONG, "# says: ", "# tells: ", "there is not one line `# says: ...`"),
    "says-think": (WRONG, "expected 9", "expected 9 think Which", "`# says:` quotes the question"),
    "right-words": (RIGHT, '"""NumPy, from w on; the number goes back into a tensor."""', "", "there is no docstring"),
}


@pytest.mark.parametrize("path, before, after, said", FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named(complete, typed, path, before, after, said):
    edit(complete / path, lambda text: text.replace(before, after))
    code, out, _ = typed(NAME)
    lines = [line for line in out.splitlines() if line.startswith(f"  {path}") and said in line]
    assert code == 1 and len(lines) == 1, out


@pytest.mark.parametrize("path, said", [(WRONG, "5 of at least 6 wrong"), (RIGHT, "2 of at least 3 right")])
def test_too_few_answers_are_named(complete, typed, path, said):
    (complete / path).unlink()
    code, out, _ = typed(NAME)
    assert code == 1 and said in out


@pytest.mark.parametrize("elsewhere, fine", [(0, True), (1, False), (2, False), (3, True)])
def test_too_few_answers_to_tell_a_mistake_from_right_values_are_named(complete, typed, elsewhere, fine):
    """A mistake that is right in the test that failed looks like right values, unless there are others of its kind."""
    other = "\n\n@pytest.mark.points(5)\ndef test_another_law_holds(student):\n    pass\n"
    edit(complete / SUITE, lambda text: text.replace("points(10)", "points(5)") + other)
    files = sorted((complete / WRONG).parent.glob("*.py"))
    for file in files[: len(files) - elsewhere]:
        edit(file, lambda text: text.replace("test_the_largest_weight_is_found", "test_another_law_holds"))
    code, out, _ = typed(NAME)
    assert (code == 0) == fine
    assert ("wrong answers that another test than test_another_law_holds catches" in out) == (not fine)


def test_a_file_that_is_gone_is_named(complete, typed):
    (complete / SOLUTION).unlink()
    code, out, _ = typed(NAME)
    assert code == 1 and f"  {SOLUTION}: no such file or directory\n" in out


def test_some_exercises_need_more_answers():
    assert [exercise_parts.wrong_at_least(name) for name in ("ex01_round_trip", "ex03_error_growth")] == [10, 6]
    assert [exercise_parts.right_at_least(name) for name in ("ex01_round_trip", "ex03_error_growth")] == [5, 3]


# ---- refusals --------------------------------------------------------------------------------------------------------


def refused(project, typed, name: str) -> str:
    before = written(project)
    code, out, err = typed(name)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert written(project) == before
    return err


@pytest.mark.parametrize("name", ["ex17", "ex7_name", "ex17_Name", "ex17-name", "name", "ex17_", "../ex17_name"])
def test_a_name_that_is_not_like_ex17_name_is_refused(project, typed, name):
    assert "use one like ex17_name" in refused(project, typed, name)


def test_a_number_that_is_taken_is_refused(project, typed):
    assert "taken by ex03_error_growth" in refused(project, typed, "ex03_name")


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_exists_is_refused(project, typed, path):
    (project / path).parent.mkdir(exist_ok=True)
    (project / path).write_text("# of somebody else\n")
    place = path if path.count("ex17_name.py") else path.rpartition("/")[0]
    assert f"{place} exists" in refused(project, typed, NAME)
