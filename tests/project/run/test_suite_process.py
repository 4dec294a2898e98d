"""A suite's process as its parent sees it: whether it is ready, what it says, and the processor time that it took."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from grader.run import suite_process
from grader.run.suite_process import Child, ChildGone, Children, StartError, Stopped

BURN = "import time\nwhile time.process_time() < 0.6: pass\n"


@pytest.fixture
def child(monkeypatch):
    """child(code): a Child whose process runs this code in the place of a suite; {events} in it is where it speaks."""
    made, popen = [], subprocess.Popen

    def make(code: str) -> Child:
        def start(command, **options):
            return popen([sys.executable, "-c", code.replace("{events}", command[-1])], **options)

        monkeypatch.setattr(suite_process.subprocess, "Popen", start)
        made.append(Child(1, tempfile.gettempdir(), threading.Event()))
        monkeypatch.undo()
        return made[-1]

    yield make
    for one in made:
        if one._process.returncode is None:
            one.end()


def says(**event) -> str:
    return f"import os; os.write({{events}}, {(json.dumps(event) + chr(10)).encode()!r})\n"


def soon(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def test_processor_time_is_that_of_threads_and_children_too(child):
    burns = f"import subprocess, sys, threading\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n"
    burns += "end = __import__('time').process_time() + 0.4\n"
    burns += "def burn():\n    while __import__('time').process_time() < end: pass\n"
    burns += "thread = threading.Thread(target=burn)\nthread.start()\nthread.join()\n"
    waits = child(burns + says(event="done") + "__import__('time').sleep(60)")
    assert waits.receive(soon())["event"] == "done"
    before = waits.processor_seconds()
    assert 1 <= before < 3
    time.sleep(0.5)
    assert waits.processor_seconds() - before < 0.2  # waiting takes none


def test_who_asks_for_processor_time_waits_no_longer_than_that(child):
    loops = child("while True: pass")
    began = time.monotonic()
    assert loops.receive(soon(), spent=0.5) is None
    assert loops.processor_seconds() >= 0.5 and time.monotonic() - began < 20
    sleeps = child("import time; time.sleep(60)")
    assert sleeps.receive(soon(0.5), spent=0.5) is None and sleeps.processor_seconds() < 0.5


def test_events_come_one_at_a_time_and_an_end_is_no_event(child):
    long = (
        "import json, os\nos.write({events}, json.dumps({'event': 'started', 'id': 'ü' * 50_000}).encode() + b'\\n')\n"
    )
    speaks = child(long + says(event="done"))
    assert speaks.receive(soon())["id"] == "ü" * 50_000 and speaks.receive(soon())["event"] == "done"
    with pytest.raises(ChildGone):
        speaks.receive(soon())


def test_where_all_is_to_stop_nobody_waits(child):
    waits = child("import time; time.sleep(60)")
    threading.Timer(0.3, waits._stopped.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        waits.receive(soon(60))
    assert time.monotonic() - began < 10


def test_an_installation_that_does_not_import_says_so_in_its_last_words(child):
    with pytest.raises(StartError, match="ImportError: no torch here.*delete the folder .venv"):
        child("raise ImportError('no torch here')").wait_until_ready()


def test_what_it_started_ends_with_it(child):
    starts = "import subprocess\np = subprocess.Popen(['sleep', '60'])\nimport os\n"
    starts += "os.write({events}, b'{\"event\": \"%d\"}\\n' % p.pid)\n__import__('time').sleep(60)"
    waits = child(starts)
    other = int(waits.receive(soon())["event"])
    os.kill(other, 0)
    assert waits.end() == -9
    end = soon(10)
    while time.monotonic() < end:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(other)], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


@pytest.mark.timeout(120)
def test_a_child_that_is_not_ready_in_time_is_kept_for_whoever_waits():
    with Children(1) as children:
        assert children.take_soon(time.monotonic()) is None
        spare = children._spare
        assert children.take() is spare and spare.host.torch and children._spare is None
