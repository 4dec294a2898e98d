"""How a test failed, as far as another answer may fail in the same way: where, in which words, after which values.

Made in the process that ran the test, kept in a file, and compared in another process (suite/diagnosis.py).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.results.paths import TESTS
from grader.suite.compare_results import same, same_words
from grader.suite.load_exercise import message_of
from grader.suite.verdict import WrongAnswer
from llm.model import GPTConfig


@dataclass(frozen=True)
class Observation:
    """kind: of the error; site: file and line of each frame in a suite or its helpers

    words:  what the failure says was called, what came back and what was expected
    values: what came back in the test until then, and from which call
    inputs: those that for_all found, None where it was not asked
    """

    kind: str
    site: tuple[tuple[str, int], ...]
    words: tuple[str, ...]
    values: tuple[tuple[str, Any], ...]
    inputs: dict[str, Any] | None = None

    @classmethod
    def of(
        cls, excinfo: pytest.ExceptionInfo, returned: list[tuple[str, Any]], inputs: dict[str, Any] | None = None
    ) -> "Observation":
        site = tuple((str(e.path), e.lineno + 1) for e in excinfo.traceback if TESTS in Path(e.path).parents)
        error = excinfo.value
        if isinstance(error, WrongAnswer):
            failure = error.failure
            words = (failure.called, failure.got, failure.expected, *failure.also)
        else:
            words = (message_of(error),)
        values = tuple((name, plain(value)) for name, value in returned)
        return cls(excinfo.type.__qualname__, site, words, values, inputs)

    @property
    def is_about_nothing(self) -> bool:
        """Whether what came back last are tensors without elements: everybody agrees on those."""
        last = self.values[-1][1] if self.values else None
        parts = last if isinstance(last, list | tuple) else [last]
        return all(isinstance(part, Tensor) and part.numel() == 0 for part in parts)

    def is_like(self, other: "Observation | None") -> bool:
        if other is None or (self.kind, self.site, len(self.words)) != (other.kind, other.site, len(other.words)):
            return False
        if len(self.values) != len(other.values) or not all(map(same_words, self.words, other.words)):
            return False
        return all(map(same, self.values, other.values))

    def write(self, file: Path) -> None:
        torch.save(asdict(self) | {"values": list(self.values)}, file)

    @classmethod
    def read(cls, file: Path) -> "Observation":
        record = torch.load(file, weights_only=True)  # data alone, whoever wrote it
        tuples = {name: tuple(map(tuple, record[name])) for name in ("site", "values")}
        return cls(**record | tuples | {"words": tuple(record["words"])})


def plain(value: Any) -> Any:
    """value as it can be kept in a file: of what is no plain value, no more than what it is."""
    if isinstance(value, Tensor):
        return ("a quantized tensor", str(value.dtype), tuple(value.shape)) if value.is_quantized else value.detach()
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        return value
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, type):
        return "raised", value.__qualname__
    if isinstance(value, GPTConfig):
        return plain(asdict(value))
    if hasattr(value, "is_module"):
        return "a module" if value.is_module else "an object"
    return f"a {type(value).__name__}"
