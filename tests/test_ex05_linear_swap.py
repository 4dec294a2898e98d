"""ex05: a Linear in int8, and a whole model of them."""

import pytest
import torch
from torch import nn

from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from tests import oracle
from tests.messages import check_tensor, describe, fail
from tests.models import check_int8_weights, check_module, check_no_float_weight
from tests.specimens import Nested

COPY = "Copy first? And how deep does that copy go?"


@pytest.fixture(scope="module")
def gpt():
    return load_gpt()


@pytest.fixture
def net(rng):
    model = Nested(siblings=True).eval()
    for p in model.parameters():
        p.data.copy_(torch.randn(p.shape, generator=rng) * 0.1)
    return model


def linear_of(n, k, rng, bias=True):
    """A Linear (N, K) whose weights are far from ties."""
    linear = nn.Linear(k, n, bias=bias)
    linear.weight.data = oracle.away_from_ties((n, k), 1.0, rng) * (torch.rand(n, 1, generator=rng) + 0.1) * 1e-3
    if bias:
        linear.bias.data = torch.randn(n, generator=rng)
    return linear


def without_biases(model):
    """model itself, its biases all zero: whoever forgets one is told where a bias is the subject, and only there."""
    for linear in model.modules():
        if isinstance(linear, nn.Linear) and linear.bias is not None:
            linear.bias.data.zero_()
    return model


def check_close_to_float(layer, model, x, called):
    """layer computes what model does, but for int8 rounding: codes in its state dict alone would be no layer."""
    with torch.no_grad():
        want = model(x).double()
    got = check_tensor(layer(x), f"{called}(x)", want.shape, torch.float32)
    error = ((got - want).norm() / want.norm()).item()
    think = "Is what you registered also what `forward` multiplies with?"
    if not error < 0.03:
        fail(f"{called}(x)", f"outputs off by {error:.1%}", "at most 3 %, as int8 rounding gives", think)


@pytest.mark.points(2)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("lead", [(5,), (2, 3), ()], ids=lambda lead: f"x {(*lead, 128)}")
def test_a_layer_computes_in_exact_integers(student, rng, lead, bias):
    linear = linear_of(24, 128, rng, bias)
    layer = check_module(student.int8_linear(linear), "int8_linear(linear)")
    x = oracle.away_from_ties((*lead, 128), 0.02, rng)
    called = f"int8_linear(linear)(x), {'with' if bias else 'without'} bias, x {tuple(x.shape)}"
    got = check_tensor(layer(x), called, (*lead, 24), torch.float32)
    scales = oracle.channel_scales(linear.weight, 8, 0)
    codes = oracle.codes(linear.weight, scales)
    want, allowed = oracle.int8_linear(x, codes, scales, linear.bias.detach() if bias else None)
    think = "Are x's tokens quantized, is there a scale per output channel, and is the bias added once, unscaled?"
    oracle.check_close(got, want, allowed, called, "int8 codes multiplied exactly, then scaled, plus bias", think)


@pytest.mark.points(2)
def test_the_state_dict_holds_codes_and_scales_and_no_float_weight(student, rng):
    n, k = 48, 80
    linear = without_biases(linear_of(n, k, rng))
    called = "int8_linear(linear)"
    layer = check_module(student.int8_linear(linear), called)
    tensors = [t for t in layer.state_dict().values() if isinstance(t, torch.Tensor)]
    kinds = ", ".join(describe(t) for t in tensors) or "nothing"
    codes = [t for t in tensors if t.dtype == torch.int8]  # in one piece or in several, padded or not
    think = "What has to be saved with the model must be registered: as a buffer, since nothing trains it."
    enough = sum(t.numel() for t in codes) >= n * k
    if not enough:
        fail(f"{called}.state_dict()", kinds, f"the {n} x {k} codes, as int8", think)
    scales = oracle.channel_scales(linear.weight, 8, 0)
    if codes[0].shape in ((n, k), (k, n)):
        upright = codes[0] if codes[0].shape == (n, k) else codes[0].t()
        think = "Is there a scale for each output channel, and which axis of the weight is that?"
        oracle.check_codes(upright, linear.weight, scales, 8, f"{called}.state_dict(), codes", think)
    columns = [t.flatten() for t in tensors if t.is_floating_point() and t.numel() == n]
    right = any(oracle.same_scales(t, scales.flatten()).all() for t in columns)
    if not right:
        fail(f"{called}.state_dict()", kinds, f"{n} float scales, one per output channel: max|row| / 127")
    numbers = sum(t.numel() for t in tensors if t.dtype != torch.int8)
    if not numbers >= 2 * n:
        fail(f"{called}.state_dict()", kinds, f"{n} scales and the bias, {n} numbers", think)
    check_no_float_weight(layer, linear, called)
    check_close_to_float(layer, linear, torch.randn(5, k, generator=rng), called)


@pytest.mark.points(1)
def test_every_linear_at_any_depth_is_swapped(student, net, rng):
    ids = torch.randint(40, (3, 9), generator=rng)
    called = "swap_linears(model)"
    swapped = check_module(student.swap_linears(net), called)
    with torch.no_grad():
        want = net(ids).double()
    got = check_tensor(swapped(ids), f"{called}(ids)", want.shape, torch.float32)
    error = ((got - want).norm() / want.norm()).item()
    if not error < 0.03:
        fail(f"{called}(ids)", f"outputs off by {error:.1%}", "at most 3 %, as int8 rounding gives")
    think = (
        "Linears hang in lists, dicts and blocks: does your walk get to the bottom, and change the module they hang in?"
    )
    if not error > 0:
        fail(f"{called}(ids)", "the float model's outputs, bit for bit", "the rounding of int8 to show", think)
    check_no_float_weight(swapped, net, called)
    embedding = [t for t in swapped.state_dict().values() if torch.is_tensor(t) and t.shape == (40, 96)]
    kept = len(embedding) == 1 and torch.equal(embedding[0], net.embedding.weight)
    if not kept:
        fail(called, "an embedding that changed", "embeddings as they were, in float32")
    root = linear_of(32, 64, rng)
    layer = check_module(student.swap_linears(root), "swap_linears(a Linear)")
    check_no_float_weight(layer, root, "swap_linears(a Linear)")


@pytest.mark.points(1)
def test_the_model_you_were_given_stays_as_it_was(student, net, rng):
    without_biases(net).train()
    net.blocks[0].eval()  # one part in the other mode, and one that is not trained
    net.heads["a"].requires_grad_(False)
    before = {name: (type(m), m.training) for name, m in net.named_modules()}
    trained = {name: p.requires_grad for name, p in net.named_parameters()}
    values = {name: t.clone() for name, t in net.state_dict().items()}
    for called, model, swap, x in (
        ("swap_linears(model)", net, student.swap_linears, torch.randint(40, (3, 9), generator=rng)),
        ("int8_linear(linear)", net.first[0], student.int8_linear, torch.randn(3, 96, generator=rng)),
    ):
        swapped = check_module(swap(model), called)
        check_int8_weights(swapped, model, called)
        mine = student.view(model)
        now = {name: (type(m), m.training) for name, m in mine.named_modules()}
        expected = before if model is net else {"": before["first.0"]}
        changed = [name for name in expected if now.get(name) != expected[name]]
        if changed:
            fail(called, f"`{changed and changed[0]}` of the original model changed", "the original untouched", COPY)
        prefix = "" if model is net else "first.0."
        now = {prefix + name: t for name, t in mine.state_dict().items()}
        same = all(name in values and torch.equal(t, values[name]) for name, t in now.items())
        if not same:
            fail(called, "changes in the original model", "the original untouched", COPY)
        trains = {prefix + name: p.requires_grad for name, p in mine.named_parameters()}
        same = all(trained[name] == flag for name, flag in trains.items())
        if not same:
            fail(called, "a requires_grad flag of the original changed", "the original untouched")
        check_close_to_float(swapped, model, x, called)


@pytest.mark.points(1)
def test_skipped_names_stay_float(student, net, rng):
    without_biases(net)
    skip = ["first.2", "heads.b.0"]
    called = f"swap_linears(model, skip={skip})"
    swapped = check_module(student.swap_linears(net, skip=skip), called)
    state = {name: t for name, t in swapped.state_dict().items() if torch.is_tensor(t)}
    for name in skip:
        weight = state.get(f"{name}.weight")
        kept = weight is not None and torch.equal(weight.float(), net.get_submodule(name).weight)
        if not kept:
            fail(called, f"no float weight of `{name}`", "it to stay as it was", "Names are full paths.")
    others = sum(m.weight.numel() for n, m in net.named_modules() if isinstance(m, nn.Linear) and n not in skip)
    codes = sum(t.numel() for t in state.values() if t.dtype == torch.int8)
    # the shared layer is listed under each of its names
    if not codes >= others:
        fail(called, f"{codes:,} int8 codes", f"those of all other Linears, {others:,} weights")
    check_close_to_float(swapped, net, torch.randint(40, (3, 9), generator=rng), called)
    student.forget_copies()  # a model that was changed in place is not to confuse what follows
    called = "swap_linears(model, skip=['blocks.0.body.1']), one Linear in several places"
    state = check_module(student.swap_linears(net, skip=["blocks.0.body.1"]), called).state_dict()
    places = [f"blocks.{place}.weight" for place in ("0.body.1", "0.body.3", "1.body")]
    gone = [
        p for p in places if not (torch.is_tensor(state.get(p)) and torch.equal(state[p], net.blocks[1].body.weight))
    ]
    if gone:
        fail(called, f"no float `{gone and gone[0]}`", "one layer, left in float in all its places")
    siblings = [nn.Linear(64, 64), nn.Linear(64, 64)]
    tens = nn.Sequential(nn.Sequential(*siblings), nn.Linear(64, 64), *[nn.ReLU() for _ in range(8)], nn.Linear(64, 64))
    called = "swap_linears(model, skip=['1']), Linears `0.0`, `0.1`, `1` and `10`"
    kept = check_module(student.swap_linears(tens, skip=["1"]), called).held_tensors()
    floats = sum(t.dtype.is_floating_point and t.shape == (64, 64) for t in kept)
    think = "Is a name that begins, ends or goes on with a skipped one the same name?"
    if floats == 4:
        think = "Is anything swapped here at all?"
    if floats != 1:
        fail(called, f"{floats} float weights", "one, that of `1`", think)
    root = linear_of(32, 64, rng)
    kept = check_module(student.swap_linears(root, skip=[""]), "swap_linears(a Linear, skip=[''])")
    weights = [t for t in kept.state_dict().values() if torch.is_tensor(t) and t.shape == (32, 64)]
    right = weights and weights[0].is_floating_point()
    if not right:
        fail("swap_linears(a Linear, skip=[''])", "a swapped layer", "the Linear: '' is a model's own name")


@pytest.mark.points(1)
def test_a_linear_used_twice_stays_one_layer(student, net, rng):
    without_biases(net)
    called = "swap_linears(model), one Linear in several places"

    def codes(handle):
        storages = {t.storage: t.nbytes for t in handle.held_tensors() if t.dtype == torch.int8}
        return sum(storages.values())

    # some layouts are padded, or kept twice: what each layer holds is taken as given, and only counted
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    once = [codes(check_module(student.int8_linear(m), "int8_linear(linear)")) for m in linears]
    if not all(once):
        fail("int8_linear(linear)", "a module without int8 codes", "one with the codes of its weight")
    swapped = check_module(student.swap_linears(net), called)
    held, think = codes(swapped), "How do you recognize a module that you met before?"
    if held != sum(once):
        fail(called, f"{held:,} bytes of int8 codes", f"{sum(once):,}: each of {len(linears)} Linears once", think)
    check_close_to_float(swapped, net, torch.randint(40, (3, 9), generator=rng), called)


@pytest.mark.points(1)
def test_a_token_does_not_feel_its_neighbours(student, rng):
    linear = without_biases(linear_of(16, 64, rng))
    layer = check_module(student.int8_linear(linear), "int8_linear(linear)")
    check_int8_weights(layer, linear, "int8_linear(linear)")
    x = oracle.away_from_ties((6, 64), 0.02, rng)
    loud = x.clone()
    loud[5] *= 1000
    scales = oracle.channel_scales(linear.weight, 8, 0)
    want, allowed = oracle.int8_linear(x, oracle.codes(linear.weight, scales), scales, linear.bias.detach())
    called = "int8_linear(linear)(x), a token"

    def outputs(x, shape):
        return check_tensor(layer(x), called, shape, torch.float32)

    together = outputs(x, (6, 16)).double()
    think = "Are x's tokens quantized, and is what they are multiplied with the layer's own codes?"
    what = "int8 codes multiplied exactly, then scaled, plus bias"
    oracle.check_close(together, want, allowed, "int8_linear(linear)(x), x (6, 64)", what, think)
    for what, got in (
        ("next to a token 1,000 times louder", outputs(loud, (6, 16))[:5]),
        ("alone", torch.stack([outputs(token, (16,)) for token in x[:5]])),
        ("in a batch of another shape", outputs(x.view(2, 3, 64), (2, 3, 16)).reshape(6, 16)[:5]),
    ):
        called = f"int8_linear(linear)(x), a token {what}"
        think = "How many scales do the activations of one call have?"
        oracle.check_close(got, together[:5], allowed[:5], called, "as in the quiet batch", think)


@pytest.mark.points(1)
@pytest.mark.timeout(60)
def test_the_gpt_keeps_its_logits(student, gpt, measured):
    ids = held_out_tokens()[None, :256]
    swapped = check_module(student.swap_linears(gpt), "swap_linears(gpt)")
    with torch.no_grad():
        want = gpt(ids)
    got = check_tensor(swapped(ids), "swap_linears(gpt)(ids)", want.shape, torch.float32)
    error = ((got - want).norm() / want.norm()).item()
    agree = (got.argmax(-1) == want.argmax(-1)).float().mean().item()
    measured["logit error of the int8 GPT"] = error
    if not error < 0.03:
        fail("swap_linears(gpt)(ids)", f"logits off by {error:.2%}", "at most 3 %")
    if not agree > 0.9:
        fail("swap_linears(gpt)(ids)", f"{agree:.0%} the same likeliest token", "at least 90 %")
    check_no_float_weight(swapped, gpt, "swap_linears(gpt)")
