import threading

from headwater.ingest.memory_budget import MemoryBudget


class Held:
    """An upload that holds something, and lets go of all but a part when it spills."""

    def __init__(self, held, *, rest=0):
        self.held, self.rest, self.spilled = held, rest, 0

    def spill(self):
        self.spilled += 1
        self.held = min(self.held, self.rest)


def a_room(most, *holders):
    """A room in which uploads hold something already."""
    budget = MemoryBudget(most)
    locks = {holder: budget.register(holder) for holder in holders}
    for holder in holders:
        budget.charge(holder)
    return budget, locks


def test_what_fits_stays_where_it_is():
    one, other = Held(60), Held(40)
    budget, _ = a_room(100, one, other)
    assert budget.is_left
    assert (one.spilled, other.spilled) == (0, 0)


def test_who_is_too_much_spills_first():
    one, other = Held(60), Held(41)
    a_room(100, one, other)
    assert (one.spilled, other.spilled) == (0, 1)


def test_then_those_spill_that_hold_the_most():
    large, small, new = Held(70), Held(10), Held(50, rest=40)
    budget, _ = a_room(100, large, small, new)
    assert (large.held, small.held, new.held) == (0, 10, 40)
    assert budget.is_left


def test_nobody_spills_whom_somebody_works_on():
    busy, idle, new = Held(60), Held(30), Held(0)
    budget, locks = a_room(100, busy, idle, new)
    new.held = new.rest = 40
    with locks[busy]:
        budget.charge(new)
    assert (busy.spilled, idle.spilled) == (0, 1)
    assert budget.is_left


def test_where_nobody_can_let_go_of_more_there_is_no_room_until_somebody_leaves():
    one, other = Held(60, rest=60), Held(60, rest=60)
    budget, _ = a_room(100, one, other)
    assert not budget.is_left
    budget.release(one)
    assert budget.is_left
    budget.release(other)
    budget.release(other)
    budget.charge(Held(1000))
    assert budget.is_left


def test_where_there_is_no_room_those_that_came_first_go_on():
    first, second, last = Held(60, rest=60), Held(60, rest=60), Held(1, rest=1)
    budget, _ = a_room(100, first, second, last)
    assert [budget.may_read(each) for each in (first, second, last)] == [True, False, False]
    budget.release(first)
    assert [budget.may_read(each) for each in (second, last)] == [True, True]
    second.held = second.rest = 200
    budget.charge(second)
    assert [budget.may_read(each) for each in (second, last)] == [True, False]


def test_threads_that_make_room_at_once_count_right():
    holders = [Held(0) for _ in range(8)]
    budget, locks = a_room(500, *holders)

    def grow(holder):
        for _ in range(500):
            with locks[holder]:
                holder.held += 7
                budget.charge(holder)

    threads = [threading.Thread(target=grow, args=(holder,)) for holder in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(holder.held for holder in holders) <= 500
    for holder in holders:
        budget.release(holder)
    budget.register(last := Held(500))
    budget.charge(last)
    assert last.spilled == 0
