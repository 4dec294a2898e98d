"""Models that suites hand to students' code: small, and built so that a wrong answer shows."""

import copy

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x + body(x): one more level of nesting."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Nested(nn.Module):
    """Linears in every kind of container, one of them used in two places, behind an embedding.

    siblings: that one is used in a third place, beside the first, where named_children() does not list it again. Not
              for PyTorch's own quantize_dynamic, which overlooks it and leaves it in float32
    """

    def __init__(self, vocab: int = 40, width: int = 96, siblings: bool = False):
        super().__init__()
        shared = nn.Linear(width, width)
        block = [nn.LayerNorm(width), shared] + [nn.GELU(), shared] * siblings
        self.embedding = nn.Embedding(vocab, width)
        self.first = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.Linear(128, width, bias=False))
        self.blocks = nn.ModuleList([Residual(nn.Sequential(*block)), Residual(shared)])
        self.heads = nn.ModuleDict({"a": nn.Linear(width, 70), "b": nn.Sequential(nn.Linear(width, 70))})

    def forward(self, ids: Tensor) -> Tensor:
        x = self.first(self.embedding(ids))
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x) + self.heads["b"](x)


class Twice(nn.Module):
    """One Linear used twice in a call, whose two outputs are needed at the same time: `linear(a) + linear(b)`."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return self.linear(a) + self.linear(b)


class InPlace(nn.Module):
    """One Linear asked about the same tensor twice, whose values changed in between."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        before = self.linear(x)
        return before + self.linear(x.mul_(-2))


class Spy(nn.Module):
    """A language model whose logits depend on all tokens of a window, and which notes how it was called.

    vocab:    V
    raise_at: the call, counted from 1, that raises an error, first a RuntimeError, later a ValueError; 0: none
    """

    def __init__(self, vocab: int, generator: torch.Generator, raise_at: int = 0):
        super().__init__()
        self.table = nn.Parameter(torch.randn(vocab, vocab, generator=generator))
        self.memory = nn.Parameter(torch.randn(vocab, vocab, generator=generator))
        self.noise = nn.Dropout(0.5)  # makes a difference in train mode
        self.frozen = nn.Sequential(nn.Identity())  # a part that stays in eval mode while the rest trains
        self.raise_at = raise_at
        for name in ("calls", "longest", "raised", "with_gradients", "in_train_mode"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    def __deepcopy__(self, memo: dict) -> "Spy":
        """A copy that notes its calls in the same place: who evaluates a copy calls the model, too."""
        memo |= {id(note): note for note in self.buffers()}
        twin = memo[id(self)] = self.__class__.__new__(self.__class__)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def forward(self, ids: Tensor) -> Tensor:
        B, T = ids.shape
        self.calls += 1
        self.longest.clamp_(min=T)
        self.in_train_mode += any(module.training for module in self.modules())
        if self.calls == self.raise_at:
            self.raised += 1
            raise (RuntimeError if self.raise_at == 1 else ValueError)("this model breaks off on purpose")
        past = self.memory[ids].cumsum(dim=1) / torch.arange(1, T + 1).sqrt()[:, None]
        logits = self.noise(self.table[ids] + past)
        self.with_gradients += logits.requires_grad
        return logits


class Storage(nn.Module):
    """Whatever tensors a test wants to see saved, and one that is not."""

    def __init__(self, scratch: Tensor | None = None, **tensors: Tensor):
        super().__init__()
        self.register_buffer("scratch", scratch, persistent=False)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


class CodesLinear(nn.Module):
    """An int8 Linear as ex05 describes it, for suites that need one from a trusted hand."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        w = linear.weight.detach()
        largest = w.abs().amax(dim=1, keepdim=True)
        scales = torch.where(largest > 0, largest / 127, 1.0)
        self.register_buffer("weight", (w / scales).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("weight_scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        y = x @ (self.weight.float() * self.weight_scales).t()
        return y if self.bias is None else y + self.bias


def with_codes(model: nn.Module) -> nn.Module:
    """model itself, changed: every Linear below it becomes a CodesLinear."""
    for name, child in list(model._modules.items()):  # named_children() leaves out a child's second name
        if isinstance(child, nn.Linear):
            setattr(model, name, CodesLinear(child))
        else:
            with_codes(child)
    return model
