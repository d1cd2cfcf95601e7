"""One step is one step in whatever parts; the schedule, the seeds, the ends of a run."""

import math
from dataclasses import replace

import pytest
import torch

from shammah.errors import TrainingUnstable
from shammah.training.fitting import Limits
from shammah.training.loop import Share, Trainer, learning_rate
from shammah.training.preference import Preference
from shammah.training.recipe import Recipe

ONE_BY_ONE, WHOLE = Limits(1, 64), Limits(8, 4096)


def gradient(trainer, rows):
    trainer.learner.flat.clear_grad()
    loss = trainer.backward(tuple(rows))
    return loss, trainer.learner.flat.values.grad.clone()


def mixed(rows):
    """Lessons of different weights, and anchors among them."""
    from dataclasses import replace

    return [
        replace(row, weight=1.0 + number % 3, kind="anchor" if number % 4 == 3 else "lesson", source=str(number))
        for number, row in enumerate(rows)
    ]


def values(trainer):
    return trainer.learner.flat.values.detach().clone()


class TestParts:
    def test_one_by_one_is_all_at_once(self, a_trainer, some_rows):
        rows = mixed(some_rows)
        found = [gradient(a_trainer([rows], moved=True, limits=limits), rows) for limits in (ONE_BY_ONE, WHOLE)]
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
        torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-4)
        assert found[0][1].abs().max() > 1e-4

    def test_for_a_whole_run(self, a_trainer, some_rows):
        plan = [mixed(some_rows)] * 4
        runs = [a_trainer(plan, limits=limits) for limits in (ONE_BY_ONE, WHOLE)]
        losses = [trainer.run().losses for trainer in runs]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
        # Adam divides by the size of a gradient, so what is all but zero is not compared.
        torch.testing.assert_close(values(runs[0]), values(runs[1]), atol=2e-3, rtol=1e-2)

    def test_with_pairs(self, a_trainer, a_row):
        rows = [a_row(16 + n, 11, n, rejected=a_row(18, 11, n) if n % 2 else None) for n in range(4)]
        found = []
        for limits in (ONE_BY_ONE, WHOLE):
            trainer = a_trainer([rows], moved=True, limits=limits, preference=Preference("odds", lambda row: 0.0))
            found.append(gradient(trainer, rows))
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
        torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-4)


class TestLoss:
    def test_weight_two_is_the_example_twice(self, a_trainer, a_row):
        one, other = a_row(16, 11, 1), a_row(19, 12, 2)
        heavy = a_row(16, 11, 1, weight=2.0)
        twice = gradient(a_trainer([], moved=True), [one, one, other])
        weighted = gradient(a_trainer([], moved=True), [heavy, other])
        assert twice[0] == pytest.approx(weighted[0], rel=1e-5)
        torch.testing.assert_close(twice[1], weighted[1], atol=1e-6, rtol=1e-4)

    def test_also_where_there_is_a_reply_to_be_told_from(self, a_trainer, a_row):
        one, other = (a_row(16 + n, 11, n, rejected=a_row(18, 11, 5 + n)) for n in (1, 2))
        found = []
        for rows in ([one, one, other], [replace(one, weight=2.0), other], [one, other]):
            odds = Preference("odds", lambda row: 0.0)
            found.append(gradient(a_trainer([], moved=True, preference=odds, preference_weight=5.0), rows))
        twice, weighted, once = found
        assert twice[0] == pytest.approx(weighted[0], rel=1e-5) != once[0]
        torch.testing.assert_close(twice[1], weighted[1], atol=1e-6, rtol=1e-4)
        assert not torch.allclose(twice[1], gradient(a_trainer([], moved=True), [one, other])[1], atol=1e-4)

    def test_is_the_mean_of_the_replies_tokens(self, a_trainer, some_rows):
        trainer = a_trainer([], moved=True)
        loss, _ = gradient(trainer, some_rows)
        surprise, count = 0.0, 0
        for row in some_rows:
            with torch.no_grad():
                logits = trainer.learner.network(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            surprise -= sum(float(logits[at - 1, row.ids[at]]) for at in range(row.start, len(row.ids)))
            count += row.learned
        assert loss == pytest.approx(surprise / count, rel=1e-4)

    def test_prompt_tokens_carry_no_gradient(self, a_trainer, a_row):
        """The loss reads the last states at the places that predict the reply, and at no other."""
        row = a_row(20, 14)
        trainer = a_trainer([], moved=True)
        seen = []

        def keep(module, args, output):
            output.last_hidden_state.retain_grad()
            seen.append(output.last_hidden_state)

        trainer.learner.network.get_decoder().register_forward_hook(keep)
        gradient(trainer, [row])
        felt = seen[0].grad[0].abs().sum(-1)
        before, after = row.start - 1, len(row.ids) - 1
        assert not felt[:before].any() and felt[before:after].all() and not felt[after:].any()

    def test_what_the_prompt_says_next_is_not_asked(self, a_trainer, a_row):
        """Were prompt tokens learned, the reply alone would not say what the loss is."""
        row = a_row(20, 19)
        trainer = a_trainer([], moved=True)
        loss, _ = gradient(trainer, [row])
        with torch.no_grad():
            logits = trainer.learner.network(torch.tensor([row.ids])).logits[0, -2].log_softmax(-1)
        assert loss == pytest.approx(-float(logits[row.ids[-1]]), rel=1e-4)

    def test_an_anchor_costs_nothing_before_the_first_step(self, a_trainer, a_row):
        rows = [a_row(16, 11, 1, kind="anchor")]
        assert gradient(a_trainer([]), rows)[0] == pytest.approx(0, abs=1e-5)
        assert gradient(a_trainer([], moved=True), rows)[0] > 1e-3

    def test_lessons_and_anchors_are_two_means(self, a_row):
        rows = [a_row(20, 12), a_row(20, 12, weight=3.0), a_row(22, 12, kind="anchor")]
        share = Share.of(rows, Recipe(preset="default", kl_weight=0.5))
        assert sum(share.per_token(row) * row.learned for row in rows if row.kind == "lesson") == pytest.approx(1)
        assert share.per_token(rows[2]) * 10 == pytest.approx(0.5)
        assert share.per_token(rows[1]) == pytest.approx(3 * share.per_token(rows[0]))

    def test_it_learns(self, a_trainer, some_rows):
        losses = a_trainer([some_rows] * 12).run().losses
        assert losses[-1] < 0.7 * losses[0]


class TestSchedule:
    @pytest.mark.parametrize("steps", range(1, 51))
    @pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 0.9])
    def test_the_warm_up_is_never_as_long_as_the_run(self, steps, warmup):
        recipe = Recipe(preset="default", warmup=warmup, learning_rate=1.0)
        assert 0 <= recipe.warmup_steps(steps) < steps
        rates = [learning_rate(recipe, step, steps) for step in range(steps)]
        top = rates.index(max(rates))
        assert rates[top] == 1.0 and min(rates) > 0
        assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)

    def test_it_ends_at_about_a_tenth(self):
        recipe = Recipe(preset="default", learning_rate=1.0)
        assert learning_rate(recipe, 99, 100) == pytest.approx(0.1, abs=0.01)

    def test_each_step_takes_its_own(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows[:2]] * 5, warmup=0.4)
        seen = []
        trainer.run(lambda state: seen.append(trainer.optimizer.param_groups[0]["lr"]))
        assert seen == [learning_rate(trainer.recipe, step, 5) for step in range(5)]

    def test_long_gradients_are_cut(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows], clip=0.01)
        trainer.run(lambda state: None)
        assert float(trainer.learner.flat.values.grad.norm()) == pytest.approx(0.01, rel=1e-3)
        free = a_trainer([some_rows], clip=0.0)
        free.run()
        assert float(free.learner.flat.values.grad.norm()) > 0.1


class TestRuns:
    def test_the_same_seed_gives_the_same(self, a_trainer, some_rows):
        plan = [mixed(some_rows)] * 3
        runs = [a_trainer(plan, dropout=0.3, seed=seed) for seed in (1, 1, 2)]
        losses = [trainer.run().losses for trainer in runs]
        assert losses[0] == losses[1] != losses[2]
        assert torch.equal(values(runs[0]), values(runs[1]))

    def test_afterwards_the_network_answers_again(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows[:2]] * 2)
        dropping = [module for name, module in trainer.learner.network.named_modules() if "lora_dropout" in name]
        modes = []
        trainer.run(lambda state: modes.append(all(module.training for module in dropping)))
        assert dropping and modes == [True, True] and not any(module.training for module in dropping)

    def test_the_bases_own_layers_never_drop_anything(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows[:2]])
        network = trainer.learner.network
        own = [module for name, module in network.named_modules() if name.endswith("self_attn")]
        modes = []
        trainer.run(lambda state: modes.append(any(module.training for module in own)))
        assert own and modes == [False]

    def test_recomputing_gives_the_same_gradients(self, a_trainer, some_rows):
        found, computed = [], []
        for recomputes in (False, True):
            trainer = a_trainer([some_rows], moved=True)
            if recomputes:
                trainer.learner.recompute()
            trainer.learner.learning(True)
            calls = []
            block = trainer.learner.network.get_decoder().layers[0].mlp
            block.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
            found.append(gradient(trainer, some_rows))
            computed.append(len(calls))
        torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=1e-4)
        assert computed == [1, 2]

    def test_what_is_raised_after_a_step_ends_it_there(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows[:2]] * 4)
        with pytest.raises(KeyError):
            trainer.run(lambda state: {}["over"] if state.step == 2 else None)
        assert trainer.state.step == 2 and not trainer.learner.network.training
        assert trainer.run().step == 4 and len(trainer.state.losses) == 4

    def test_a_step_that_was_cut_off_leaves_no_trace(self, a_trainer, a_learner, some_rows):
        """It is done anew when the run goes on, from the numbers before it."""
        calls = {"left": 15}

        def courtesy():
            calls["left"] -= 1
            if not calls["left"]:
                raise KeyError

        plan = [some_rows] * 4
        trainer = a_trainer(plan, learner=a_learner(moved=False, courtesy=courtesy), limits=ONE_BY_ONE)
        with pytest.raises(KeyError):
            trainer.run()
        whole = a_trainer(plan, limits=ONE_BY_ONE)
        assert trainer.run().losses == whole.run().losses
        assert torch.equal(values(trainer), values(whole))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_numbers_that_are_not_finite_stop_it(self, a_trainer, some_rows, bad):
        trainer = a_trainer([some_rows[:2]] * 3)
        trainer.penalty = lambda numbers: numbers.sum() * (bad if trainer.state.step else 0.0)
        with pytest.raises(TrainingUnstable, match="at step 2"):
            trainer.run()
        assert trainer.state.step == 1 and torch.isfinite(trainer.learner.flat.values).all()

    def test_a_gradient_that_is_not_finite_stops_it(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows[:2]])
        with torch.no_grad():
            trainer.learner.network.get_decoder().norm.weight[0] = math.inf
        with pytest.raises(TrainingUnstable, match=r"learning_rate|finite"):
            trainer.run()


class TestPlateau:
    def run(self, a_trainer, some_rows, held_out, **changes):
        fields = {"patience": 2, "check_every": 2, "learning_rate": 0.05, **changes}
        trainer = a_trainer([some_rows] * 30, held_out=held_out, **fields)
        return trainer.run()

    def test_of_what_is_never_trained_on_ends_it(self, a_trainer, a_row, some_rows):
        """Random tokens cannot be learned from other random tokens: their loss has its best early."""
        state = self.run(a_trainer, some_rows, [a_row(24, 12, seed) for seed in range(50, 53)])
        assert state.stopped == "plateau" and state.step < 30
        assert len(state.held_out) == state.step // 2
        best = state.held_out.index(min(state.held_out))
        assert len(state.held_out) - 1 - best == 2

    def test_the_training_loss_says_nothing(self, a_trainer, some_rows):
        """Where nothing is held out a run goes to its end, though its loss has long stopped falling."""
        state = self.run(a_trainer, some_rows, (), learning_rate=1e-7)
        assert state.step == 30 and not state.stopped and state.losses[-1] == pytest.approx(state.losses[5], rel=1e-2)

    def test_what_gets_better_goes_on(self, a_trainer, some_rows):
        state = self.run(a_trainer, some_rows, some_rows[:2], learning_rate=5e-3)
        assert not state.stopped and state.held_out == sorted(state.held_out, reverse=True)

    def test_without_patience_it_is_not_even_measured(self, a_trainer, a_row, some_rows):
        state = self.run(a_trainer, some_rows[:2], [a_row(24, 12, 50)], patience=0)
        assert state.step == 30 and state.held_out == []

    def test_it_is_measured_as_it_would_answer(self, a_trainer, some_rows):
        """With nothing dropped: the same for every seed of the dropout."""
        trainer = a_trainer([some_rows[:3]], held_out=some_rows[4:], patience=2, check_every=1, dropout=0.5, moved=True)
        measured = trainer.run().held_out[0]
        with torch.no_grad():
            whole = torch.cat([trainer.losses([row]) for row in some_rows[4:]])
        assert not trainer.learner.network.training
        assert measured == pytest.approx(float(whole.mean()), rel=1e-4)

    def test_a_check_that_was_cut_off_is_made_up_for(self, a_trainer, a_row, some_rows):
        plan, held = [some_rows[:3]] * 4, [a_row(24, 12, 50)]
        settings = {"held_out": held, "patience": 9, "check_every": 2}
        whole, cut = a_trainer(plan, **settings), a_trainer(plan, **settings)
        whole.run()
        real, cut.losses = cut.losses, lambda rows: real(rows) if list(rows) != held or cut.state.held_out else {}[0]
        with pytest.raises(KeyError):
            cut.run()
        assert (cut.state.step, cut.state.held_out) == (2, [])
        cut.losses = real
        assert cut.run().held_out == whole.state.held_out and cut.state.losses == whole.state.losses

    def test_measuring_changes_nothing(self, a_trainer, a_row, some_rows):
        plan, held = [some_rows[:3]] * 4, [a_row(24, 12, 50)]
        with_it = a_trainer(plan, held_out=held, patience=9, check_every=1, dropout=0.2)
        without = a_trainer(plan, dropout=0.2)
        assert with_it.run().losses == without.run().losses
        assert torch.equal(values(with_it), values(without))


def test_the_clock_counts_the_steps(a_learner, some_rows):
    ticks = iter(range(100))
    trainer = Trainer(
        a_learner(moved=False),
        Recipe(preset="default"),
        [tuple(some_rows[:2])] * 3,
        base_states=lambda row: None,
        clock=lambda: float(next(ticks)),
    )
    state = trainer.run()
    assert state.seconds == 3.0 and state.tokens == 3 * sum(len(row.ids) for row in some_rows[:2])
