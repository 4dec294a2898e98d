"""What travels between the trusted side and a worker: frames of JSON, and the bytes of tensors in a shared buffer.

Nothing that a worker sends is executed or unpickled. A frame is checked in full before it counts: its length, the
number and the length of its buffers, each tensor's dtype and shape against the bytes that came for it. What is odd
raises Odd, and whoever sent it is not to be believed any more.

The buffer is memory that both sides map; its size is sealed. The sides speak in turn, so that one buffer does for both
directions. A worker may write into it at any time, so what is read is copied before it is looked at.
"""

import fcntl
import json
import math
import mmap
import os
import select
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from grader.suite.marshal import Packed, Quantized
from llm.model import GPTConfig

ROOM = 256 << 20  # bytes of the shared buffer: a GPT in float32 four times over
LONGEST = 8 << 20  # bytes of a frame's JSON
MOST_BUFFERS = 50_000  # of one frame: a state dict has some hundred tensors, or one a row of every weight
DEEPEST = 20  # levels of lists within lists
FARTHEST = 1 << 40  # numbers from one to the next along a dimension
DIMENSIONS = 8
ALIGNED = 64
LOOK = 0.5  # seconds between two looks at whether to wait no longer
SEALS = 0x0001 | 0x0002 | 0x0004  # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW: a shorter file would be a trap for a reader
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32),
        *(torch.uint64, torch.qint8, torch.quint8, torch.qint32, torch.float8_e4m3fn, torch.float8_e5m2),
    )
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
QUANTIZED = {"qint8": torch.int8, "quint8": torch.uint8, "qint32": torch.int32}  # and what their codes are made of


class Odd(Exception):
    """A frame that no honest worker sends."""


class Refused(Exception):
    """What cannot cross. No ValueError and no TypeError: nobody is to take it for one that a student raised."""


class Closed(Exception):
    """The other end is gone."""


class Overdue(Exception):
    """No whole frame came in time."""


@dataclass(frozen=True)
class Token:
    """Stands for something that does not cross: `kind` says what, and `fields` which one."""

    kind: str
    fields: tuple


@dataclass(frozen=True)
class Frame:
    kind: str
    body: Any  # as grader.suite.marshal.pack made it, with Tokens


class Channel:
    """One end: a socket for the JSON, and the shared buffer.

    trusts: whether what the other end sends is taken at its word in what it asks to build; a worker trusts, we do not
    """

    def __init__(self, end: socket.socket, buffer: int):
        self._socket, self._room = end, mmap.mmap(buffer, ROOM)
        self._socket.setblocking(False)

    def send(self, kind: str, body: Any, until: float = math.inf) -> None:
        """raises: Closed, Overdue, Refused"""
        self.post(self.prepare(kind, body), until)

    def prepare(self, kind: str, body: Any) -> bytes:
        """Lays the tensors into the buffer; what is left is for post."""
        buffers: list[memoryview] = []
        text = json.dumps({"kind": kind, "body": _encode(body, buffers, 0), "sizes": [len(b) for b in buffers]})
        data = text.encode()
        if len(data) > LONGEST:
            raise Refused(f"{len(data):,} bytes of plain values are too many to cross: return tensors")
        if len(buffers) > MOST_BUFFERS:
            raise Refused(f"{len(buffers):,} tensors at once are too many to cross: make fewer, larger ones of them")
        place = 0
        for buffer in buffers:
            if place + len(buffer) > ROOM:
                raise Refused(f"more than {ROOM >> 20} MB of tensors at once are too many to cross")
            self._room[place : place + len(buffer)] = buffer
            place = _next(place + len(buffer))
        return struct.pack("!I", len(data)) + data

    def receive(self, until: float = math.inf, late: Callable[[], bool] | None = None) -> Frame:
        """The next frame, checked.

        until: of time.monotonic; late: asked now and then, whether to wait no longer

        raises: Odd, Closed, Overdue
        """
        return self.read(self.fetch(until, late))

    def fetch(self, until: float = math.inf, late: Callable[[], bool] | None = None) -> bytes:
        """The next frame as it came: from now on all of it can be read."""
        (length,) = struct.unpack("!I", self._read(4, until, late))
        if length > LONGEST:
            raise Odd(f"a frame of {length:,} bytes was announced")
        return self._read(length, until, late)

    def read(self, data: bytes) -> Frame:
        """What was fetched, checked."""
        try:
            frame = json.loads(data)
            kind, body, sizes = frame["kind"], frame["body"], frame["sizes"]
            if not isinstance(kind, str) or len(frame) != 3:
                raise Odd("a frame of another make")
            return Frame(kind, _decode(body, self._buffers(sizes), 0))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
            raise Odd(f"a frame that cannot be read: {type(error).__name__}") from None

    def close(self) -> None:
        self._socket.close()

    def _buffers(self, sizes: Any) -> list[Tensor]:
        """Copies of the buffers, one after the other."""
        if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
            raise Odd("buffers without a size")
        if len(sizes) > MOST_BUFFERS:
            raise Odd(f"{len(sizes):,} buffers at once")
        buffers, place = [], 0
        for size in sizes:
            if place + size > ROOM:
                raise Odd("more bytes than the buffer holds")
            copy = bytearray(self._room[place : place + size])
            buffers.append(torch.frombuffer(copy, dtype=torch.uint8) if copy else torch.empty(0, dtype=torch.uint8))
            place = _next(place + size)
        return buffers

    def post(self, data: bytes, until: float = math.inf) -> None:
        rest = memoryview(data)
        while rest:
            _wait(select.POLLOUT, self._socket, until)
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Closed from None

    def _read(self, count: int, until: float, late: Callable[[], bool] | None = None) -> bytes:
        parts, missing = [], count
        while missing:
            _wait(select.POLLIN, self._socket, until, late)
            try:
                part = self._socket.recv(min(missing, 1 << 20))
            except BlockingIOError:
                continue
            except OSError:
                raise Closed from None
            if not part:
                raise Closed
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def shared_buffer(sealed: bool = True) -> int:
    """A file descriptor of ROOM bytes of memory, none of which are taken before they are written.

    sealed: its size cannot be changed, which only Linux can do; else it is an unnamed file
    """
    if not sealed:
        with tempfile.TemporaryFile() as file:
            file.truncate(ROOM)
            return os.dup(file.fileno())
    buffer = os.memfd_create("kata", os.MFD_ALLOW_SEALING)
    os.ftruncate(buffer, ROOM)
    fcntl.fcntl(buffer, fcntl.F_ADD_SEALS, SEALS)
    return buffer


def _wait(event: int, end: socket.socket, until: float, late: Callable[[], bool] | None = None) -> None:
    """raises: Overdue"""
    poll = select.poll()
    poll.register(end, event)
    while True:
        left = min(until - time.monotonic(), LOOK if late else math.inf)
        if poll.poll(None if left == math.inf else max(0, math.ceil(left * 1000))):
            return
        if time.monotonic() >= until or (late and late()):
            raise Overdue


def _next(place: int) -> int:
    return -(-place // ALIGNED) * ALIGNED


# ---- values ----------------------------------------------------------------------------------------------------------
#
# Scalars are JSON's own; everything else is an object with one key, which says what it is.


def _encode(value: Any, buffers: list[memoryview], depth: int) -> Any:
    if depth > DEEPEST:
        raise Refused(f"more than {DEEPEST} lists within each other are too many to cross")
    inside = lambda v: _encode(v, buffers, depth + 1)  # noqa: E731
    match value:
        case str() if len(value) > LONGEST:
            raise Refused(f"a text of {len(value):,} characters is too long to cross")
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case bytes():
            buffers.append(memoryview(value))
            return {"bytes": len(buffers) - 1}
        case torch.dtype():
            return {"dtype": _name(value)}
        case GPTConfig():
            return {"config": {name: inside(v) for name, v in asdict(value).items()}}
        case Packed():
            buffers.append(memoryview(value.data.numpy()))
            return {"tensor": [_name(value.dtype), list(value.shape), list(value.stride), len(buffers) - 1]}
        case Quantized():
            parts = [inside(part) for part in (value.codes, value.scales, value.zero_points)]
            return {"quantized": [*parts, value.axis, _name(value.dtype)]}
        case Token():
            return {"token": [value.kind, *(inside(field) for field in value.fields)]}
        case dict():
            return {"dict": [[inside(k), inside(v)] for k, v in value.items()]}
        case list():
            return {"list": [inside(v) for v in value]}
        case tuple():
            return {"tuple": [inside(v) for v in value]}
    raise Refused(f"a {type(value).__name__} cannot cross")


def _name(dtype: torch.dtype) -> str:
    if dtype not in NAMES:
        raise Refused(f"a tensor of {dtype} cannot cross")
    return NAMES[dtype]


def _decode(value: Any, buffers: list[Tensor | None], depth: int) -> Any:
    if depth > DEEPEST:
        raise Odd("lists within lists without end")
    if value is None or isinstance(value, bool | int | str):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise Odd("a value of no known kind")
    ((kind, content),) = value.items()
    decode = _DECODERS.get(kind)
    if decode is None:
        raise Odd(f"a value of no known kind: {kind[:20]}")
    return decode(content, buffers, lambda v: _decode(v, buffers, depth + 1))


def _tensor(content: Any, buffers: list[Tensor | None], _: Callable) -> Packed:
    name, shape, stride, index = content
    dtype = DTYPES[name]
    if not all(type(n) is int and n >= 0 for n in (*shape, *stride, index)) or len(shape) != len(stride):
        raise Odd("a tensor with a shape of no known kind")
    numbers = math.prod(shape)
    large = numbers * dtype.itemsize > ROOM or max((*shape, *stride), default=0) > FARTHEST
    if len(shape) > DIMENSIONS or large:
        raise Odd("a tensor that is too large to be true")
    extent = 0 if numbers == 0 else 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if name in QUANTIZED:
        raise Odd("a quantized tensor without its scales")
    data = _taken(buffers, index)
    if extent * dtype.itemsize != len(data):
        raise Odd("a tensor whose bytes are not those of its shape")
    return Packed(dtype, tuple(shape), tuple(stride), data)


def _taken(buffers: list[Tensor | None], index: int) -> Tensor:
    """A buffer, once: named again and again it would take a multiple of the memory that came."""
    data, buffers[index] = buffers[index], None
    if data is None:
        raise Odd("a buffer for two values")
    return data


def _quantized(content: Any, buffers: list[Tensor | None], inside: Callable) -> Quantized:
    *parts, axis, name = content
    codes, scales, zeros = map(inside, parts)
    if not all(isinstance(part, Packed) for part in (codes, scales, zeros)):
        raise Odd("a quantized tensor made of something else")
    if QUANTIZED.get(name) != codes.dtype or zeros.dtype != torch.int64 or not scales.dtype.is_floating_point:
        raise Odd("a quantized tensor with parts of another type")
    if axis is not None and not (type(axis) is int and 0 <= axis < len(codes.shape)):
        raise Odd("a quantized tensor without an axis")
    of_each = (1,) if axis is None else (codes.shape[axis],)
    if any(part.shape not in (of_each, () if axis is None else of_each) for part in (scales, zeros)):
        raise Odd("a quantized tensor with too few scales, or too many")
    return Quantized(codes, scales, zeros, axis, DTYPES[name])


def _dict(content: Any, _: list[Tensor | None], inside: Callable) -> dict:
    pairs = [(inside(key), inside(value)) for key, value in content]
    if not all(key is None or isinstance(key, bool | int | str | float) for key, _ in pairs):
        raise Odd("a dictionary with keys of no known kind")
    return dict(pairs)


def _config(content: Any, _: list[Tensor | None], inside: Callable) -> GPTConfig:
    if content.keys() != {field.name for field in fields(GPTConfig)}:
        raise Odd("a configuration of another make")
    return GPTConfig(**{name: inside(value) for name, value in content.items()})


def _token(content: Any, _: list[Tensor | None], inside: Callable) -> Token:
    kind, *rest = content
    if not isinstance(kind, str):
        raise Odd("a token of no known kind")
    return Token(kind, tuple(map(inside, rest)))


_DECODERS: dict[str, Callable[[Any, list[Tensor | None], Callable], Any]] = {
    "float": lambda content, _, inside: float.fromhex(content),
    "bytes": lambda content, buffers, inside: _taken(buffers, _index(content)).numpy().tobytes(),
    "dtype": lambda content, _, inside: DTYPES[content],
    "config": _config,
    "tensor": _tensor,
    "quantized": _quantized,
    "token": _token,
    "dict": _dict,
    "list": lambda content, _, inside: [inside(v) for v in content],
    "tuple": lambda content, _, inside: tuple(inside(v) for v in content),
}


def _index(content: Any) -> int:
    if type(content) is not int or content < 0:
        raise Odd("bytes without a place")
    return content
