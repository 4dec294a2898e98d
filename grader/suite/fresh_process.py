"""One call of a student's function in a new interpreter: `python -m grader.suite.fresh_process JOB ANSWER`.

LocalStudent.fresh starts it.
"""

import sys
from pathlib import Path

import torch

from grader.suite.local_student import LocalStudent


def main(job: str, answer: str) -> None:
    submission, exercise, function, args, then = torch.load(job, weights_only=False)
    result = getattr(LocalStudent(Path(submission), exercise), function)(*args)
    torch.save(result(*then) if then else result, answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
