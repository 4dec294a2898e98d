"""A student's script ends, prints and logs as the interpreter would see it, and what its models read is counted."""

import resource

import pytest
import torch

from grader.suite.script_run import TEXT_LIMIT
from llm.model import GPT, GPTConfig


@pytest.mark.parametrize(
    "ends, code, stderr",
    [
        ("return 0", 0, ""),
        ("return None", 0, ""),
        ("return 2", 2, ""),
        ("raise SystemExit(2)", 2, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no such file')", 1, "no such file\n"),
        ("return 'well'", 1, "well\n"),
    ],
)
def test_a_script_ends_as_the_interpreter_would_see_it(student_of, ends, code, stderr):
    ran = student_of(f"def main(argv):\n    print(*argv)\n    {ends}").run(["--out", 3])
    assert (ran.code, ran.stdout, ran.stderr) == (code, "--out 3\n", stderr)


def test_a_script_is_seen_to_read_tokens(student_of):
    student = student_of(
        """
        import torch
        from llm.model import GPT, GPTConfig
        def main(argv):
            for calls in (1, 3, 2):
                gpt = GPT(GPTConfig(vocab_size=8, n_layer=1, n_head=1, n_embd=8, block_size=16))
                for k in range(calls):  # text 2 has one reader only
                    gpt(torch.tensor([[k, 1, 1], [k, 2, 2]]))
                    gpt.forward(torch.full((1, 7), k))
                    gpt(torch.tensor([[k, 2, 2]]))
        """
    )
    forward = GPT.forward
    assert student.run([]).tokens == 2 * (3 + 3 + 7)
    assert GPT.forward is forward


WRITERS = """
import subprocess, sys
from pathlib import Path
import numpy, safetensors.torch, torch
DATA = torch.zeros(100_000)
WRITES = "import sys; open(sys.argv[1], 'wb').write(bytes(100_000))"
def main(argv):
    path = Path(argv[0])
    try:
        {}
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}, {{path.exists() and path.stat().st_size}}"
"""


@pytest.mark.parametrize(
    "code, error",
    [
        ("path.write_bytes(bytes(100_000))", "OSError"),
        ("torch.save(DATA, path)", "RuntimeError"),
        ("numpy.save(path.open('wb'), DATA.numpy())", "OSError"),
        ("safetensors.torch.save_file({'data': DATA}, path)", "SafetensorError"),
        ("subprocess.run([sys.executable, '-c', WRITES, path], check=True, capture_output=True)", "CalledProcessError"),
    ],
    ids=["pathlib", "torch.save", "numpy", "safetensors", "another process"],
)
def test_a_full_disk_is_full_for_whoever_writes(student_of, code, error):
    student = student_of(WRITERS.format(code))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ran = student.run([student.files.path("full")], largest_file=50_000)
    assert ran.code == 1 and ran.stderr.startswith(f"{error}: ")
    if error != "SafetensorError":  # it writes elsewhere first, or takes its file away again
        assert ran.stderr.endswith(", 50000\n")
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == limits
    assert student.run([student.files.path("room")]).code == 0


@pytest.mark.parametrize(
    "code, ends",
    [
        ("print('six figures')", (120, "Exception ignored while flushing sys.stdout: [Errno 9] Bad file descriptor\n")),
        ("print('six figures', flush=True)", (2, "it cannot be printed\n")),
        ("os.write(sys.stdout.fileno(), b'six figures')", (2, "it cannot be printed\n")),
        ("sys.stderr.write('well')", (0, "well")),
    ],
    ids=["when it ends", "at once", "without a buffer", "silent"],
)
def test_a_standard_output_that_cannot_be_written_to(student_of, code, ends):
    student = student_of(
        f"""
        import os, sys
        def main(argv):
            try:
                {code}
            except OSError:
                print("it cannot be printed", file=sys.stderr)
                return 2
        """
    )
    ran = student.run([], prints=False)
    assert (ran.code, ran.stderr) == ends and not ran.stdout
    assert student.run([]).code == 0


READERS = """
import os, torch
from torch import nn
from llm.model import GPT, GPTConfig
class Own(GPT):
    def forward(self, ids):
        return self.head(self.tok_emb(ids))
def gpt(kind=GPT):
    return kind(GPTConfig(vocab_size=8, n_layer=1, n_head=1, n_embd=8, block_size=16))
IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])
def main(argv):
    {}
"""


@pytest.mark.parametrize(
    "code, tokens",
    [
        ("a = gpt(); a(IDS); a(ids=IDS)", 0),
        ("a = gpt(); a(IDS); a.head = nn.Identity(); a(IDS)", 6),
        ("gpt()(IDS); gpt(Own)(IDS)", 6),
        ("for a in (gpt(), gpt()): torch.vmap(lambda x: a(x[None]))(IDS)", 6),
        ("for a in (gpt(), gpt()): (os.fork() and os.wait()) or (a(IDS), os._exit(0))", 6),
        ("for a in (gpt(), gpt()): torch.compile(a, backend='eager', fullgraph=True)(IDS)", 0),
        ("for a in (gpt(Own), gpt(Own)): torch.jit.trace(a, IDS)", 6),
    ],
    ids=["one model", "in place", "a subclass", "vmap", "forks", "compiled", "traced"],
)
@pytest.mark.filterwarnings("ignore")
def test_whatever_reads_is_seen_or_is_not_disturbed(student_of, code, tokens):
    torch.set_num_threads(1)  # whoever forks has to
    assert student_of(READERS.format(code)).run([]).tokens == tokens


def test_only_models_of_the_shape_in_question_count(student_of):
    student = student_of(READERS.format("gpt()(IDS); gpt()(IDS)"))
    shape = GPTConfig(vocab_size=8, n_layer=1, n_head=1, n_embd=8, block_size=16)
    ran, other = student.run([], shape=shape), student.run([], shape=GPTConfig())
    assert (ran.tokens, ran.seen, other.tokens, other.seen) == (6, 6, 0, 0)


def test_the_streams_of_a_script_are_as_real_as_any(student_of):
    student = student_of(
        """
        import faulthandler, os, subprocess, sys
        def main(argv):
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(encoding="utf-8", line_buffering=True)
            print("one", flush=True)
            subprocess.run(["echo", "two"], stdout=sys.stdout, stderr=sys.stderr, check=True)
            sys.stdout.buffer.write("thr\u00e9e\\n".encode(sys.stdout.encoding))
            sys.stdout.flush()
            os.write(sys.stdout.fileno(), b"four\\n")
            sys.stderr.write("x" * 300_000 + "end")
            sys.stdout.close()
        """
    )
    ran = student.run([])
    assert ran.stdout == "one\ntwo\nthr\u00e9e\nfour\n"
    assert len(ran.stderr) == TEXT_LIMIT and ran.stderr.endswith("xend")


def test_a_stream_that_an_import_kept_is_heard(student_of):
    student = student_of(
        """
        import logging, sys
        log = logging.getLogger("kata")
        log.addHandler(logging.StreamHandler())
        log.propagate = False
        def say(words, file=sys.stdout):
            print(words, file=file)
        def main(argv):
            say(f"said {argv[0]}")
            log.warning("logged")
        """
    )
    for k in ("1", "2"):
        ran = student.run([k])
        assert (ran.stdout, ran.stderr) == (f"said {k}\n", "logged\n")


@pytest.mark.parametrize("where", ["in the import", "in main"])
def test_logging_that_a_script_sets_up_is_heard(student_of, where):
    setup = "logging.basicConfig(format='%(message)s')"
    above, below = (setup, "pass") if where == "in the import" else ("", setup)
    student = student_of(
        f"import logging\n{above}\ndef main(argv):\n    {below}\n    logging.error('failed')\n    return 2"
    )
    for _ in range(2):
        ran = student.run([])
        assert (ran.code, ran.stderr) == (2, "failed\n")
