"""Where in a learner's file the code is that was called: a line to open, found in the text alone.

The file may be of untrusted code: it is searched line by line, and neither parsed nor imported. No place outside the
file is ever named, whatever a decorator or an import puts in the place of a function.
"""

import re
from pathlib import Path


def place_of(file: Path, function: str, method: tuple[str, str]) -> tuple[Path | None, int | None]:
    """File and line of what was called last: a function, or a method of what it returned.

    method: the name of the class and of its method; empty where it was the function
    """
    if not file.exists():
        return None, None
    text = file.read_text(errors="replace")
    line = line_of_method(text, *method) if method[0] else None
    return file, line or line_of_function(text, function)


def line_of_function(text: str, name: str) -> int | None:
    """The last definition of this name at the top level, which is the one that runs: def, class, or `name = ...`."""
    word = re.escape(name or " ")
    defined = re.compile(rf"(?:(?:async )?def|class) {word}\b|{word}\s*(?::[^=]*)?=(?!=)")
    places = [number for number, line in enumerate(text.splitlines(), 1) if defined.match(line)]
    return places[-1] if places else None


def line_of_method(text: str, kind: str, method: str) -> int | None:
    """The method of the class `kind`, else the class; None where the file has no such class."""
    lines = text.splitlines()
    begins = re.compile(rf"(\s*)class {re.escape(kind)}\b")
    found = [(number, match[1]) for number, line in enumerate(lines) if (match := begins.match(line))]
    if not found:
        return None
    start, indent = found[-1]
    defined = re.compile(rf"\s*(?:async )?def {re.escape(method)}\b")
    for number, line in enumerate(lines[start + 1 :], start + 2):
        code = line.strip() and not line.lstrip().startswith(("#", ")"))
        if code and not line.startswith(f"{indent} ") and not line.startswith(f"{indent}\t"):
            break
        if defined.match(line):
            return number
    return start + 1
