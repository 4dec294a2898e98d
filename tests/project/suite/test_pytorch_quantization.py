"""PyTorch's own int8: called in one place, without warnings, and where no engine is set."""

import os
import re
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from grader.results.paths import ROOT
from grader.suite import pytorch_quantization as quantization

CALLS = re.compile(r"quantize_dynamic\(|torch\.ao\b|torch\.backends\.quantized\.engine = ")
HOME = "grader/suite/pytorch_quantization.py"
WORKER = "grader/sandbox/worker_main.py"  # sets the engine that a suite asks for
PROJECT = ("grader", "llm", "tests", "noxfile.py", "conftest.py")
ANSWERS = ("misconceptions", "right_answers", "hostile")


def test_nothing_else_outside_solutions_and_answers_calls_it():
    files = [file for part in PROJECT for file in ([ROOT / part] if "." in part else (ROOT / part).rglob("*.py"))]
    ours = [file for file in files if not set(file.relative_to(ROOT).parts) & set(ANSWERS)]
    callers = {str(file.relative_to(ROOT)) for file in ours if calls(file.read_text(encoding="utf-8"))}
    assert callers - {str(os.path.relpath(__file__, ROOT)), "tests/project/graded.py"} == {HOME, WORKER}


def calls(source):
    """Whether code, not a comment or a sentence, calls PyTorch's tool or sets its engine."""
    code = re.sub(r'""".*?"""|#[^\n]*|f?"[^"\n]*"', "", source, flags=re.DOTALL)
    return CALLS.search(code)


def test_it_warns_nobody():
    model = nn.Sequential(nn.Linear(8, 8))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for engine in quantization.engines():
            int8 = quantization.torch_dynamic(model, engine)
            with torch.no_grad():
                int8(torch.ones(2, 8))
    assert [str(warning.message) for warning in seen] == []


def test_a_students_call_warns_nobody(student_of):
    student = student_of(
        """
        import torch
        from torch import nn
        def dynamic(): return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
        """
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        student.dynamic()
    assert [str(warning.message) for warning in seen] == []


@pytest.mark.parametrize("engine", quantization.engines())
def test_the_engine_that_was_set_stays_set(engine):
    with quantization.quantized_engine(engine):
        for kernels in (None, *quantization.engines()):
            quantization.torch_dynamic(nn.Sequential(nn.Linear(8, 8)), kernels)
            assert torch.backends.quantized.engine == engine


def test_where_no_engine_is_set_the_project_takes_one_that_has_kernels():
    lines = """
        import tests.project.no_engine, torch
        from torch import nn
        from grader.suite.pytorch_quantization import choose_engine, engine, engines, torch_dynamic
        model = nn.Sequential(nn.Linear(4, 4))
        try:
            torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
        except RuntimeError as error:
            print("NoQEngine" in str(error))
        print(engines(), engine())
        torch_dynamic(model)
        print(torch.backends.quantized.engine)
        choose_engine()
        print(torch.backends.quantized.engine)
    """
    script = "\n".join(line[8:] for line in lines.splitlines())
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["True", "['qnnpack'] qnnpack", "none", "qnnpack"]
