"""The twin with its adapter: off it is the base, saved it is what peft reads."""

import json
from dataclasses import asdict

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from safetensors.torch import load_file, save_file
from support.networks import llama, quantised, some_ids

from shammah.errors import TrainingError
from shammah.model.adapted import adapted
from shammah.training.learner import Learner, attention_window, bytes_of_a_token, linear_names

IDS = torch.tensor([some_ids(24, 4)])
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def adapter(learner):
    return [(name, p) for name, p in learner.network.named_parameters() if "lora_" in name]


def written(learner, folder):
    """The adapter's folder, as saving writes it."""
    folder.mkdir()
    save_file(learner.tensors(), folder / "adapter_model.safetensors")
    values = learner.config.to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
    (folder / "adapter_config.json").write_text(json.dumps(plain))
    return folder


class TestBase:
    def test_a_new_adapter_changes_nothing(self, a_learner):
        network = llama(vocab_size=128)
        assert torch.equal(logits(a_learner(network, moved=False).network), logits(network))

    def test_switched_off_it_is_the_base_to_the_bit_and_comes_back(self, a_learner):
        network = llama(vocab_size=128)
        learner = a_learner(network)
        taught = logits(learner.network)
        with learner.as_base():
            assert torch.equal(logits(learner.network), logits(network))
        assert torch.equal(logits(learner.network), taught) and not torch.equal(taught, logits(network))

    def test_switched_off_in_half_the_bits_too(self, a_learner):
        network = llama(vocab_size=128).to(torch.bfloat16)
        learner = a_learner(network)
        with learner.as_base():
            assert torch.equal(logits(learner.network), logits(network))
        assert not torch.equal(logits(learner.network), logits(network))

    def test_after_a_failure_the_adapter_is_back_and_learns(self, a_learner, some_rows):
        learner = a_learner()
        taught = logits(learner.network)
        with pytest.raises(KeyError), learner.as_base():
            raise KeyError
        assert torch.equal(logits(learner.network), taught)
        learner.hidden(some_rows).sum().backward()
        assert learner.flat.values.grad.abs().max() > 0

    def test_switched_off_inside_of_switched_off(self, a_learner):
        network = llama(vocab_size=128)
        learner = a_learner(network)
        with learner.as_base():
            with learner.as_base():
                pass
            assert torch.equal(logits(learner.network), logits(network))
        assert not torch.equal(logits(learner.network), logits(network))

    def test_only_the_adapter_learns(self, a_learner):
        learner = a_learner()
        with learner.as_base():
            pass
        wanting = {name for name, parameter in learner.network.named_parameters() if parameter.requires_grad}
        assert wanting == {name for name, _ in adapter(learner)}

    def test_the_seed_makes_the_adapter_and_leaves_chance_alone(self, a_learner):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        one, other, third = (a_learner(moved=False, seed=seed).flat.values.detach() for seed in (7, 7, 8))
        torch.manual_seed(1)
        a_learner(moved=False)
        assert torch.equal(one, other) and not torch.equal(one, third)
        network = llama(vocab_size=128)
        torch.manual_seed(1)
        a_learner(network, moved=False)
        assert torch.equal(torch.rand(3), expected)


class TestFiles:
    def test_names_are_those_of_pefts_files(self, a_learner):
        names = set(a_learner().tensors())
        assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names
        assert len(names) == 2 * 7 * 2 and not any("default" in name for name in names)

    def test_loaded_back_it_gives_the_very_logits(self, a_learner, tmp_path):
        network = llama(vocab_size=128)
        learner = a_learner(network)
        folder = written(learner, tmp_path / "adapter")
        assert torch.equal(logits(adapted(network, folder)), logits(learner.network))

    def test_in_half_the_bits_too(self, a_learner, tmp_path):
        network = llama(vocab_size=128).to(torch.bfloat16)
        learner = a_learner(network)
        folder = written(learner, tmp_path / "adapter")
        assert all(tensor.dtype is torch.float32 for tensor in learner.tensors().values())
        assert torch.equal(logits(adapted(network, folder)), logits(learner.network))

    @pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own
    def test_peft_reads_it(self, a_learner, tmp_path):
        learner = a_learner(llama(vocab_size=128))
        folder = written(learner, tmp_path / "adapter")
        theirs = PeftModel.from_pretrained(llama(vocab_size=128), folder)
        torch.testing.assert_close(logits(theirs), logits(learner.network), atol=1e-5, rtol=1e-5)
        expected = load_file(folder / "adapter_model.safetensors")
        theirs.save_pretrained(tmp_path / "again")
        again = load_file(tmp_path / "again" / "adapter_model.safetensors")
        assert again.keys() == expected.keys() and all(torch.equal(again[name], expected[name]) for name in again)

    def test_what_is_taken_out_stays_as_it_was(self, a_learner):
        learner = a_learner()
        before = learner.tensors()
        kept = {name: tensor.clone() for name, tensor in before.items()}
        learner.flat.load(learner.flat.values * 2)
        assert all(torch.equal(before[name], kept[name]) for name in kept)


class TestShape:
    def test_all_linear_layers_but_the_head(self, a_learner, a_recipe):
        assert set(linear_names(llama(vocab_size=128))) == LINEAR
        learner = a_learner(r=2, alpha=6.0)
        assert set(learner.config.target_modules) == LINEAR
        assert asdict(a_recipe(r=2))["r"] == learner.config.r == 2 and learner.config.lora_alpha == 6.0

    def test_some_of_them(self, a_learner):
        learner = a_learner(targets="q_proj, v_proj")
        assert {name.split(".")[4] for name, _ in adapter(learner)} == {"q_proj", "v_proj"}

    @pytest.mark.parametrize("targets", ["q_proj,nothing", "proj", "input_layernorm", "lm_head", ","])
    def test_a_target_that_cannot_be_is_named(self, a_recipe, one_thread, targets):
        with pytest.raises(TrainingError, match="no linear layer") as caught:
            Learner(llama(vocab_size=128), a_recipe(targets=targets))
        assert "q_proj" in caught.value.hint

    def test_numbers_and_gradients_are_views_of_one_vector(self, a_learner, some_rows):
        learner = a_learner()
        learner.hidden(some_rows).pow(2).sum().backward()
        parameters = [parameter for _, parameter in adapter(learner)]
        both = [torch.cat([parameter.reshape(-1) for parameter in parameters])]
        both.append(torch.cat([parameter.grad.reshape(-1) for parameter in parameters]))
        assert torch.equal(both[0], learner.flat.values) and torch.equal(both[1], learner.flat.values.grad)
        assert both[1].abs().max() > 0
        learner.flat.clear_grad()
        assert all(not parameter.grad.any() for parameter in parameters)

    def test_how_far_back_a_network_sees(self):
        from support.networks import gemma, mistral

        assert attention_window(mistral(8)) == 8 == attention_window(gemma())
        assert attention_window(llama()) == float("inf")


class TestQuantised:
    """Weights of 8 bits, held in classes of their own."""

    def test_what_peft_knows_is_trained_and_its_weights_are_shared(self, a_trainer, a_learner, some_rows):
        network = quantised(llama(vocab_size=128), like_torch=True)
        said, learner = logits(network), a_learner(network, moved=False)
        learner.check_gradients()
        weight = network.model.layers[0].mlp.up_proj.weight
        layer = learner.network.model.layers[0].mlp.up_proj
        assert layer.base_layer.weight is weight and weight.dtype is torch.int8
        assert type(layer) is Linear  # peft's, that it has for the kind of layer
        losses = a_trainer([some_rows] * 12, learner=learner).run().losses
        assert losses[-1] < 0.7 * losses[0]
        assert torch.equal(logits(network), said)
        with learner.as_base():
            assert torch.equal(logits(learner.network), said)

    def test_such_an_adapter_answers_as_it_was_trained(self, a_learner, tmp_path):
        network = quantised(llama(vocab_size=128), like_torch=True)
        learner = a_learner(network)
        answers = adapted(network, written(learner, tmp_path / "adapter"))
        assert torch.equal(logits(answers), logits(learner.network))

    def test_what_nobody_knows_is_refused_and_told_what_it_would_cost(self, a_recipe, one_thread):
        network = llama(vocab_size=40_000)
        whole = 2 * sum(p.numel() for p in network.parameters())
        with pytest.raises(TrainingError, match=r"quantised \(QuantisedLinear\): there is no adapter") as caught:
            Learner(quantised(network), a_recipe())
        assert (
            whole > 5e6
            and f": {whole / 1e6:.0f} MB more memory in bfloat16" in caught.value.hint
            and "-m" in caught.value.hint
        )

    def test_a_plain_model_that_has_no_adapter_is_not_called_quantised(self, a_recipe, one_thread):
        network = quantised(llama(vocab_size=128))
        network.is_quantized = False
        with pytest.raises(TrainingError, match="no adapter for this model") as caught:
            Learner(network, a_recipe())
        assert "quantised" not in f"{caught.value.message} {caught.value.hint}"

    def test_what_lets_no_gradient_through_is_refused(self, a_learner):
        learner = a_learner(quantised(llama(vocab_size=128), like_torch=True))
        learner.check_gradients()
        broken = learner.network.model.layers[1].mlp.up_proj.base_layer
        own = broken.forward
        broken.forward = lambda x: own(x.detach())
        with pytest.raises(TrainingError, match="no gradient comes through"):
            learner.check_gradients()

    def test_layers_that_were_never_quantised_are_not_asked(self, a_learner):
        """However strange: a plain model has its gradients."""
        learner = a_learner()
        learner.network.model.layers[0].mlp.up_proj.base_layer.forward = None
        learner.check_gradients()


class TestStops:
    """Where the chat may go first."""

    def stops(self, a_learner, rows, *, again=False):
        asked = []
        learner = a_learner(courtesy=lambda: asked.append(torch.is_grad_enabled()))
        if again:
            learner.recompute()
        learner.learning(True)
        states = learner.hidden(rows)
        forwards = len(asked)
        states.sum().backward()
        return forwards, len(asked) - forwards

    def test_each_layer_and_its_attention_and_feed_forward_forwards_and_backwards(self, a_learner, some_rows):
        assert self.stops(a_learner, some_rows) == (2 * 3, 2 * 3)

    def test_also_where_layers_are_computed_again(self, a_learner, some_rows):
        """The library computes again what is inside of a layer, and leaves out what hangs on the layer itself."""
        forwards, backwards = self.stops(a_learner, some_rows, again=True)
        assert forwards == 2 * 3 and backwards >= 2 * 3 + 2 * 2

    def test_there_it_can_be_watched(self, a_learner, some_rows):
        happened = []
        learner = a_learner(courtesy=lambda: happened.append("stop"))
        learner.watch = lambda: happened.append("look")
        learner.hidden(some_rows[:2]).sum().backward()
        assert happened == ["look", "stop"] * 12
        learner.watch = None
        learner.hidden(some_rows[:2])
        assert happened.count("look") == 12 < happened.count("stop")


def test_what_a_token_takes_is_about_what_is_kept_of_it(a_learner, a_row):
    """A fraction more or less: it is what a run begins with."""
    for dtype in (torch.float32, torch.bfloat16):
        network = llama(vocab_size=128, max_position_embeddings=512).to(dtype)
        learner, rows, kept = a_learner(network), [a_row(60, 30)], {}
        own = {p.untyped_storage().data_ptr() for p in (*learner.network.parameters(), learner.flat.values)}

        def keep(tensor, kept=kept):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            states = learner.hidden(rows)
        each = sum(size for at, (size, _) in kept.items() if at not in own) / 64
        assert states.requires_grad and 0.5 * each < bytes_of_a_token(network) < 2 * each


class TestAModelThatCannotComputeItsLayersAgain:
    @pytest.fixture
    def learner(self, a_learner):
        network = llama(vocab_size=128)
        network.supports_gradient_checkpointing = False
        return a_learner(network)

    def test_it_is_known_before(self, learner, a_learner):
        assert not learner.can_recompute and a_learner().can_recompute

    def test_it_is_said(self, learner):
        with pytest.raises(TrainingError, match="LlamaForCausalLM cannot compute its layers a second time") as caught:
            learner.recompute()
        assert "checkpointing" in caught.value.hint and not learner.recomputes


def test_a_model_that_wants_a_mask_by_name_is_not_packed(a_learner, some_rows, monkeypatch):
    """Some take masks for each kind of layer from a table."""
    learner = a_learner()
    own = learner.network.model.forward

    def forward(*, attention_mask, **more):
        return own(attention_mask=attention_mask if attention_mask.ndim == 2 else {}["full_attention"], **more)

    monkeypatch.setattr(learner.network.model, "forward", forward)
    learner.check_packing(some_rows)
    assert not learner.packs
