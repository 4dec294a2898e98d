"""A pytest plugin that lets every test fail once it is through: what must a diagnosis say of right values? Nothing."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    yield
    raise AssertionError("whatever it is given, this fails")
