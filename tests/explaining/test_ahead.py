"""Threads that work ahead of the one who waits for them, or in turn with it."""

import os
import sys
import threading
import time

import pytest

from vision_attn.explaining.ahead import ahead, in_turn


def test_threads_work_ahead_but_not_far():
    begun, lock, go = [], threading.Lock(), threading.Event()

    def work(job):
        with lock:
            begun.append(job)
        go.wait(5)
        return job * job

    found = ahead(work, range(11), workers=2)
    threading.Timer(0.2, go.set).start()
    assert next(found) == 0
    time.sleep(0.05)
    assert len(begun) <= 3
    assert list(found) == [place * place for place in range(1, 11)]


def test_an_error_in_a_thread_is_raised_where_its_result_would_be():
    found = ahead(lambda job: 1 // job, [1, 0, 1], workers=2)
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_in_turn_nothing_goes_on_while_the_one_who_asks_is_busy():
    running, lock, together = 0, threading.Lock(), threading.Barrier(2, timeout=5)

    def work(job):
        nonlocal running
        with lock:
            running += 1
        together.wait()  # two at a time, or never
        with lock:
            running -= 1
        return job * job

    found = in_turn(work, [range(2), range(2, 6)], workers=2)
    assert next(found) == [0, 1]
    time.sleep(0.05)
    assert running == 0
    assert list(found) == [[4, 9, 16, 25]]


def test_in_turn_an_error_is_raised_where_its_batch_would_be():
    found = in_turn(lambda job: 1 // job, [[1], [1, 0]], workers=2)
    assert next(found) == [1]
    with pytest.raises(ZeroDivisionError):
        next(found)


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's on Linux only")
def test_threads_give_way_to_the_one_who_waits_and_to_nobody_else():
    def niceness(job):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness(0)
    assert set(ahead(niceness, range(4), workers=2)) == {min(before + 10, 19)}
    assert niceness(0) == before


def test_where_niceness_is_forbidden_work_is_done_all_the_same(monkeypatch):
    def forbidden(*_):
        raise PermissionError("not here")

    monkeypatch.setattr(os, "setpriority", forbidden, raising=False)
    assert list(ahead(lambda job: job + 1, range(3), workers=2)) == [1, 2, 3]
