"""Logits as each network makes them, from hidden states that are known already."""

import pytest
import torch
from support.networks import cohere, gemma2, granite, llama, quantised, some_ids
from torch.nn.functional import cross_entropy

from shammah.errors import TrainingError
from shammah.training.head import Head
from shammah.training.learner import Learner
from shammah.training.objective import token_losses

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORKS = {
    "llama": lambda: llama(vocab_size=128),
    "tied": lambda: llama(vocab_size=128, tie_word_embeddings=True),
    "capped": lambda: gemma2(vocab_size=128),
    "divided": lambda: granite(vocab_size=128),
    "multiplied": lambda: cohere(vocab_size=128),
    "quantised": lambda: quantised(llama(vocab_size=128)),
}
IDS = some_ids(24, 4)


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]().requires_grad_(False)


def states_of(network, ids=IDS):
    with torch.no_grad():
        return network.get_decoder()(input_ids=torch.tensor([ids])).last_hidden_state[0]


def logits_of(network, ids=IDS):
    with torch.no_grad():
        return network(torch.tensor([ids])).logits[0]


def test_they_are_the_networks_own(network):
    head = Head(network)
    assert torch.equal(head(states_of(network)), logits_of(network)) and head.vocabulary == 128
    assert "forward" not in vars(network.get_decoder())
    assert torch.equal(logits_of(network), head(states_of(network)))


def test_a_way_of_its_own_that_a_decoder_had_stays():
    """Libraries that move weights about put one before that of the class."""
    network = llama(vocab_size=128)
    decoder, calls = network.get_decoder(), []

    def own(*args, **kwargs):
        calls.append(1)
        return type(decoder).forward(decoder, *args, **kwargs)

    decoder.forward = own
    states = states_of(network)
    assert torch.equal(Head(network)(states), logits_of(network))
    assert vars(decoder)["forward"] is own and len(calls) == 2


@pytest.mark.parametrize("name", ["capped", "divided", "multiplied"])
def test_one_product_alone_would_not_do(name):
    network = NETWORKS[name]()
    with torch.no_grad():
        plain = torch.nn.functional.linear(states_of(network), network.get_output_embeddings().weight)
    assert (plain - logits_of(network)).abs().max() > 0.5


def test_losses_and_gradients_are_those_of_the_network(network):
    wanted = torch.tensor(some_ids(24, 5))
    found = []
    for own in (True, False):
        hidden = states_of(network).requires_grad_()
        head = Head(network)
        losses = token_losses(hidden, head, wanted, None) if own else None
        if losses is None:
            losses = cross_entropy(head(hidden), wanted, reduction="none")
        (losses * torch.linspace(0, 1, 24)).sum().backward()
        found.append((losses.detach(), hidden.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    expected = cross_entropy(logits_of(network), wanted, reduction="none")
    torch.testing.assert_close(found[0][0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["capped", "divided", "multiplied"])
def test_a_lesson_of_such_a_model_costs_what_the_model_says(a_learner, a_trainer, a_row, name):
    row = a_row(20, 12)
    trainer = a_trainer([], learner=a_learner(NETWORKS[name]()))
    loss = trainer.backward((row,))
    logs = logits_of(trainer.learner.network, row.ids).log_softmax(-1)
    expected = -sum(float(logs[at - 1, row.ids[at]]) for at in range(row.start, len(row.ids))) / row.learned
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_chat_goes_first_before_each_product_forwards_and_backwards(network):
    asked = []
    head = Head(network, lambda: asked.append(torch.is_grad_enabled()))
    hidden = states_of(network).requires_grad_()
    token_losses(hidden, head, torch.tensor(some_ids(24, 5)), None)
    assert len(asked) == 2
    token_losses(hidden.detach(), head, torch.tensor(some_ids(24, 5)), None)
    assert len(asked) == 3


def test_a_long_row_asks_many_times(a_learner, a_trainer, a_row):
    """Not at its layers alone, of which a long row has no more than a short one."""
    asked = []
    learner = a_learner(courtesy=lambda: asked.append(1))
    trainer = a_trainer([], learner=learner)
    counts = []
    for length in (60, 700):
        asked.clear()
        trainer.backward((a_row(length, 10),))
        counts.append(len(asked))
    assert counts[1] - counts[0] == 2 * (690 // 64)


class TestTried:
    """Once a run: what is computed here must be what the network says."""

    def test_the_networks_own_logits_are_given_back(self, a_recipe, network, a_row):
        learner = Learner(llama(vocab_size=128), a_recipe())
        assert torch.equal(learner.check_head(a_row(12, 6)), logits_of(learner.network, a_row(12, 6).ids))

    @pytest.mark.parametrize("name", ["llama", "capped", "divided", "multiplied"])
    def test_known_heads_pass(self, a_learner, a_row, name):
        a_learner(NETWORKS[name]()).check_head(a_row())

    def test_one_that_goes_by_the_tokens_is_refused(self, a_learner, a_row):
        """Its logits do not follow from hidden states alone."""
        learner = a_learner()
        network, own = learner.network, learner.network.forward

        def forward(input_ids, **more):
            output = own(input_ids=input_ids, **more)
            output.logits = output.logits + input_ids[..., None]
            return output

        network.forward = forward
        with pytest.raises(TrainingError, match="LlamaForCausalLM makes its logits"):
            learner.check_head(a_row())
