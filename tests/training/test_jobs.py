from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shammah.training.jobs import Job, JobQueue

PRIORITIES = ["high", "medium", "low", "deferred"]
TRIGGERS = ["threshold", "user", "retry", "resume"]
jobs = st.builds(Job, st.sampled_from(PRIORITIES), st.sampled_from(TRIGGERS), st.sampled_from(["", "ten new ones"]))


def queue_of(*jobs):
    queue = JobQueue()
    for priority, trigger in jobs:
        queue.push(Job(priority, trigger))
    return queue


def popped(queue):
    return list(iter(queue.pop, None))


def triggers(jobs):
    return [job.trigger for job in jobs]


def test_an_empty_queue_has_nothing():
    queue = JobQueue()
    assert queue.pop() is None
    assert queue.jobs() == []
    assert not queue.deferred


def test_the_most_urgent_goes_first_and_then_who_came_first():
    queue = queue_of(("low", "retry"), ("medium", "threshold"), ("high", "user"), ("medium", "resume"))
    expected = ["user", "threshold", "resume", "retry"]
    assert triggers(queue.jobs()) == expected
    assert triggers(popped(queue)) == expected
    assert queue.jobs() == []


def test_jobs_are_numbered_as_they_come():
    queue = JobQueue()
    first, second = queue.push(Job("low", "retry", "again")), queue.push(Job("high", "user"))
    assert (first.number, second.number) == (1, 2)
    assert popped(queue) == [second, first] == [Job("high", "user", "", 2), Job("low", "retry", "again", 1)]
    assert queue.push(Job("low", "retry")).number == 3


def test_equal_jobs_become_one_with_the_higher_priority():
    queue = JobQueue()
    queue.push(Job("medium", "threshold", "10 new examples"))
    queue.push(Job("medium", "retry"))
    assert queue.push(Job("low", "threshold", "11 new examples")) == Job("medium", "threshold", "10 new examples", 1)
    assert triggers(queue.jobs()) == ["threshold", "retry"]
    assert queue.push(Job("high", "threshold", "12 new examples")) == Job("high", "threshold", "12 new examples", 1)
    assert [(job.number, job.priority) for job in popped(queue)] == [(1, "high"), (2, "medium")]


def test_a_job_that_runs_already_is_not_the_same():
    queue = queue_of(("medium", "threshold"))
    running = queue.pop()
    assert queue.push(Job("medium", "threshold")).number != running.number


def test_deferred_jobs_wait_until_they_are_released():
    queue = queue_of(("deferred", "threshold"), ("low", "retry"))
    assert triggers(popped(queue)) == ["retry"]
    assert queue.deferred
    assert triggers(queue.jobs()) == ["threshold"]
    queue.release()
    assert not queue.deferred
    assert triggers(popped(queue)) == ["threshold"]


def test_a_job_asked_for_again_need_not_wait_to_be_released():
    queue = queue_of(("deferred", "threshold"), ("medium", "threshold"))
    assert triggers(popped(queue)) == ["threshold"]


def test_a_job_can_be_cancelled_by_its_number():
    queue = queue_of(("low", "retry"), ("high", "user"))
    assert queue.cancel(2)
    assert not queue.cancel(2)
    assert not queue.cancel(7)
    assert triggers(queue.jobs()) == ["retry"]


@given(st.lists(jobs, max_size=30))
def test_whatever_is_asked_for_runs_once_and_in_order(asked):
    queue = JobQueue()
    for job in asked:
        queue.push(job)
    queue.release()
    ran = popped(queue)
    assert Counter(triggers(ran)) == Counter({job.trigger for job in asked})
    ranks = [PRIORITIES.index(job.priority) for job in ran]
    assert ranks == sorted(ranks)
    for job in ran:
        best = min(PRIORITIES.index(other.priority) for other in asked if other.trigger == job.trigger)
        assert PRIORITIES.index(job.priority) == min(best, 2)
    for one, other in zip(ran, ran[1:], strict=False):
        assert one.priority != other.priority or one.number < other.number
