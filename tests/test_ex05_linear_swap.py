"""ex05: a Linear in int8, and a whole model of them."""

import copy

import pytest
import torch
from torch import nn

from llm.checkpoint import load_gpt
from llm.corpus import held_out_tokens
from tests import oracle
from tests.laws import laws
from tests.messages import check_tensor, describe, fail, percent
from tests.models import check_int8_weights, check_module, check_no_float_weight
from tests.specimens import InPlace, Nested, Twice
from tests.values_alone import check_layer

COPY = "Do you change a copy of the model, and is every module in it a copy?"
UNTOUCHED = "the original model as it was"
REGISTERED = "What has to be saved with the model must be registered: as a buffer, since nothing trains it."
EXACT = "Are x's tokens quantized, is there a scale per output channel, and is the bias added once, unscaled?"
KEPT = "What does your answer keep from one call to the next?"
AT_MOST = f"at most {percent(oracle.ROUNDED_TO_INT8)}, as int8 rounding gives"


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
    """model itself, its biases all zero: a forgotten bias fails only the tests that are about a bias."""
    for linear in model.modules():
        if isinstance(linear, nn.Linear) and linear.bias is not None:
            linear.bias.data.zero_()
    return model


def error_of(layer, model, x, called):
    """The relative error of layer(x), once it has the shape and dtype of the float model's outputs."""
    with torch.no_grad():
        want = model(x).double()
    got = check_tensor(layer(x), called, want.shape, torch.float32)
    return ((got - want).norm() / want.norm()).item()


def check_close_to_float(layer, model, x, called):
    """layer computes what model does, but for int8 rounding: codes in its state dict alone would be no layer."""
    error = error_of(layer, model, x, f"{called}(x)")
    think = "Is what you registered also what `forward` multiplies with?"
    if not error < oracle.ROUNDED_TO_INT8:
        fail(f"{called}(x)", f"outputs off by {error:.1%}", AT_MOST, think)


@pytest.mark.points(1)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("lead", [(5,), (2, 3), ()], ids=lambda lead: f"x {(*lead, 128)}")
def test_a_layer_computes_in_exact_integers(student, rng, lead, bias):
    """A layer computes in exact integers."""
    linear = linear_of(24, 128, rng, bias)
    x = oracle.away_from_ties((*lead, 128), 0.02, rng)
    called = f"int8_linear(linear)(x), {'with' if bias else 'without'} bias, x {tuple(x.shape)}"
    check_exact(student, linear, x, called, EXACT)


def _quiet_and_loud_tokens(student, rng):
    """A token may be tiny, huge, or all zeros."""
    steps = torch.tensor([1e-32, 0.5, 7e29, 0.0])[:, None]  # not up to 1e37, where sum * token scale may overflow
    x = oracle.away_from_ties((4, 64), 1.0, rng) * steps
    for row, what in enumerate(("tiny", "large", "huge", "zero")):
        called = f"int8_linear(linear)(x), x one {what} token, max|x| = {x[row].abs().max():.2g}"
        linear = without_biases(linear_of(6, 64, rng))
        check_exact(student, linear, x[row : row + 1], called, oracle.ZEROS if what == "zero" else oracle.ABSOLUTE)
    called = "int8_linear(linear)(x), x a tiny, a large, a huge and a zero token"
    check_exact(student, without_biases(linear_of(6, 64, rng)), x, called, "Whose scale does each token have?")


def _small_and_large_weights(student, rng):
    """Weights may be tiny or huge."""
    x = oracle.away_from_ties((3, 64), 0.02, rng)
    for step in (1e-32, 1e27):
        linear = without_biases(linear_of(6, 64, rng))
        linear.weight.data = oracle.away_from_ties((6, 64), step, rng)
        called = f"int8_linear(linear)(x), max|weight| = {linear.weight.abs().max():.2g}"
        check_exact(student, linear, x, called, oracle.ABSOLUTE if step < 1 else oracle.PRECISION)


def _equal_weights_and_equal_numbers(student, rng):
    """All weights of a row, or all numbers of a token, may be equal."""
    linear, x = linear_of(3, 64, rng), torch.full((3, 64), 0.5)
    linear.weight.data = torch.tensor([[0.3], [-0.3], [0.0]]).repeat(1, 64)
    x[1], x[2] = -0.5, 0
    think = "What is the largest absolute value of a row of equal negative numbers, and what is 0 / 0?"
    called = "int8_linear(linear)(x), rows of the weight all 0.3, all -0.3, all 0, tokens all 0.5, all -0.5, all 0"
    check_exact(student, linear, x, called, think)
    zeros = linear_of(3, 64, rng)
    zeros.weight.data.zero_()
    check_exact(student, zeros, x, "int8_linear(linear)(x), a weight of zeros", oracle.ZEROS)


def _half_precision(student, rng):
    """Weights and tokens may be in half precision."""
    whole = torch.randint(-100, 101, (9, 64), generator=rng)
    whole[whole.abs() == 50] = 49  # its code would be 63.5
    whole[:, 0] = 100
    linear, x = without_biases(linear_of(6, 64, rng)), whole[6:] / 64  # float16 holds all of these numbers exactly
    linear.weight.data = whole[:6] / 256
    think = "In which precision are scales and codes computed?"
    check_exact(student, linear, x.half(), "int8_linear(linear)(x), x float16", think)
    check_exact(student, copy.deepcopy(linear).half(), x, "int8_linear(linear)(x), linear in float16, x float32", think)


def _any_size(student, rng):
    """A layer may have any number of inputs and outputs."""
    for n, k in ((1, 64), (24, 1), (3, 7), (130, 65)):
        x = oracle.away_from_ties((5, k), 0.02, rng)
        called = f"int8_linear(linear)(x), linear with {k} inputs and {n} outputs, x (5, {k})"
        check_exact(student, linear_of(n, k, rng), x, called, "Which of the steps takes only some sizes?")


@pytest.mark.points(1)
@laws(
    _quiet_and_loud_tokens,
    _small_and_large_weights,
    _equal_weights_and_equal_numbers,
    _half_precision,
    _any_size,
)
def test_a_layer_takes_every_kind_of_number_and_size(student, rng, law):
    """A layer takes every kind of number, and every size."""
    law(student, rng)


def check_exact(student, linear, x, called, think):
    """int8_linear(linear)(x) is the integer product of the codes, scaled, plus bias."""
    layer = check_module(student.int8_linear(linear), "int8_linear(linear)")
    got = check_tensor(layer(x), called, (*x.shape[:-1], linear.out_features), torch.float32, think)
    want, allowed = exact(linear)(x)
    oracle.check_close(got, want, allowed, called, "int8 codes multiplied exactly, then scaled, plus bias", think)


def exact(linear):
    """What a layer made of linear answers, a function of x: outputs in float64, and how far off they may be."""
    scales = oracle.channel_scales(linear.weight, 8, 0)
    codes = oracle.codes(linear.weight, scales)
    bias = None if linear.bias is None else linear.bias.detach().clone()
    return lambda x: oracle.int8_linear(x, codes, scales, bias)


def _codes_are_saved(student, rng):
    """The layer saves the codes that it computes with."""
    linear, layer, tensors, kinds = _saved(student, rng)
    called, (n, k) = "int8_linear(linear).state_dict()", linear.weight.shape
    codes = [t for t in tensors if t.dtype == torch.int8]  # in one piece or in several, padded or not
    enough = sum(t.numel() for t in codes) >= n * k
    if not enough:
        fail(called, kinds, f"the {n} x {k} codes, as int8", REGISTERED)
    if codes[0].shape in ((n, k), (k, n)):
        upright = codes[0] if codes[0].shape == (n, k) else codes[0].t()
        think = "Is there a scale for each output channel, and which axis of the weight is that?"
        scales = oracle.channel_scales(linear.weight, 8, 0)
        oracle.check_codes(upright, linear.weight, scales, 8, f"{called}, codes", think)
    check_close_to_float(layer, linear, torch.randn(5, k, generator=rng), "int8_linear(linear)")


def _scales_are_saved(student, rng):
    """The scales are saved, one for each output channel."""
    linear, _, tensors, kinds = _saved(student, rng)
    n, scales = len(linear.weight), oracle.channel_scales(linear.weight, 8, 0)
    columns = [t.flatten() for t in tensors if t.is_floating_point() and t.numel() == n]
    right = any(oracle.same_scales(t, scales.flatten()).all() for t in columns)
    if not right:
        expected = f"{n} float scales, one per output channel: max|row| / 127"
        fail("int8_linear(linear).state_dict()", kinds, expected, REGISTERED)


def _the_bias_is_saved(student, rng):
    """The bias is saved."""
    linear, _, tensors, kinds = _saved(student, rng)
    n, numbers = len(linear.weight), sum(t.numel() for t in tensors if t.dtype != torch.int8)
    if not numbers >= 2 * n:
        fail("int8_linear(linear).state_dict()", kinds, f"{n} scales and the bias, {n} numbers", REGISTERED)


def _saved(student, rng):
    """A Linear (48, 80), the layer made of it, and the tensors of its state dict, also in words."""
    linear = without_biases(linear_of(48, 80, rng))
    layer = check_module(student.int8_linear(linear), "int8_linear(linear)")
    tensors = [t for t in layer.state_dict().values() if isinstance(t, torch.Tensor)]
    return linear, layer, tensors, ", ".join(describe(t) for t in tensors) or "nothing"


@pytest.mark.points(1)
@laws(_codes_are_saved, _scales_are_saved, _the_bias_is_saved)
def test_the_state_dict_holds_codes_scales_and_bias(student, rng, law):
    """The state dict holds codes, scales and the bias."""
    law(student, rng)


@pytest.mark.points(1)
def test_no_float_weight_is_kept(student, rng):
    """The float weight is kept nowhere."""
    linear, called = without_biases(linear_of(48, 80, rng)), "int8_linear(linear)"
    layer = check_module(student.int8_linear(linear), called)
    check_no_float_weight(layer, linear, called)
    x = torch.randn(2, 5, 80, generator=rng)
    check_close_to_float(layer, linear, x, called)
    for part in (x[0], x[0, 0], x):
        layer(part)
    check_no_float_weight(layer, linear, f"{called}, after a few calls of the layer")


def _every_linear(student, net, rng):
    """Linears in lists, dicts and blocks are swapped."""
    ids, called = torch.randint(40, (3, 9), generator=rng), "swap_linears(model)"
    swapped = check_module(student.swap_linears(net), called)
    error = error_of(swapped, net, ids, f"{called}(ids)")
    if not error < oracle.ROUNDED_TO_INT8:
        fail(f"{called}(ids)", f"outputs off by {error:.1%}", AT_MOST)
    think = "Does your walk reach the Linears in lists, dicts and blocks, and change the module in which they hang?"
    if not error > 0:
        fail(f"{called}(ids)", "the float model's outputs, bit for bit", "the rounding of int8 to show", think)
    check_no_float_weight(swapped, net, called)


def _the_model_itself(student, net, rng):
    """A model that is a Linear itself is swapped, too."""
    root = linear_of(32, 64, rng)
    layer = check_module(student.swap_linears(root), "swap_linears(a Linear)")
    check_no_float_weight(layer, root, "swap_linears(a Linear)")


def _embeddings_stay(student, net, rng):
    """Embeddings stay in float32, as they were."""
    called = "swap_linears(model)"
    state = check_module(student.swap_linears(net), called).state_dict()
    embedding = [t for t in state.values() if torch.is_tensor(t) and t.shape == (40, 96)]
    kept = len(embedding) == 1 and torch.equal(embedding[0], net.embedding.weight)
    if not kept:
        fail(called, "an embedding that changed", "embeddings as they were, in float32")


@pytest.mark.points(1)
@laws(_every_linear, _the_model_itself, _embeddings_stay)
def test_every_linear_at_any_depth_is_swapped(student, net, rng, law):
    """Every Linear is swapped, at any depth."""
    law(student, net, rng)


def _types_and_modes_stay(student, net, rng):
    """Every module keeps its type and its mode."""
    for called, model, mine, place in _originals(student, net, rng):
        before = {name: (type(m), m.training) for name, m in model.named_modules()}
        now = {name: (type(m), m.training) for name, m in mine.named_modules()}
        changed = [name for name in before if now.get(name) != before[name]]
        if changed:
            (kind, trains), (kind_now, trains_now) = before[changed[0]], now.get(changed[0], (type(None), None))
            mode, mode_now = ("train" if flag else "eval" for flag in (trains, trains_now))
            said = f"was in {mode} mode before the call and is in {mode_now} mode after it"
            if kind_now != kind:
                said = f"was of type {kind.__name__} before the call and is of type {kind_now.__name__} after it"
            fail(called, f"{_path(place, changed[0])} {said}", UNTOUCHED, COPY)


def _values_stay(student, net, rng):
    """Every weight and buffer keeps its value."""
    for called, model, mine, place in _originals(student, net, rng):
        before = model.state_dict()
        changed = [n for n, t in mine.state_dict().items() if n not in before or not torch.equal(t, before[n])]
        if changed:
            fail(called, f"the values of {_path(place, changed[0])} changed", UNTOUCHED, COPY)


def _trainable_parameters_stay(student, net, rng):
    """Every parameter keeps its requires_grad flag."""
    for called, model, mine, place in _originals(student, net, rng):
        before = {name: p.requires_grad for name, p in model.named_parameters()}
        now = {name: p.requires_grad for name, p in mine.named_parameters()}
        changed = [name for name, flag in now.items() if before.get(name) != flag]
        if changed:
            fail(called, f"requires_grad of {_path(place, changed[0])} changed to {now[changed[0]]}", UNTOUCHED, COPY)


def _originals(student, net, rng):
    """Each function's call, the model given to it, what that is for the student afterwards, and where it hangs in net.

    Once the suite has looked at the original, the result has to be an int8 layer or model.
    """
    without_biases(net).train()
    net.blocks[0].eval()  # one part in the other mode, and one that is not trained
    net.heads["a"].requires_grad_(False)
    for called, model, function, x, place in (
        ("swap_linears(model)", net, student.swap_linears, torch.randint(40, (3, 9), generator=rng), ""),
        ("int8_linear(linear)", net.first[0], student.int8_linear, torch.randn(3, 96, generator=rng), "first.0"),
    ):
        swapped = check_module(function(model), called)
        check_int8_weights(swapped, model, called)
        yield called, model, student.view(model), place
        check_close_to_float(swapped, model, x, called)


def _path(place, name):
    """Where a part hangs in the model, as a learner writes it."""
    path = ".".join(part for part in (place, name) if part)
    return f"`{path}`" if path else "the model"


@pytest.mark.points(1)
@laws(_types_and_modes_stay, _values_stay, _trainable_parameters_stay)
def test_the_model_you_were_given_stays_as_it_was(student, net, rng, law):
    """The model you were given stays as it was."""
    law(student, net, rng)


def _skipped_by_full_name(student, net, rng):
    """The layers named by skip stay float, and no others."""
    without_biases(net)
    skip = ["first.2", "heads.b.0"]
    called = f"swap_linears(model, skip={skip})"
    swapped = check_module(student.swap_linears(net, skip=skip), called)
    state = {name: t for name, t in swapped.state_dict().items() if torch.is_tensor(t)}
    for name in skip:
        weight = state.get(f"{name}.weight")
        kept = weight is not None and torch.equal(weight.float(), net.get_submodule(name).weight)
        if not kept:
            think = "A name is the full path from the model to the layer. Where does your walk know this path?"
            fail(called, f"no float weight of `{name}`", "this Linear to stay as it was", think)
    others = sum(m.weight.numel() for n, m in net.named_modules() if isinstance(m, nn.Linear) and n not in skip)
    codes = sum(t.numel() for t in state.values() if t.dtype == torch.int8)
    # the shared layer is listed under each of its names
    if not codes >= others:
        fail(called, f"{codes:,} int8 codes", f"those of all other Linears, {others:,} weights")
    check_close_to_float(swapped, net, torch.randint(40, (3, 9), generator=rng), called)


def _skipped_by_any_of_its_names(student, net, rng):
    """A shared layer is skipped by any of its names."""
    places = [f"blocks.{place}" for place in ("0.body.1", "0.body.3", "1.body")]
    for name in places:
        called = f"swap_linears(model, skip=['{name}']), one Linear in several places"
        swapped = check_module(student.swap_linears(net, skip=[name]), called)
        state = swapped.state_dict()
        gone = [place for place in places if not _is(state.get(f"{place}.weight"), net.blocks[1].body.weight)]
        if gone:
            think = "Which names does named_modules() give of a module in two places, and with remove_duplicate=False?"
            fail(called, f"no float weight of `{gone[0]}`", "one layer, left in float in all its places", think)
        floats = [t for t in swapped.held_tensors() if t.dtype == torch.float32 and t.shape == (96, 96)]
        count = len({t.storage for t in floats})
        if count != 1:
            expected = "one Linear, used in all its places"
            fail(called, f"{count} copies of its weight", expected, "What was copied more than once?")


def _is(tensor, want):
    return torch.is_tensor(tensor) and tensor.shape == want.shape and torch.equal(tensor, want)


def _skipped_no_other_name(student, net, rng):
    """A layer with a similar name is not skipped."""
    siblings = [nn.Linear(64, 64), nn.Linear(64, 64)]
    tens = nn.Sequential(nn.Sequential(*siblings), nn.Linear(64, 64), *[nn.ReLU() for _ in range(8)], nn.Linear(64, 64))
    called = "swap_linears(model, skip=['1']), Linears `0.0`, `0.1`, `1` and `10`"
    kept = check_module(student.swap_linears(tens, skip=["1"]), called).held_tensors()
    floats = sum(t.dtype.is_floating_point and t.shape == (64, 64) for t in kept)
    think = "Which of these names is equal to '1', and which only begins or ends like it?"
    if floats == 4:
        think = "Is anything swapped here at all?"
    if floats != 1:
        fail(called, f"{floats} float weights", "one, that of `1`", think)


def _skipped_model_itself(student, net, rng):
    """The name of the model itself is ''."""
    called, root = "swap_linears(a Linear, skip=[''])", linear_of(32, 64, rng)
    kept = check_module(student.swap_linears(root, skip=[""]), called)
    weights = [t for t in kept.state_dict().values() if torch.is_tensor(t) and t.shape == (32, 64)]
    right = weights and weights[0].is_floating_point()
    if not right:
        fail(called, "a swapped layer", "the Linear as it was: '' is the name of the model itself")


@pytest.mark.points(1)
@laws(_skipped_by_full_name, _skipped_by_any_of_its_names, _skipped_no_other_name, _skipped_model_itself)
def test_skipped_names_stay_float(student, net, rng, law):
    """Skipped names stay float."""
    law(student, net, rng)


@pytest.mark.points(1)
def test_a_linear_used_twice_stays_one_layer(student, net, rng):
    """A Linear used twice stays one layer."""
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
    check_no_float_weight(swapped, net, called)
    check_close_to_float(swapped, net, torch.randint(40, (3, 9), generator=rng), called)


def _neighbours(student, rng):
    """A token does not depend on its neighbours, in its sequence or in the batch."""
    layer, expected = _layer_of_64(student, rng)
    x = oracle.away_from_ties((6, 64), 0.02, rng)
    loud = x.clone()
    loud[5] *= 1000
    together, allowed = expected(x)
    checked, what = "int8_linear(linear)(x)", "int8 codes multiplied exactly, then scaled, plus bias"
    oracle.check_close(outputs(layer, x, checked), together, allowed, f"{checked}, x (6, 64)", what, EXACT)
    for what, x, tokens in (
        ("next to a token 1,000 times larger, x (6, 64)", loud, slice(5)),
        ("in a sequence with a token 1,000 times larger, x (1, 6, 64)", loud.view(1, 6, 64), slice(5)),
        ("before a token 1,000 times larger, x (2, 3, 64)", loud.view(2, 3, 64), slice(3, 5)),
        ("after a token 1,000 times larger, x (2, 3, 64)", loud.flip(0).view(2, 3, 64), slice(1, 3)),
    ):
        called = f"int8_linear(linear)(x), a token {what}"
        want, allowed = expected(x)
        got, want, allowed = (part.flatten(0, -2)[tokens] for part in (outputs(layer, x, called), want, allowed))
        think = "How many scales do the activations of one call have?"
        oracle.check_close(got, want, allowed, called, "as without that token", think)


def _values_alone(student, rng):
    """A result depends neither on earlier calls, nor on memory order, nor on the number of axes."""
    layer, expected = _layer_of_64(student, rng)
    check_layer(student, layer, oracle.away_from_ties((2, 3, 64), 0.02, rng), expected, "int8_linear(linear)")


def _twice_in_one_model(student, rng):
    """A model may use a layer twice in one pass."""
    linear = without_biases(linear_of(16, 64, rng))
    expected = exact(linear)
    a, b = oracle.away_from_ties((2, 5, 64), 0.02, rng)
    for model, x, inputs, words in (
        (Twice(linear), torch.cat([a, b], dim=-1), (a, b), "lin(a) + lin(b)"),
        (InPlace(linear), a, (a, -2 * a), "lin(x) + lin(x.mul_(-2))"),
    ):
        called = f"swap_linears(model)(x), where the model computes {words}"
        swapped = check_module(student.swap_linears(model), "swap_linears(model)")
        got = check_tensor(swapped(x), called, (5, 16), torch.float32)
        (first, allowed), (second, also_allowed) = map(expected, inputs)
        what = "the sum of what the layer answers to each"
        oracle.check_close(got, first + second, 2 * (allowed + also_allowed), called, what, KEPT)


def _made_again(student, rng):
    """A Linear with other weights gets other codes."""
    linears = [without_biases(linear_of(16, 64, rng)) for _ in range(2)]
    x = oracle.away_from_ties((3, 64), 0.02, rng)
    for name in ("int8_linear", "swap_linears"):
        called = f"{name}(linear)(x), the same linear after other weights were written into it"
        first, second = student.in_turn(name, *[(copy.deepcopy(linear),) for linear in linears], same=True)
        for layer, linear in ((second, linears[1]), (first, linears[0])):
            got = outputs(check_module(layer, f"{name}(linear)"), x, called)
            oracle.check_close(got, *exact(linear)(x), called, "the product with the codes of its weights then", KEPT)
            called = f"{name}(linear)(x), after other weights were written into the linear"


def _layer_of_64(student, rng):
    """A layer with 64 inputs and 16 outputs, and what it answers."""
    linear = without_biases(linear_of(16, 64, rng))
    layer = check_module(student.int8_linear(linear), "int8_linear(linear)")
    check_int8_weights(layer, linear, "int8_linear(linear)")
    return layer, exact(linear)


def outputs(layer, x, called):
    return check_tensor(layer(x), called, (*x.shape[:-1], 16), torch.float32)


@pytest.mark.points(1)
@laws(_neighbours, _values_alone, _twice_in_one_model, _made_again)
def test_a_result_depends_on_its_own_token_alone(student, rng, law):
    """A result depends on its own token alone."""
    law(student, rng)


@pytest.mark.points(1)
@pytest.mark.timeout(60)
def test_the_gpt_keeps_its_logits(student, gpt, measured):
    """The GPT keeps its logits."""
    ids = held_out_tokens()[None, :256]
    swapped = check_module(student.swap_linears(gpt), "swap_linears(gpt)")
    with torch.no_grad():
        want = gpt(ids)
    got = check_tensor(swapped(ids), "swap_linears(gpt)(ids)", want.shape, torch.float32)
    error = ((got - want).norm() / want.norm()).item()
    agree = (got.argmax(-1) == want.argmax(-1)).float().mean().item()
    measured["logit error of the int8 GPT"] = error
    if not error < oracle.ROUNDED_TO_INT8:
        fail("swap_linears(gpt)(ids)", f"logits off by {error:.2%}", f"at most {percent(oracle.ROUNDED_TO_INT8)}")
    if not agree > oracle.LIKELIEST:
        expected = f"more than {percent(oracle.LIKELIEST)}"
        fail("swap_linears(gpt)(ids)", f"the same likeliest token in {agree:.0%} of the positions", expected)
    check_no_float_weight(swapped, gpt, "swap_linears(gpt)")
