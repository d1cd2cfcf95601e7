"""A run that is gone on with ends as if it had not been cut off, or it begins anew."""

import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

from shammah.training.checkpoint import Checkpoint
from shammah.training.fitting import Limits

STEPS = 6


class Cut(Exception):
    pass


@pytest.fixture
def checkpoint(tmp_path):
    return Checkpoint(tmp_path / "adapters" / ".training" / "checkpoint.safetensors")


@pytest.fixture
def plan(some_rows, a_row):
    return [(*some_rows[step : step + 2], a_row(18, 12, 40 + step, kind="anchor")) for step in range(STEPS)]


@pytest.fixture
def cut_off(a_trainer, checkpoint, plan):
    """A run that was saved and cut off after so many steps."""

    def run(steps, **changes):
        trainer = a_trainer(plan, **changes)

        def after(state):
            if state.step == steps:
                checkpoint.save(trainer, "this run")
                raise Cut

        with pytest.raises(Cut):
            trainer.run(after)
        return trainer

    return run


def values(trainer):
    return trainer.learner.flat.values.detach()


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_it_ends_as_if_it_had_not_been_cut_off(a_trainer, checkpoint, plan, cut_off, steps):
    whole = a_trainer(plan, dropout=0.2, held_out=plan[0], patience=3, check_every=2)
    whole.run()
    cut_off(steps, dropout=0.2, held_out=plan[0], patience=3, check_every=2)
    torch.manual_seed(12345)  # another process
    again = a_trainer(plan, dropout=0.2, held_out=plan[0], patience=3, check_every=2)
    assert checkpoint.restore(again, "this run") and again.state.step == steps
    assert again.run().losses == whole.state.losses and again.state.held_out == whole.state.held_out
    assert again.state.tokens == whole.state.tokens
    assert torch.equal(values(again), values(whole))


def test_without_the_optimizers_memory_it_would_not(a_trainer, checkpoint, plan, cut_off):
    """That the file holds it is what makes the two equal."""
    whole = a_trainer(plan)
    whole.run()
    cut_off(3)
    kept = load_file(checkpoint.path)
    assert kept.keys() == {"values", "step", "exp_avg", "exp_avg_sq"} and float(kept["step"]) == 3
    again = a_trainer(plan)
    assert checkpoint.restore(again, "this run")
    again.optimizer.state.clear()
    again.run()
    assert not torch.allclose(values(again), values(whole), atol=1e-5)


def test_one_of_another_run_is_left_alone(a_trainer, checkpoint, plan, cut_off):
    cut_off(3)
    fresh = a_trainer(plan)
    before = values(fresh).clone()
    assert not checkpoint.restore(fresh, "another run")
    assert fresh.state.step == 0 and torch.equal(values(fresh), before)


def test_one_of_another_shape_is_left_alone(a_trainer, checkpoint, plan, cut_off):
    cut_off(3)
    fresh = a_trainer(plan, r=2)
    assert not checkpoint.restore(fresh, "this run") and fresh.state.step == 0


def test_where_there_is_none(a_trainer, checkpoint, plan):
    assert not checkpoint.restore(a_trainer(plan), "this run")
    checkpoint.remove()


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "bare", "folder", "one byte"])
def test_a_damaged_one_is_none(a_trainer, checkpoint, plan, cut_off, damage):
    cut_off(3)
    data = checkpoint.path.read_bytes()
    if damage == "bare":
        save_file({"values": torch.zeros(3)}, checkpoint.path, metadata={"fingerprint": "this run", "state": "{}"})
    elif damage == "folder":
        checkpoint.path.unlink()
        checkpoint.path.mkdir()
    else:
        flipped = data[:-100] + bytes([data[-100] ^ 64]) + data[-99:]
        broken = {"cut": data[:-10], "empty": b"", "garbage": b"x" * len(data), "one byte": flipped}
        checkpoint.path.write_bytes(broken[damage])
    fresh = a_trainer(plan)
    before = values(fresh).clone()
    assert not checkpoint.restore(fresh, "this run")
    assert fresh.state.step == 0 and torch.equal(values(fresh), before)


def test_nobody_else_may_read_it(checkpoint, cut_off, open_umask):
    cut_off(2)
    assert stat.S_IMODE(checkpoint.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(checkpoint.path.parent.stat().st_mode) == 0o700
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]
    checkpoint.remove()
    assert not checkpoint.path.exists()


def test_it_can_be_gone_on_with_in_smaller_parts(a_trainer, checkpoint, plan, cut_off):
    whole = a_trainer(plan)
    whole.run()
    cut_off(3)
    again = a_trainer(plan, limits=Limits(1, 64))
    assert checkpoint.restore(again, "this run")
    assert again.run().losses == pytest.approx(whole.state.losses, rel=1e-2)
