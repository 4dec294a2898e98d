"""The line between a suite and a student's code: values cross, objects do not, and what was done to arguments shows."""

import os
import textwrap

import pytest
import torch
from torch import nn

from grader.sandbox.sandboxed_student import SandboxedStudent
from grader.suite.load_exercise import LoadError
from grader.suite.scratch_files import Files
from grader.suite.script_run import TEXT_LIMIT
from grader.suite.student import Handle, Opaque, Student, origin
from llm.model import GPT, GPTConfig
from tests.messages import check_value_errors


@pytest.fixture
def student_of(tmp_path):
    """A submission of one exercise, ex01_x, from its source."""

    def build(source: str) -> Student:
        (tmp_path / "ex01_x.py").write_text(textwrap.dedent(source))
        return LocalStudent(tmp_path, "ex01_x")

    return build


def test_an_object_that_equals_everything_is_just_an_object(student_of):
    face = student_of(
        """
        import torch
        class Yes(torch.Tensor):
            __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda *_: True
        class Number(float):
            __eq__ = __lt__ = lambda *_: True
        def tensor(): return torch.zeros(3).as_subclass(Yes)
        def number(): return Number(2)
        def thing(): return object()
        """
    )
    assert type(face.tensor()) is torch.Tensor and not torch.equal(face.tensor(), torch.ones(3))
    assert type(face.number()) is float and face.number() != 3
    assert isinstance(face.thing(), Handle) and not face.thing().is_module


def test_what_is_in_a_named_tuple_crosses_like_anything_else(student_of):
    face = student_of(
        """
        import torch
        from typing import NamedTuple
        class Yes(torch.Tensor):
            __eq__ = lambda *_: True
        class Pair(NamedTuple):
            q: object
            scales: object
        class Row(list):
            pass
        def pair(): return Pair(torch.zeros(3).as_subclass(Yes), Row([object()]))
        """
    )
    q, scales = face.pair()
    assert type(face.pair()) is tuple and type(q) is torch.Tensor
    assert type(scales) is list and isinstance(scales[0], Handle)


def test_changed_arguments_and_modules_show(student_of):
    face = student_of(
        """
        def double(w): w.mul_(2)
        def freeze(model):
            model.eval()
            model.weight.data.zero_()
        """
    )
    w, model = torch.ones(2, 3), nn.Linear(2, 2)
    face.double(w)
    assert torch.equal(face.view(w), torch.full((2, 3), 2.0))
    assert torch.equal(w, torch.ones(2, 3))  # what the suite compares with is out of reach
    face.begin_test(1, 9.0)
    assert face.view(w) is w
    face.freeze(model)
    assert model.training and model.weight.any(), "the suite's own model is out of reach"
    assert not face.view(model).training and not face.view(model).weight.any()


def test_what_is_no_value_in_a_state_dict_is_named_and_no_more(student_of):
    face = student_of(
        """
        import torch
        from torch import nn
        class Notes: pass
        class Layer(nn.Linear):
            def get_extra_state(self): return Notes()
        def layer(): return Layer(2, 2)
        """
    )
    state = face.layer().state_dict()
    assert state["_extra_state"] == Opaque("Notes") and state["weight"].shape == (2, 2)


def test_strides_and_shared_memory_survive_the_crossing(student_of):
    face = student_of("def same(w): return w\ndef strides(w): return list(w.stride())")
    for w in (
        torch.arange(12.0).view(3, 4).t(),
        torch.arange(12.0)[::2],
        torch.ones(3, 1).expand(3, 4),
        torch.zeros(0),
    ):
        assert torch.equal(face.same(w), w)
        assert face.strides(w) == list(w.stride())


def test_every_tensor_that_is_held_is_found_with_its_storage(student_of):
    face = student_of(
        """
        import torch
        from torch import nn
        import numpy
        class Layer(nn.Identity):
            memory = torch.zeros(60)
        def build():
            hidden = torch.zeros(1000)
            layer = Layer()
            layer.array = numpy.zeros(50, dtype=numpy.float32)
            layer.array_view = layer.array[:2]
            layer.register_buffer("codes", torch.zeros(10, dtype=torch.int8))
            layer.codes.more = torch.zeros(70)
            layer.list = [{"a": (torch.zeros(20),)}]
            layer.closure = lambda: hidden
            layer.view = torch.zeros(300)[:4]
            return layer
        """
    )
    held = {t.shape: t for t in face.build().held_tensors()}
    assert held[(50,)].dtype == torch.float32 and held[(60,)].where == "['memory']" and (70,) in held
    assert [held[shape].where for shape in ((1000,), (10,), (20,))] == ["closure[0]", "codes", "list[0]['a'][0]"]
    assert {(1000,), (10,), (20,), (4,)} <= set(held)
    assert held[(4,)].nbytes == 1200


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
    face = student_of(
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
    assert face.run([]).tokens == 2 * (3 + 3 + 7)
    with pytest.raises(OSError, match="the disk is full"):
        face.run([], breaks="the disk is full")
    assert GPT.forward is forward


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
    face = student_of(READERS.format("gpt()(IDS); gpt()(IDS)"))
    shape = GPTConfig(vocab_size=8, n_layer=1, n_head=1, n_embd=8, block_size=16)
    ran, other = face.run([], shape=shape), face.run([], shape=GPTConfig())
    assert (ran.tokens, ran.seen, other.tokens, other.seen) == (6, 6, 0, 0)


def test_the_streams_of_a_script_are_as_real_as_any(student_of):
    face = student_of(
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
    ran = face.run([])
    assert ran.stdout == "one\ntwo\nthr\u00e9e\nfour\n"
    assert len(ran.stderr) == TEXT_LIMIT and ran.stderr.endswith("xend")


def test_an_error_knows_its_call_and_its_line(student_of):
    face = student_of("def f(w, bits=8):\n    return g(w)\ndef g(w):\n    return w.nothing")
    with pytest.raises(AttributeError) as caught:
        face.f(torch.zeros(2, 3), bits=4)
    came_from = origin(caught.value)
    assert came_from.call == "f(float32 (2, 3), bits=4)"
    assert came_from.line == 4 and [frame.line for frame in came_from.frames] == ["return w.nothing"]


def test_an_error_inside_an_earlier_exercise_is_traced_to_both(student_of, tmp_path):
    (tmp_path / "ex00_y.py").write_text("def h(w):\n    return w.nothing")
    face = student_of("from .ex00_y import h\ndef f(w):\n    return h(w)")
    with pytest.raises(AttributeError) as caught:
        face.f(torch.zeros(2))
    came_from = origin(caught.value)
    assert (came_from.file.name, came_from.line) == ("ex01_x.py", 3)
    assert [frame.line for frame in came_from.frames] == ["return h(w)", "return w.nothing"]


def test_bad_input_that_was_accepted_is_listed_and_the_first_is_the_last_call(student_of):
    face = student_of("def f(n):\n    if n: raise ValueError\ndef g(n): pass")
    calls = {f"{name}({n})": lambda name=name, n=n: getattr(face, name)(n) for name in "fg" for n in (0, 1)}
    with pytest.raises(AssertionError) as caught:
        check_value_errors(calls, {})
    assert "called    f(0)\n" in str(caught.value)
    assert str(caught.value).endswith("also      g(0)\nalso      g(1)")
    assert face.location()[1] == 1
    check_value_errors({"f(1)": calls["f(1)"]}, {"f(0)": calls["f(0)"]})


def test_to_refuse_good_input_as_well_is_no_check(student_of):
    face = student_of("def f(n):\n    raise ValueError")
    with pytest.raises(AssertionError, match="called    f\\(0\\)\ngot       a ValueError\nexpected  a result"):
        check_value_errors({"f(1)": lambda: face.f(1)}, {"f(0)": lambda: face.f(0)})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_file_in_another_encoding_is_said_to_be(student_of, tmp_path, encoding):
    face = student_of("from .ex00_x import *\ndef f(): ...\n")
    (tmp_path / "ex00_x.py").write_bytes("name = 'é'\n".encode(encoding))
    with pytest.raises(LoadError, match="ex00_x.py:1: it is not UTF-8 text: save it as UTF-8") as error:
        face.f()
    assert error.value.file.name == "ex00_x.py"


def test_a_file_may_name_its_encoding(student_of, tmp_path):
    face = student_of("")
    (tmp_path / "ex01_x.py").write_bytes("# coding: latin-1\ndef f(): return 'é'\n".encode("latin-1"))
    assert face.f() == "é"


def test_of_two_functions_of_a_name_the_last_is_meant(student_of):
    local = student_of("def f():\n    return 1\n\n\ndef f():\n    return 2\n")
    remote = object.__new__(SandboxedStudent)
    remote.submission, remote._exercise, remote._last_call = local.submission, "ex01_x", "f"
    assert local.f() == 2 and local.location() == remote.location() and remote.location()[1] == 5


def test_a_stream_that_an_import_kept_is_heard(student_of):
    face = student_of(
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
        ran = face.run([k])
        assert (ran.stdout, ran.stderr) == (f"said {k}\n", "logged\n")


@pytest.mark.parametrize("where", ["in the import", "in main"])
def test_logging_that_a_script_sets_up_is_heard(student_of, where):
    setup = "logging.basicConfig(format='%(message)s')"
    above, below = (setup, "pass") if where == "in the import" else ("", setup)
    face = student_of(
        f"import logging\n{above}\ndef main(argv):\n    {below}\n    logging.error('failed')\n    return 2"
    )
    for _ in range(2):
        ran = face.run([])
        assert (ran.code, ran.stderr) == (2, "failed\n")


# ---- the scratch folder ----------------------------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path):
    """A scratch folder, and a file outside that a link in it might lead to."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("somebody's")
    return Files(tmp_path / "scratch"), tmp_path / "scratch", tmp_path / "outside"


def test_what_is_written_is_there_to_be_read_up_to_a_limit(scratch):
    files, folder, _ = scratch
    assert files.write("new folder/deep/data", b"12345") == str(folder / "new folder" / "deep" / "data")
    assert files.read("new folder/deep/data") == b"12345" and files.read("new folder/deep/data", 2) == b"12"
    assert files.size("new folder/deep/data") == 5
    assert files.names("new folder") == ["deep", "deep/data"]


@pytest.mark.parametrize("name", ["link", "folder/file", "folder/new"])
def test_no_link_is_followed(scratch, name):
    files, folder, outside = scratch
    (folder / "link").symlink_to(outside / "file")
    (folder / "folder").symlink_to(outside)
    for use in (lambda: files.write(name, b"x"), lambda: files.read(name), lambda: files.size(name)):
        with pytest.raises(OSError):
            use()
    assert files.names("folder") == [] == files.names("folder/deeper")
    assert [file.name for file in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "somebody's"


def test_what_is_there_is_not_written_over_and_a_pipe_is_not_waited_for(scratch):
    files, folder, _ = scratch
    (folder / "there").write_text("mine")
    with pytest.raises(FileExistsError):
        files.write("there", b"x")
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        files.read("pipe")


def test_links_and_folders_are_no_regular_files(scratch):
    files, folder, outside = scratch
    files.write("below/file", b"")
    (folder / "link").symlink_to(outside / "file")
    assert files.names() == ["below", "below/file", "link"] and files.regular() == ["below/file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_workers_own_user_gets_what_is_written_for_it(scratch):
    files, folder, _ = scratch
    files.owner = 200_001
    files.write("new/file", b"")
    assert {(folder / name).stat().st_uid for name in ("new", "new/file")} == {200_001}
