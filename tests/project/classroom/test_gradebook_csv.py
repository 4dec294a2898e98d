"""The tables of a class."""

import csv

from grader.classroom import gradebook_csv, roster
from grader.classroom.grade_submission import nothing
from grader.results import syllabus
from tests.project.handing_in import SOLUTIONS, passed


def test_columns_of_the_roster_do_not_hide_ours():
    member = roster.Member("jo", None, {"student": "Jo", "points": "99", "email": "jo@example.org"})
    text = gradebook_csv.students([member], syllabus.load(), {})
    (row,) = csv.DictReader(text.splitlines())
    assert (row["student"], row["points"]) == ("jo", "0")
    assert (row["roster student"], row["roster points"], row["email"]) == ("Jo", "99", "jo@example.org")


def test_a_table_holds_no_formula(tmp_path):
    member = roster.Member("=1+1", None, {"=cmd": "@x", "+a": "\uff1d1"}, note="nothing handed in")
    names, row = list(csv.reader(gradebook_csv.students([member], syllabus.load(), {}).splitlines()))
    assert row[0] == "'=1+1" and {"'=cmd", "'+a"} <= set(names) and {"'@x", "'\uff1d1"} <= set(row)


def test_what_was_not_graded_is_no_failed_try():
    exercises = syllabus.load()[:1]
    good = passed(nothing(SOLUTIONS, exercises, 1, "", "none"))
    broken = nothing(SOLUTIONS, exercises, 1, "the disk is full", "none", kind="environment")
    everybody = [roster.Member(name, SOLUTIONS, result=r) for name, r in (("a", good), ("b", broken))]
    first = next(csv.DictReader(gradebook_csv.items(everybody, exercises).splitlines()))
    assert (first["students"], first["share passed"]) == ("1", "1.0")
