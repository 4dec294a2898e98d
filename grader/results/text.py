"""Text that comes from a learner's code, made fit for terminals, XML and JSON; and names as people read them."""

import re
import unicodedata


def clean(text: str) -> str:
    """text without control characters and what else nobody can read, but for newlines and tabs."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c)[0] != "C")


def legible(text: str) -> str:
    """text without the characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c in "\t\n" or (" " <= c <= "\ud7ff") or ("\ue000" <= c <= "\ufffd"))


def title_of(test: str) -> str:
    """test_ties_go_to_the_even_code -> Ties go to the even code."""
    words = test.removeprefix("test_").replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}."


def short_name(exercise: str) -> str:
    """ex03_error_growth -> ex03: what a learner types"""
    return exercise.partition("_")[0]
