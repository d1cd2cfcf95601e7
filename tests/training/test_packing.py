"""Packed rows give the numbers that each gives alone, or packing is given up."""

import pytest
import torch
from support.networks import gemma, granite_hybrid, lfm2, llama, mistral, some_ids

from shammah.training.batches import cost
from shammah.training.learner import Learner
from shammah.training.packing import Row, pack, shared_beginning

pytestmark = pytest.mark.usefixtures("one_thread")


def alone(learner, rows):
    """Each row by itself through the whole network, without packing or filling."""
    parts = []
    with torch.no_grad():
        for row in rows:
            states = learner.network.get_decoder()(input_ids=torch.tensor([row.ids])).last_hidden_state[0]
            parts.append(states[row.start - 1 : len(row.ids) - 1])
    return torch.cat(parts)


def together(learner, rows):
    with torch.no_grad():
        return learner.hidden(rows)


class TestPack:
    def test_the_common_beginning_is_there_once(self):
        rows = [Row(ids=(1, 2, 3, 4, 5), start=4), Row(ids=(1, 2, 7, 8, 9, 6), start=4)]
        packed = pack(rows)
        assert packed.ids == [1, 2, 3, 4, 5, 7, 8, 9, 6]
        assert packed.positions == [0, 1, 2, 3, 4, 2, 3, 4, 5]
        assert packed.segments == [0, 0, 1, 1, 1, 2, 2, 2, 2]
        assert [packed.ids[place] for place in packed.predictors] == [4, 8, 9]
        assert cost(rows) == len(packed.ids)

    def test_no_reply_is_predicted_from_the_common_beginning(self):
        """The token that predicts the first of a reply is its row's own."""
        rows = [Row(ids=(1, 2, 3, 4), start=3), Row(ids=(1, 2, 3, 5), start=3)]
        assert shared_beginning(rows) == 2 and pack(rows).predictors == [2, 4]

    def test_a_prompt_of_one_token(self):
        packed = pack([Row(ids=(1, 4), start=1), Row(ids=(1, 5), start=1)])
        assert packed.ids == [1, 4, 1, 5] and packed.predictors == [0, 2]


class TestStates:
    def test_equal_those_of_each_row_alone(self, a_learner, some_rows):
        learner = a_learner()
        assert shared_beginning(some_rows) >= 5
        torch.testing.assert_close(together(learner, some_rows), alone(learner, some_rows), atol=1e-4, rtol=0)

    def test_of_rows_with_nothing_in_common(self, a_learner, a_row):
        learner = a_learner()
        rows = [a_row(12 + seed, 5, seed, common=0) for seed in range(4)]
        torch.testing.assert_close(together(learner, rows), alone(learner, rows), atol=1e-4, rtol=0)

    def test_with_the_librarys_own_attention(self, a_recipe, some_rows):
        learner = Learner(llama(vocab_size=128, attn_implementation="eager"), a_recipe())
        assert learner.network.config._attn_implementation == "eager"
        torch.testing.assert_close(together(learner, some_rows), alone(learner, some_rows), atol=1e-4, rtol=0)

    def test_gradients_equal_those_of_padded_rows(self, a_learner, some_rows):
        found = []
        for packs in (True, False):
            learner = a_learner()
            learner.packs = packs
            states = learner.hidden(some_rows)
            (states * torch.linspace(-1, 1, states.numel()).view_as(states)).sum().backward()
            found.append(learner.flat.values.grad.clone())
        torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)
        assert found[0].abs().max() > 0.01

    def test_padded_equal_those_of_each_row_alone(self, a_learner, some_rows):
        learner = a_learner()
        learner.packs = False
        torch.testing.assert_close(together(learner, some_rows), alone(learner, some_rows), atol=1e-4, rtol=0)

    def test_a_row_that_sees_another_would_be_noticed(self, a_learner, some_rows):
        """What is compared above depends on what comes before: another row's tokens would show."""
        learner = a_learner()
        first, second = some_rows[:2]
        joined = Row(ids=first.ids + second.ids[6:], start=len(first.ids) + second.start - 6)
        assert not torch.allclose(alone(learner, [joined]), alone(learner, [second]), atol=1e-2)


WINDOW = 8


class TestSlidingWindows:
    """A network that sees its last few tokens only ignores what it is told to attend to, or heeds it too well."""

    @pytest.mark.parametrize("make", [lambda: mistral(WINDOW, vocab_size=128), lambda: gemma(vocab_size=128)])
    def test_rows_longer_than_the_window(self, a_recipe, some_rows, make):
        learner = Learner(make(), a_recipe())
        learner.check_packing(some_rows)
        torch.testing.assert_close(together(learner, some_rows), alone(learner, some_rows), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("make", [lambda: mistral(WINDOW, vocab_size=128), lambda: gemma(vocab_size=128)])
    def test_rows_that_grow_longer_than_those_that_were_tried(self, a_recipe, some_rows, make):
        short = [Row(ids=tuple(some_ids(6, seed)), start=4) for seed in range(3)]
        learner = Learner(make(), a_recipe())
        learner.check_packing(short)
        assert learner.packs
        torch.testing.assert_close(together(learner, short), alone(learner, short), atol=1e-4, rtol=0)
        rows = [*short, *some_rows]
        torch.testing.assert_close(together(learner, rows), alone(learner, rows), atol=1e-4, rtol=0)

    def test_packing_stays_where_it_is_right(self, a_learner, some_rows):
        learner = a_learner()
        learner.check_packing(some_rows)
        assert learner.packs

    def test_packing_is_given_up_where_the_network_attends_its_own_way(self, a_learner, some_rows):
        """As a network does that keeps a state from token to token instead of attending."""
        learner = a_learner()
        decoder = learner.network.get_decoder()
        decoder.layers[0].register_forward_hook(lambda module, args, out: out + 0.1 * out.cumsum(dim=1))
        learner.check_packing(some_rows)
        assert not learner.packs
        torch.testing.assert_close(together(learner, some_rows), alone(learner, some_rows), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("make", [lfm2, granite_hybrid])
    def test_packing_is_given_up_where_layers_hand_on_a_state(self, a_recipe, some_rows, make):
        """Also where there is but one row to try: of the rows of other steps it would show nothing."""
        learner = Learner(make(vocab_size=128), a_recipe())
        assert not torch.allclose(together(learner, some_rows), alone(learner, some_rows), atol=1e-2)
        learner.check_packing(some_rows[:1])
        assert not learner.packs
        torch.testing.assert_close(together(learner, some_rows), alone(learner, some_rows), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("error", [ValueError, IndexError, KeyError, RuntimeError, TypeError])
    def test_packing_is_given_up_where_the_network_takes_no_such_mask(self, a_learner, some_rows, error):
        learner = a_learner()

        def refuse(module, args, kwargs):
            if kwargs["attention_mask"].dim() != 2:
                raise error("a mask has two dimensions")

        learner.network.get_decoder().register_forward_pre_hook(refuse, with_kwargs=True)
        learner.check_packing(some_rows)
        assert not learner.packs
        torch.testing.assert_close(together(learner, some_rows), together(a_learner(), some_rows), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("not enough memory"), KeyboardInterrupt()])
    def test_but_not_for_want_of_memory(self, a_learner, some_rows, error):
        learner = a_learner()

        def refuse(module, args, kwargs):
            if kwargs["attention_mask"].dim() != 2:
                raise error

        learner.network.get_decoder().register_forward_pre_hook(refuse, with_kwargs=True)
        with pytest.raises(type(error)):
            learner.check_packing(some_rows)
        assert learner.packs
