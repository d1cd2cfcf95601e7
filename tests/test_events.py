import threading

import pytest

from shammah.events import EventBus, Notice, Progress


@pytest.fixture
def bus():
    return EventBus()


def test_every_listener_hears_every_event_in_order(bus):
    first, second = [], []
    bus.subscribe(first.append)
    bus.subscribe(second.append)
    events = [Progress("Loading"), Progress("Loading", 1, 2, "B"), Notice("Loaded")]
    for event in events:
        bus.publish(event)
    assert first == second == events


def test_nobody_needs_to_listen(bus):
    bus.publish(Notice("unheard"))


def test_who_stops_listening_hears_no_more(bus):
    heard, others = [], []
    stop = bus.subscribe(heard.append)
    bus.subscribe(others.append)
    bus.publish(Notice("one"))
    stop()
    stop()
    bus.publish(Notice("two"))
    assert heard == [Notice("one")]
    assert others == [Notice("one"), Notice("two")]


def test_what_was_before_is_not_heard(bus):
    bus.publish(Notice("before"))
    heard = []
    bus.subscribe(heard.append)
    assert heard == []


def test_a_listener_may_stop_and_start_listeners_while_it_hears(bus):
    heard, others = [], []

    def once(event):
        stop()
        bus.subscribe(heard.append)
        heard.append("once")

    stop = bus.subscribe(once)
    bus.subscribe(others.append)
    bus.publish(Notice("one"))
    bus.publish(Notice("two"))
    assert heard == ["once", Notice("two")]
    assert others == [Notice("one"), Notice("two")]


def test_listeners_run_on_the_publishers_thread(bus):
    threads = []
    bus.subscribe(lambda event: threads.append(threading.current_thread()))
    worker = threading.Thread(target=bus.publish, args=(Notice("work"),))
    worker.start()
    worker.join(10)
    assert threads == [worker]


def test_many_threads_at_once_lose_nothing(bus):
    heard = []
    bus.subscribe(heard.append)

    def work(name):
        for number in range(200):
            bus.subscribe(lambda event: None)()
            bus.publish(Progress(name, number))

    workers = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    for name in "abcd":
        assert [event.done for event in heard if event.label == name] == list(range(200))


def test_events_are_values():
    assert Notice("x") == Notice("x")
    with pytest.raises(AttributeError):
        Notice("x").text = "y"
