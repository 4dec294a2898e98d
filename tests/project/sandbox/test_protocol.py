"""What crosses between a worker and the trusted side: what is honest arrives as it was, what is odd is not believed."""

import json
import math
import os
import socket
import struct
import threading

import pytest
import torch

from grader.sandbox.protocol import (
    DEEPEST,
    LONGEST,
    MOST_BUFFERS,
    ROOM,
    Channel,
    Closed,
    Odd,
    Overdue,
    Refused,
    Token,
    shared_buffer,
)
from grader.suite.marshal import pack, refuse, unpack
from llm.model import GPTConfig


@pytest.fixture
def ends():
    buffer, (one, other) = shared_buffer(), socket.socketpair()
    channels = Channel(one, buffer), Channel(other, buffer)
    yield channels
    for channel in channels:
        channel.close()
    os.close(buffer)


def through(ends, value):
    ends[0].send("value", pack(value, refuse))
    return unpack(ends[1].receive().body)


def raw(ends, frame) -> None:
    data = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
    ends[0]._socket.setblocking(True)
    ends[0]._socket.sendall(struct.pack("!I", len(data)) + data)


PLAIN = [None, True, 3, -(10**30), "text", 0.1, math.inf, b"\0bytes", torch.int8, GPTConfig(n_layer=2)]


@pytest.mark.parametrize("value", [*PLAIN, [1, (2.5, [None])], {"a": (1,), 2: {"b": []}}], ids=repr)
def test_plain_values_arrive_as_they_were(ends, value):
    arrived = through(ends, value)
    assert arrived == value and type(arrived) is type(value)


def test_nan_arrives(ends):
    assert math.isnan(through(ends, math.nan))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4),
        torch.randn(6, 4).t(),
        torch.randn(5, 8)[1:4, ::2],
        torch.zeros(2, 0, 3),
        torch.tensor(7, dtype=torch.int8),
        torch.randn(4).bfloat16(),
        torch.ones(1).expand(3, 5),
        torch.tensor([math.nan, math.inf]),
        torch.randn(2, 3, dtype=torch.complex64),
    ],
    ids=lambda t: f"{t.dtype}{tuple(t.shape)}",
)
def test_tensors_arrive_with_their_strides(ends, tensor):
    arrived = through(ends, tensor)
    assert (arrived.dtype, arrived.shape, arrived.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
    assert torch.equal(arrived.nan_to_num(), tensor.nan_to_num())


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_quantized_tensors_arrive(ends):
    w = torch.randn(4, 6)
    per_row = torch.quantize_per_channel(w, torch.rand(4) + 0.1, torch.zeros(4, dtype=torch.int64), 0, torch.qint8)
    for tensor in (torch.quantize_per_tensor(w, 0.1, 3, torch.quint8), per_row):
        arrived = through(ends, tensor)
        assert arrived.qscheme() == tensor.qscheme() and torch.equal(arrived.dequantize(), tensor.dequantize())


def test_many_frames_both_ways(ends):
    def echo():
        for _ in range(20):
            frame = ends[1].receive()
            ends[1].send("echo", frame.body)

    thread = threading.Thread(target=echo)
    thread.start()
    for n in range(20):
        tensor = torch.arange(n * 50_000)
        ends[0].send("value", pack((tensor, n), refuse))
        back, number = unpack(ends[0].receive().body)
        assert number == n and torch.equal(back, tensor)
    thread.join()


def tensor_frame(dtype="float32", shape=(2,), stride=(1,), size=8, index=0, **rest):
    body = {"tensor": [dtype, list(shape), list(stride), index]}
    return {"kind": "value", "body": body, "sizes": [size]} | rest


ODD = {
    "no-json": b"{",
    "a-list": [1, 2, 3],
    "text": "verdict: passed",
    "an-extra-claim": tensor_frame(verdict="passed"),
    "too-many-buffers": {"kind": "value", "body": None, "sizes": [0] * (MOST_BUFFERS + 1)},
    "one-buffer-for-two": {
        "kind": "value",
        "body": {"list": [{"tensor": ["float32", [2], [1], 0]}, {"tensor": ["float32", [2], [1], 0]}]},
        "sizes": [8],
    },
    "one-buffer-for-two-texts": {"kind": "value", "body": {"list": [{"bytes": 0}, {"bytes": 0}]}, "sizes": [8]},
    "quantized-without-scales": tensor_frame("qint8", size=2),
    "no-body": {"kind": "value", "sizes": []},
    "a-kind-that-is-none": {"kind": 1, "body": None, "sizes": []},
    "not-a-number": b'{"kind": "value", "body": NaN, "sizes": []}',
    "a-bare-list": {"kind": "value", "body": [1], "sizes": []},
    "two-kinds-at-once": {"kind": "value", "body": {"list": [], "tuple": []}, "sizes": []},
    "an-unknown-kind": {"kind": "value", "body": {"pickle": "gASVAA=="}, "sizes": []},
    "an-unknown-dtype": tensor_frame("float31"),
    "too-few-bytes": tensor_frame(shape=(3,)),
    "too-many-bytes": tensor_frame(shape=(1,)),
    "a-negative-shape": tensor_frame(shape=(-2,)),
    "a-negative-stride": tensor_frame(stride=(-1,)),
    "a-shape-of-floats": tensor_frame(shape=(2.0,)),
    "true-for-one": tensor_frame(shape=(True,), size=4),
    "strides-for-another-shape": tensor_frame(stride=(1, 1)),
    "a-huge-tensor-of-one-number": tensor_frame(shape=(1 << 40,), stride=(0,), size=4),
    "nine-dimensions": tensor_frame(shape=(1,) * 9, stride=(1,) * 9, size=4),
    "another-buffer": tensor_frame(index=1),
    "the-last-buffer": tensor_frame(index=-1),
    "a-negative-size": tensor_frame(size=-8),
    "more-than-the-buffer": tensor_frame(size=ROOM + 1),
    "a-key-that-is-a-list": {"kind": "value", "body": {"dict": [[{"list": []}, 1]]}, "sizes": []},
    "half-a-pair": {"kind": "value", "body": {"dict": [[1]]}, "sizes": []},
    "a-configuration-of-another-make": {"kind": "value", "body": {"config": {"n_layer": 1}}, "sizes": []},
    "a-float-that-is-none": {"kind": "value", "body": {"float": "0x"}, "sizes": []},
    "a-token-without-a-kind": {"kind": "value", "body": {"token": [1]}, "sizes": []},
    "too-deep": {"kind": "value", "body": None, "sizes": []},
}
_deep: object = None
for _ in range(DEEPEST + 2):
    _deep = {"list": [_deep]}
ODD["too-deep"]["body"] = _deep


@pytest.mark.parametrize("frame", ODD.values(), ids=ODD)
def test_odd_frames_are_not_believed(ends, frame):
    raw(ends, frame)
    with pytest.raises(Odd):
        ends[1].receive()


def quantized(codes, scales, zeros, axis, dtype="qint8"):
    sizes, parts = [], []
    for name, shape in (codes, scales, zeros):
        size = math.prod(shape) * {"int8": 1, "float64": 8, "int64": 8, "float32": 4}[name]
        stride = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
        parts.append({"tensor": [name, list(shape), stride, len(sizes)]})
        sizes.append(size)
    return {"kind": "value", "body": {"quantized": [*parts, axis, dtype]}, "sizes": sizes}


CODES = ("int8", (4, 6))


@pytest.mark.parametrize(
    "frame",
    [
        quantized(CODES, ("float64", (3,)), ("int64", (3,)), 0),
        quantized(CODES, ("float64", (4,)), ("int64", (4,)), 1),
        quantized(CODES, ("float64", (4,)), ("int64", (4,)), 2),
        quantized(CODES, ("float64", (4,)), ("int64", (4,)), -1),
        quantized(CODES, ("int8", (4,)), ("int64", (4,)), 0),
        quantized(CODES, ("float64", (2,)), ("int64", (2,)), None),
        quantized(CODES, ("float64", (4,)), ("int64", (4,)), 0, "quint8"),
        quantized(CODES, ("float64", (4,)), ("int64", (4,)), 0, "float32"),
    ],
    ids=["three-scales", "another-axis", "no-such-axis", "axis-1", "int-scales", "two-for-one", "kind", "no-kind"],
)
def test_quantized_tensors_are_checked_before_they_are_built(ends, frame):
    raw(ends, frame)
    with pytest.raises(Odd):
        ends[1].receive()


def test_a_length_of_four_gigabytes_is_not_waited_for(ends):
    ends[0]._socket.setblocking(True)
    ends[0]._socket.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(Odd, match="4,294,967,295"):
        ends[1].receive()


def test_half_a_frame_is_overdue_and_a_closed_end_is_closed(ends):
    ends[0]._socket.setblocking(True)
    ends[0]._socket.sendall(struct.pack("!I", 100) + b"{")
    import time

    with pytest.raises(Overdue):
        ends[1].receive(time.monotonic() + 0.2)
    ends[0].close()
    with pytest.raises(Closed):
        ends[1].receive(time.monotonic() + 5)


def test_what_is_too_large_is_refused_by_the_sender(ends):
    deep: list = []
    for _ in range(DEEPEST + 2):
        deep = [deep]
    for value in ("x" * (LONGEST + 1), list(range(2_000_000)), deep, pack(torch.ones(ROOM // 4 + 1), refuse)):
        with pytest.raises(Refused):
            ends[0].send("value", value)


def test_what_is_read_is_a_copy(ends):
    ends[0].send("value", pack(torch.zeros(4), refuse))
    arrived = unpack(ends[1].receive().body)
    ends[0]._room[:16] = b"\xff" * 16
    assert torch.equal(arrived, torch.zeros(4))


def test_the_buffer_cannot_be_made_shorter():
    buffer = shared_buffer()
    with pytest.raises(PermissionError):
        os.ftruncate(buffer, 10)
    os.close(buffer)


def test_tokens_arrive_as_tokens(ends):
    ends[0].send("value", (Token("handle", (1, "GPT", True)),))
    assert ends[1].receive().body == (Token("handle", (1, "GPT", True)),)
