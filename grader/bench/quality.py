"""`nox -s bench -- quality`: what every method of the exercises costs the GPT, in perplexity and in bytes.

Everything is measured with the functions of one folder, solutions/ unless --submission names another, on the shipped
GPT and on text it never saw. A drift's standard error is that of the mean over windows of the difference in nats, both
models reading the same windows.
"""

import argparse
import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from grader.suite import load_exercise
from grader.suite.host import host
from grader.suite.pytorch_quantization import choose_engine, without_deprecation_warnings
from llm.checkpoint import load_gpt
from llm.corpus import calibration_tokens, held_out_tokens
from llm.evaluate import window_nats
from llm.linears import linear_inputs, linears, with_layers, with_weights
from llm.model import GPT
from llm.outliers import with_outliers

WINDOWS = 80  # of held-out text, 256 targets each
CALIBRATION = 24  # windows of training text, for AWQ and GPTQ
BATCH = 8  # windows a call
OUTLIERS = (3, 100.0)  # channels and factor: LLM.int8's test bed
SALIENT = (51, (8.0, 30.0))  # AWQ's
EXERCISES = {
    1: "ex01_round_trip",
    2: "ex02_per_channel",
    5: "ex05_linear_swap",
    8: "ex08_cpu_speed",
    10: "ex10_int4",
    11: "ex11_outliers",
    12: "ex12_awq",
    13: "ex13_gptq",
    14: "ex14_kv_cache",
}

Model = Callable[[Tensor], Tensor]  # ids (B, T) to logits (B, T, V)


@dataclass(frozen=True)
class Row:
    """drift and standard_error as fractions; bits of a weight, scales included; bytes of all Linears' weights.

    For a KV cache, bits are those of a number in it, and bytes those of a full context of one text.
    """

    model: str
    method: str
    perplexity: float
    drift: float
    standard_error: float
    bits: float
    bytes: int


class Bench:
    """Makes a Row of a model; the nats of the float32 GPT are what each is compared with."""

    def __init__(self, submission: Path, windows: int):
        choose_engine()
        self.ex: dict[int, ModuleType] = {n: load_exercise.load(submission, name) for n, name in EXERCISES.items()}
        self.gpt = load_gpt().eval()
        self.context = self.gpt.config.block_size
        text = held_out_tokens()[: windows * self.context + 1]
        self.windows = text.unfold(0, self.context + 1, self.context)  # the last of one is the first of the next
        self.before = window_nats(self.gpt, self.windows, BATCH)
        self.weights = sum(linear.weight.numel() for linear in linears(self.gpt).values())
        self.rows = sum(linear.out_features for linear in linears(self.gpt).values())

    def row(self, what: str, method: str, model: Model, bits: float, size: int | None = None) -> Row:
        after = window_nats(model, self.windows, BATCH)
        change = after - self.before
        ratio = math.exp(change.mean())
        error = ratio * (change.std() / math.sqrt(len(change))).item()
        size = round(self.weights * bits / 8) if size is None else size
        return Row(what, method, math.exp(after.mean()), ratio - 1, error, bits, size)

    def bits(self, width: int, scales: str) -> float:
        """Of a weight, with the scales that it shares: "tensor" and "row" in float32, "group" of 32 in float16."""
        count = {"tensor": len(linears(self.gpt)), "row": self.rows, "group": 0}[scales]
        return width + (16 / 32 if scales == "group" else 32 * count / self.weights)

    def measure(self) -> Iterator[Row]:
        yield self.row("GPT", "float32", self.gpt, 32.0)
        yield from self.rounded()
        yield from self.int8("GPT", self.gpt)
        yield self.mixed("GPT", self.gpt)
        yield from self.calibrated("GPT", self.gpt, gptq=True)
        outliers = with_outliers(self.gpt, *OUTLIERS)
        name = f"with {OUTLIERS[0]} outlier channels"
        yield from self.int8(name, outliers)
        yield self.mixed(name, outliers)
        yield from self.calibrated(f"with {SALIENT[0]} salient channels", with_outliers(self.gpt, *SALIENT), gptq=False)
        yield from self.caches()

    def rounded(self) -> Iterator[Row]:
        for bits in (8, 4, 3, 2):
            for scales, rounding in (
                ("tensor", partial(self.ex[1].round_trip, bits=bits)),
                ("row", partial(self._per_row, bits=bits)),
                ("group", partial(self._per_group, bits=bits)),
            ):
                name = f"INT{bits} weights, to nearest, a scale a {scales}"
                yield self.row(
                    "GPT", name, with_weights(self.gpt, lambda _, w, r=rounding: r(w)), self.bits(bits, scales)
                )

    def int8(self, what: str, gpt: GPT) -> Iterator[Row]:
        yield self.row(what, "INT8 Linears, a scale a token", self.ex[5].swap_linears(gpt), self.bits(8, "row"))
        with without_deprecation_warnings():
            dynamic = self.ex[8].dynamic_int8(gpt)
        yield self.row(what, "INT8 quantize_dynamic", dynamic, self.bits(8, "tensor"))

    def mixed(self, what: str, gpt: GPT) -> Row:
        model = with_layers(gpt, lambda _, linear: self.ex[11].mixed_int8_linear(linear))
        return self.row(what, "LLM.int8, threshold 6.0", model, self.bits(8, "row") + 32)  # codes, and the float weight

    def calibrated(self, what: str, gpt: GPT, gptq: bool) -> Iterator[Row]:
        """Methods that need a calibration set; the inputs of all Linears are made once."""
        seen: dict[str, list[Tensor]] = {}
        for ids in calibration_tokens(CALIBRATION).split(BATCH):
            for name, x in linear_inputs(gpt, ids).items():
                seen.setdefault(name, []).append(x)
        inputs = {name: torch.cat(parts) for name, parts in seen.items()}
        for bits in (4, 3):
            if not gptq:
                model = with_weights(gpt, lambda _, w, b=bits: self._per_row(w, b))
                yield self.row(what, f"INT{bits} weights, to nearest, a scale a row", model, self.bits(bits, "row"))
            model = with_weights(gpt, lambda name, w, b=bits: self._awq(w, inputs[name], b))
            yield self.row(what, f"INT{bits} weights, AWQ, a scale a row", model, self.bits(bits, "row"))
        if gptq:
            hessians = {name: self.ex[13].hessian(x) for name, x in inputs.items()}
            for bits in (4, 3, 2):
                model = with_weights(gpt, lambda name, w, b=bits: self._gptq(w, hessians[name], b))
                yield self.row(what, f"INT{bits} weights, GPTQ, a scale a row", model, self.bits(bits, "row"))

    def caches(self) -> Iterator[Row]:
        config = self.gpt.config
        numbers = 2 * config.n_layer * config.n_embd * self.context
        head = config.n_embd // config.n_head
        for bits in (8, 4, 2):
            new = self.ex[14].Int8KVCache if bits == 8 else partial(self.ex[14].RoundedCache, bits)

            def model(ids: Tensor, new=new) -> Tensor:
                return self.gpt(ids, [new() for _ in self.gpt.blocks])

            taken = bits + 32 / head
            yield self.row(
                "GPT", f"INT{bits} KV cache, a scale a token and head", model, taken, round(numbers * taken / 8)
            )

    def _per_row(self, w: Tensor, bits: int) -> Tensor:
        return self.ex[2].dequantize_per_channel(*self.ex[2].quantize_per_channel(w, bits))

    def _per_group(self, w: Tensor, bits: int, size: int | None = 32) -> Tensor:
        codes, scales = self.ex[10].quantize_grouped(w, bits, size)
        return codes * scales.float().repeat_interleave(size or w.shape[1], dim=1)[:, : w.shape[1]]

    def _awq(self, w: Tensor, x: Tensor, bits: int) -> Tensor:
        s = self.ex[12].awq_scales(w, x, bits, None)
        return self._per_group(w * s, bits, None) / s

    def _gptq(self, w: Tensor, h: Tensor, bits: int) -> Tensor:
        codes, scales = self.ex[13].gptq_quantize(w, h, bits)
        return codes * scales


def agreements(bench: Bench) -> Iterator[tuple[str, str]]:
    """Our grid beside that of other people's code, on the weights of the GPT's Linears: what, and how far it agrees."""
    weights = [linear.weight.detach() for linear in linears(bench.gpt).values()]
    total = sum(w.numel() for w in weights)
    for bits in (8, 4):
        qmax, same, apart = 2 ** (bits - 1) - 1, 0, 0.0
        for w in weights:
            codes, scales = bench.ex[2].quantize_per_channel(w, bits)
            theirs = torch.fake_quantize_per_channel_affine(w, scales.flatten(), torch.zeros(len(w)), 0, -qmax, qmax)
            other = (theirs / scales).round()
            same += int((codes == other).sum())
            apart = max(apart, (codes - other).abs().max().item())
        yield f"torch.fake_quantize_per_channel_affine, {bits} bits, a scale a row", _agreement(same, total, apart)
    try:
        with quietly():
            import gguf
            import torchao
            from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine, quantize_affine
    except ImportError as error:
        yield "torchao, gguf", f"not installed ({error.name}): they belong to the project's own tests"
        return
    for bits, size in ((8, None), (4, 32)):
        qmax, same, apart = 2 ** (bits - 1) - 1, 0, 0.0
        for w in weights:
            codes, scales = (
                bench.ex[10].quantize_grouped(w, bits, size) if size else bench.ex[2].quantize_per_channel(w, bits)
            )
            block = (1, size or w.shape[1])
            about = {"quant_min": -qmax, "quant_max": qmax}
            steps, zero = choose_qparams_affine(w, MappingType.SYMMETRIC, block, torch.int8, **about)
            if size:
                steps = scales.float()  # theirs stay in float32: what is compared is the codes
            other = quantize_affine(w, block, steps, zero.to(torch.int8), torch.int8, **about)
            same += int((codes == other).sum())
            apart = max(apart, (codes.int() - other.int()).abs().max().item())
        what = f"groups of {size}" if size else "a scale a row"
        yield f"torchao {torchao.__version__}, {bits} bits, {what}", _agreement(same, total, apart)
    same, apart, kind = 0, 0.0, gguf.GGMLQuantizationType.Q8_0
    for w in weights:
        codes, scales = bench.ex[10].quantize_grouped(w, 8, 32)
        steps = scales.float().repeat_interleave(32, dim=1)
        theirs = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(w.numpy(), kind), kind))
        other = (theirs / steps).round()
        same += int((codes == other).sum())
        apart = max(apart, (codes - other).abs().max().item())
    yield "gguf Q8_0, 8 bits, groups of 32 (codes made before scales are rounded)", _agreement(same, total, apart)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """For importing torchao, which has much to say of GPUs and of PyTorch."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _agreement(same: int, total: int, apart: float) -> str:
    return f"{same / total:.4%} of {total:,} codes are the same, the others {apart:.0f} apart at most"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nox -s bench -- quality", description=__doc__.splitlines()[0])
    parser.add_argument("--submission", type=Path, default=Path("solutions"))
    parser.add_argument("--windows", type=int, default=WINDOWS, help="of held-out text, 256 targets each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(argv)
    if not 2 <= options.windows <= len(held_out_tokens()) // 256 - 1:
        parser.error(f"--windows is {options.windows}: use 2 or more, as far as the held-out text goes")
    here, bench = host(), Bench(options.submission, options.windows)
    tokens = options.windows * bench.context
    print(f"Measured on {here.cpu}, {here.cores} cores, PyTorch {here.torch}, {tokens:,} held-out tokens\n")
    print("| model | method | perplexity | drift | bits | MB |\n|---|---|---:|---:|---:|---:|")
    rows = []
    for row in bench.measure():
        rows.append(row)
        drift = f"{row.drift:+.2%} ± {row.standard_error:.2%}" if len(rows) > 1 else ""
        size = f"{row.bytes / 1e6:.2f}"
        print(f"| {row.model} | {row.method} | {row.perplexity:.2f} | {drift} | {row.bits:.2f} | {size} |", flush=True)
    print("\nBeside other people's code, on the weights of all Linears:\n")
    agreed = dict(agreements(bench))
    for what, agreement in agreed.items():
        print(f"* {what}: {agreement}")
    if options.json:
        report = {"host": asdict(here), "tokens": tokens, "rows": [asdict(row) for row in rows], "agreement": agreed}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0
