"""A pytest plugin that lets every test fail once it is through: what must a diagnosis say of right values? Nothing."""

import pytest

from grader.results.failure import Failure
from grader.suite.verdict import WrongAnswer


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    yield
    raise WrongAnswer(Failure(summary="whatever it is given, this fails"))
