"""`nox -s bench -- claims`: the chapter's claims with a number, N1 to N10, beside what this project measures.

Everything is measured with the functions of one folder, solutions/ unless --submission names another, on the shipped
GPT and on text it never saw.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from grader.suite import load_exercise
from grader.suite.host import host
from grader.suite.pytorch_quantization import choose_engine
from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from llm.model import GPT

TOKENS = 20_481  # 80 windows of 256 targets each
COURSE = {"vocab_size": 50257, "n_head": 4, "n_embd": 128}  # the shape of the course that the chapter belongs to
EXERCISES = {
    1: "ex01_round_trip",
    2: "ex02_per_channel",
    3: "ex03_error_growth",
    5: "ex05_linear_swap",
    6: "ex06_perplexity",
    7: "ex07_model_size",
    8: "ex08_cpu_speed",
}


Finding = tuple[str, str]  # what was measured, and the verdict


class Measurements:
    """Each method measures one claim and says whether it holds; they share the models made in __init__."""

    def __init__(self, submission: Path):
        choose_engine()
        self.ex: dict[int, ModuleType] = {n: load_exercise.load(submission, name) for n, name in EXERCISES.items()}
        self.gpt, self.tokens = load_gpt(), held_out_tokens()[:TOKENS]
        self.int8 = self.ex[5].swap_linears(self.gpt)
        self.before = self.perplexity(self.gpt)

    def perplexity(self, model: nn.Module) -> float:
        return float(self.ex[6].perplexity(model, self.tokens, self.gpt.config.block_size))

    def drift(self, weight: Callable[[Tensor], Tensor]) -> float:
        """Of the GPT with `weight` applied to the weight of every Linear."""
        model = copy.deepcopy(self.gpt)
        for linear in model.modules():
            if isinstance(linear, nn.Linear):
                linear.weight.data = weight(linear.weight.data)
        return self.perplexity(model) / self.before - 1

    def per_channel(self, bits: int) -> Callable[[Tensor], Tensor]:
        return lambda w: self.ex[2].dequantize_per_channel(*self.ex[2].quantize_per_channel(w, bits))

    def speedup(self, baseline: nn.Module, candidate: nn.Module) -> float:
        """For 128 fresh tokens on one thread: median of 21 paired ratios."""
        threads, ratios = torch.get_num_threads(), []
        torch.set_num_threads(1)
        with torch.no_grad():
            for k in range(22):
                ids = self.tokens[None, k * 128 : k * 128 + 128]
                times = []
                for contender in (baseline, candidate):
                    began = time.perf_counter()
                    contender(ids)
                    times.append(time.perf_counter() - began)
                ratios.append(times[0] / times[1])
        torch.set_num_threads(threads)
        return statistics.median(ratios[1:])

    def n1(self) -> Finding:
        ratio = self.ex[7].compression_ratio(self.gpt, self.int8)
        course = self.ex[7].predicted_ratio(replace(self.gpt.config, **COURSE))
        measured = f"{ratio:.2f}x in the file; the course's own shape, nearly half of it embeddings, {course:.2f}x"
        return measured, _verdict(2.8 <= ratio <= 3.6, "holds where nearly all parameters are Linear weights")

    def n2(self) -> Finding:
        fast, own = self.speedup(self.gpt, self.ex[8].fast_int8(self.gpt)), self.speedup(self.gpt, self.int8)
        gpt = GPT(replace(self.gpt.config, **COURSE)).eval()
        course = self.speedup(gpt, self.ex[8].dynamic_int8(gpt))
        measured = (
            f"{fast:.2f}x; the layer of ex05 {own:.2f}x; quantize_dynamic on the course's own shape {course:.2f}x"
        )
        return measured, _verdict(fast >= 2, "holds for this GPT", "not on this processor")

    def n3(self) -> Finding:
        drift = self.perplexity(self.int8) / self.before - 1
        return f"{drift:+.3%}, from {self.before:.2f}", _verdict(abs(drift) < 0.01)

    def n4(self) -> Finding:
        w = self.gpt.blocks[0].mlp.up.weight.data
        norm = w.square().mean().sqrt()
        error = {bits: ((self.ex[1].round_trip(w, bits) - w).square().mean().sqrt() / norm) for bits in (8, 4, 2)}
        words = ", ".join(f"{e:.1%} at {bits}" for bits, e in error.items())
        right = error[8] < 0.02 and error[4] < 0.5 < error[2]
        return f"rms error of a trained matrix, of its rms: {words} bits", _verdict(right)

    def n5(self) -> Finding:
        drift = {bits: self.drift(self.per_channel(bits)) for bits in (4, 3, 2)}
        words = ", ".join(f"int{bits} {d:+.1%}" for bits, d in drift.items())
        right = drift[4] < 0.05 and drift[2] > 0.5
        return f"round to nearest, a scale a row: {words}", _verdict(right, "holds, even for the simplest method")

    def n6(self) -> Finding:
        torch.manual_seed(0)
        sizes = torch.tensor([64, 256, 1024, 4096, 16384])
        errors = [self.ex[3].output_error(torch.rand(256, n) * 2 - 1, torch.randn(n) + 1) for n in sizes.tolist()]
        x, y = sizes.double().log(), torch.tensor([float(e) for e in errors]).double().log()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        return f"like n ** {slope:.2f}", _verdict(abs(slope - 0.5) <= 0.05)

    def n7(self) -> Finding:
        tensor, channel = self.drift(lambda w: self.ex[1].round_trip(w, 4)), self.drift(self.per_channel(4))
        measured = f"drift at 4 bits {tensor:+.1%} with one scale, {channel:+.1%} with a scale a row, for 4 bytes a row"
        return measured, _verdict(channel < tensor)

    def n8(self) -> Finding:
        linears = [m for m in self.gpt.modules() if isinstance(m, nn.Linear)]
        weights, rows = sum(m.weight.numel() for m in linears), sum(m.out_features for m in linears)
        everything = sum(p.numel() for p in self.gpt.parameters())
        rest = 4 * (everything - weights) + 4 * rows
        size = {bits: 4 * everything / (weights * bits / 8 + rest) for bits in (8, 4)}
        measured = f"size {size[8]:.1f}x at 8 bits, {size[4]:.1f}x at 4, what stays in float32 counted; speed as N2"
        return measured, _verdict(size[8] >= 4 and size[4] >= 8, otherwise="holds for the Linear weights alone")

    def n9(self) -> Finding:
        half, int8 = self.ex[7].saved_bytes(load_gpt().half()), self.ex[7].saved_bytes(self.int8)
        whole = self.ex[7].saved_bytes(self.gpt)
        measured = f"{int8 / half:.0%} of the float16 file, {int8 / whole:.0%} of the float32 one"
        return measured, _verdict(
            int8 / half < 0.55, otherwise="not quite, against half precision: embeddings stay in float32"
        )

    def n10(self) -> Finding:
        torch.manual_seed(0)
        found, right = [], True
        for bits in (8, 4):
            rounded = self.drift(self.per_channel(bits))
            noise = self.drift(lambda w, b=bits: w + (torch.rand_like(w) - 0.5) * self.ex[2].channel_scales(w, b))
            found.append(f"{bits} bits {rounded:+.2%} rounded, {noise:+.2%} with noise")
            right &= abs(noise) < 2 * abs(rounded) + 0.005
        return "; ".join(found), _verdict(right)


def _verdict(right: bool, holds: str = "holds", otherwise: str = "does not hold here") -> str:
    return holds if right else otherwise


CLAIMS = {
    "n1": "int8 is 4x smaller in theory, about 3x on the model",
    "n2": "CPU inference is roughly 2x faster",
    "n3": "perplexity rises by less than 1 %",
    "n4": "8 bits indistinguishable, 4 recognizable, 2 lost",
    "n5": "INT4 done well loses 2-5 %, INT2 does not work",
    "n6": "output error grows like sqrt(n), not n",
    "n7": "per-channel scales are a free improvement",
    "n8": "4-8x size reduction and 2-4x speed",
    "n9": "half the memory",
    "n10": "noise of the round-off's size does as little harm",
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nox -s bench -- claims", description=__doc__.splitlines()[0])
    parser.add_argument("--submission", type=Path, default=Path("solutions"))
    options = parser.parse_args(argv)
    measurements = Measurements(options.submission)
    here = host()
    dot_products = "with" if here.int8_dot_products else "without"
    print(
        f"Measured on {here.cpu}, {here.cores} cores, {dot_products} int8 dot products, PyTorch {here.torch}, "
        f"{TOKENS - 1:,} held-out tokens\n"
    )
    print("| | the chapter says | measured here | verdict |\n|---|---|---|---|")
    for name, claim in CLAIMS.items():
        measured, verdict = getattr(measurements, name)()
        print(f"| {name.upper()} | {claim} | {measured} | {verdict} |", flush=True)
    return 0
