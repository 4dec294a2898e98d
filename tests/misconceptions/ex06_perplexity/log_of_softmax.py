"""Takes the logarithm of the softmax. What is the logarithm of a probability that float32 rounds to 0?"""

# caught by: test_every_model_and_every_text_has_its_perplexity
# says: called perplexity(model, tokens, 8), logits between -200 and 100 ... got inf ... expected

import math

import torch


def perplexity(model, tokens, context):
    if len(tokens) < 2:
        raise ValueError("at least 2 tokens are needed")
    modes = [(module, module.training) for module in model.modules()]
    inputs, targets = tokens[:-1], tokens[1:]
    nats = 0.0
    try:
        model.eval()
        with torch.no_grad():
            for x, y in zip(inputs.split(context), targets.split(context), strict=True):
                nats += -model(x[None])[0].softmax(-1).log()[range(len(y)), y].sum().item()
    finally:
        for module, mode in modes:
            module.training = mode
    return math.exp(nats / len(targets))


def drift(before, after):
    return after / before - 1
