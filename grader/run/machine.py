"""Is this machine fit for the kata? What `nox -s doctor` prints a line each.

Runs in the parent: what needs torch is asked of a child process, grader/bench/torch_abilities.py.
"""

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from grader.results.clean_environment import clean_environment
from grader.results.paths import ROOT
from grader.results.process_failure import SIGNALS
from grader.run.suite_process import START_SECONDS

OLDEST = (3, 11)  # version of Python
MEMORY, DISK = 1_500_000_000, 1_000_000_000  # bytes that have to be free: `check` was seen to take 1.2 and 0.6 GB
TEXT_BROWSERS = ("w3m", "lynx", "links", "elinks", "www-browser")  # draw no page
SETUP = "delete the folder .venv and give the same command again: that installs everything anew"


@dataclass(frozen=True)
class Finding:
    """A state that is "limited" lets the kata work all the same; the remedy is for one that is not "fit"."""

    name: str
    state: Literal["fit", "limited", "unfit"]
    text: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """What was found, one thing after the other."""
    yield python(sys.version_info[:3])
    yield from torch_findings(answers())
    yield browser()
    yield disk(free_disk())
    yield memory(free_memory())
    yield cores(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def python(version: tuple[int, int, int]) -> Finding:
    words = "{}.{}.{}".format(*version) + f", {platform.system()} {platform.machine()}"
    if version >= OLDEST:
        return Finding("Python", "fit", words)
    return Finding("Python", "unfit", words, "install Python 3.11 or newer, and run nox with it")


# ---- what torch knows ------------------------------------------------------------------------------------------------


def answers(seconds: float = START_SECONDS) -> Iterator[dict]:
    """What the child finds, as it finds it; at the end how it ended: {"finding": "end", "error": why, if it failed}."""
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "grader.bench.torch_abilities"]
        child = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=said)
        clock = threading.Timer(seconds, child.kill)
        clock.start()
        try:
            for line in child.stdout:
                with contextlib.suppress(ValueError):  # what else is printed there is no finding
                    yield json.loads(line)
            code, in_time = child.wait(), clock.is_alive()
        finally:
            clock.cancel()
            child.kill()
            child.stdout.close()
            child.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    error = "" if code == 0 else lines[-1] if lines else f"it ended with exit code {code}"
    if code < 0:
        error = SIGNALS.get(signal.Signals(-code), f"ended by {signal.Signals(-code).name}")
    yield {"finding": "end", "error": error if in_time else f"no answer within {seconds:.0f} s"}


def torch_findings(found: Iterator[dict]) -> Iterator[Finding]:
    """A finding for each line that there should be, whatever becomes of the child."""
    answer = next(found)
    if answer["finding"] != "torch":
        yield Finding("PyTorch", "unfit", f"cannot be imported: {answer['error']}", SETUP)
        return
    build = f"built for CUDA {answer['cuda']}; the kata computes on the CPU" if answer["cuda"] else "a CPU build"
    yield Finding("PyTorch", "fit", f"{answer['version']}, {build}")
    pending = {"processor": "processor", "text": "text", "checkpoint": "checkpoint", "engines": "int8 engines"}
    tell = {"processor": processor, "text": text, "checkpoint": checkpoint}
    engines, speeds = None, {}
    for answer in found:
        kind = answer["finding"]
        if kind in tell:
            yield tell[kind](answer)
            pending.pop(kind)
        elif kind == "engines":
            engines = answer
            pending.pop(kind)
        elif kind == "engine":
            speeds[answer["name"]] = answer
    if engines:
        yield int8_engines(engines, speeds, answer["error"])
    for name in pending.values():
        yield Finding(name, "unfit", f"not found out: {answer['error']}", SETUP)


def processor(answer: dict) -> Finding:
    if names := answer["dot_products"]:
        return Finding("processor", "fit", f"{answer['name']}, with int8 dot products ({', '.join(names)})")
    words = f"{answer['name']}, without int8 dot products"
    remedy = "nothing to do: int8 is slow here, so ex08's speed test may be undecided, which costs no points"
    return Finding("processor", "limited", words, remedy)


def text(answer: dict) -> Finding:
    if "error" in answer:
        what, _, remedy = answer["error"].rpartition(": ")
        return Finding("text", "unfit", what, remedy)
    return Finding("text", "fit", f"{answer['works']} works of Shakespeare, {answer['held_out']} of them held out")


def checkpoint(answer: dict) -> Finding:
    if "error" in answer:
        what, _, remedy = answer["error"].rpartition(": ")
        return Finding("checkpoint", "unfit", what, remedy)
    return Finding("checkpoint", "fit", f"whole, {answer['parameters'] / 1e6:.1f} million parameters")


def int8_engines(answer: dict, speeds: dict[str, dict], error: str) -> Finding:
    """answer: which there are, and which is set; speeds: what came of each; error: how the child ended"""
    measured = {name: found["speedup"] for name, found in speeds.items() if "speedup" in found}
    failed = [name for name in answer["there"] if name not in measured]
    if not measured:
        why = error or next((found["error"] for found in speeds.values()), "PyTorch has none")
        return Finding("int8 engines", "unfit", f"none works: {why}", SETUP)
    fastest, *others = sorted(measured, key=measured.get, reverse=True)
    words = f"fastest for a Linear of the GPT: {fastest}, {measured[fastest]:.1f} times float32"
    words += "".join(f", {name} {measured[name]:.1f}" for name in others)
    chosen = f"none is set; the kata sets {answer['chosen']}" if answer["set"] == "none" else f"{answer['set']} is set"
    if not failed:
        return Finding("int8 engines", "fit", f"{words}; {chosen}")
    remedy = f"use another one in ex08 ({fastest})"
    return Finding("int8 engines", "limited", f"{words}; {chosen}; {', '.join(failed)} cannot be used", remedy)


# ---- what the system knows -------------------------------------------------------------------------------------------


def browser() -> Finding:
    with contextlib.suppress(webbrowser.Error):
        name = Path(getattr(webbrowser.get(), "name", "default")).name
        if name not in TEXT_BROWSERS:
            return Finding("browser", "fit", "the system's" if name == "default" else name)
    remedy = "nothing to do: only HTML pages need a browser, and no exercise does"
    return Finding("browser", "limited", "none found", remedy)


def disk(free: dict[Path, int]) -> Finding:
    """free: bytes, by folder"""
    words = ", ".join(f"{gigabytes(size)} free in {folder}" for folder, size in free.items())
    full = [str(folder) for folder, size in free.items() if size < DISK]
    remedy = f"free {gigabytes(DISK)} in {' and in '.join(full)}" if full else ""
    return Finding("disk", "unfit" if full else "fit", words, remedy)


def free_disk() -> dict[Path, int]:
    """Free bytes where the project is and where temporary files go; once where both are on one disk."""
    folders = {folder.stat().st_dev: folder for folder in (Path(tempfile.gettempdir()), ROOT)}
    return {folder: shutil.disk_usage(folder).free for folder in reversed(folders.values())}


def memory(free: int) -> Finding:
    words = f"{gigabytes(free)} free"
    if free >= MEMORY:
        return Finding("memory", "fit", words)
    return Finding("memory", "unfit", words, f"close other programs until {gigabytes(MEMORY)} are free")


def free_memory() -> int:
    """Bytes that programs may still take, within a container's limit too."""
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")  # version 2: as a container sees its own
    with contextlib.suppress(OSError, ValueError):  # ValueError: there is no limit
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    return free


def cores(count: int) -> Finding:
    if count > 1:
        return Finding("cores", "fit", str(count))
    return Finding("cores", "limited", "1", "nothing to do: everything works on one core, more slowly")


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
