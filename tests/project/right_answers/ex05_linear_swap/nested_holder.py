"""The layer consists of submodules (a store of codes inside a wrapper), computes in float64, and the model is copied
by torch.save."""

import io

import torch
from torch import nn


class Store(nn.Module):
    def __init__(self, w):
        super().__init__()
        s = w.double().abs().amax(1, keepdim=True) / 127
        s = torch.where(s > 0, s, 1.0)
        self.register_buffer("int8", torch.round(w.double() / s).to(torch.int8))
        self.register_buffer("per_row", s.float())


class Layer(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.store = Store(linear.weight.detach())
        self.extra = nn.ParameterDict({} if linear.bias is None else {"b": nn.Parameter(linear.bias.detach().clone())})

    def forward(self, x):
        x = x.double()
        s = x.abs().amax(-1, keepdim=True) / 127
        s = torch.where(s > 0, s, 1.0)
        y = torch.round(x / s) @ self.store.int8.double().t() * (s * self.store.per_row.flatten())
        return (y + self.extra["b"] if "b" in self.extra else y).float()


def int8_linear(linear):
    return Layer(linear)


def swap_linears(model, skip=()):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    model = torch.load(file, weights_only=False)
    stay = [model.get_submodule(n) for n in skip]
    new = {m: int8_linear(m) for m in model.modules() if isinstance(m, nn.Linear) and m not in stay}
    if model in new:
        return new[model]
    for parent in tuple(model.modules()):
        for name in parent._modules:
            parent._modules[name] = new.get(parent._modules[name], parent._modules[name])
    return model
