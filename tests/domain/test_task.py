from dataclasses import replace
from datetime import timedelta

import pytest

from builders import AT, a_task
from headwater.domain.errors import RequestInvalid, TaskClosed, TaskRemoved
from headwater.domain.task import OPEN, Publish, Reason, TaskState, again, move, require_open, state_of

NEW, RUNNING, DONE = TaskState.NEW, TaskState.RUNNING, TaskState.DONE
FAILED, TIMED_OUT, STOPPED = TaskState.FAILED, TaskState.TIMED_OUT, TaskState.STOPPED

ENDS = [DONE, FAILED, TIMED_OUT, STOPPED]
ALLOWED = {
    *((NEW, to) for to in (RUNNING, *ENDS)),
    *((RUNNING, to) for to in (RUNNING, *ENDS)),
    *((end, NEW) for end in ENDS),
}
PAIRS = [(before, after) for before in TaskState for after in TaskState]
LATER = AT + timedelta(hours=1)


def an_ended_task(**fields):
    """A task with every field set that a new attempt must forget."""
    return a_task(
        **{
            "attempt": 2,
            "state": FAILED,
            "code": 500,
            "reason": Reason.REPORTED,
            "message": "source is down",
            "detail": {"at": "page 7"},
            "docs": 10,
            "bytes": 1000,
            "uploads": 3,
            "rejected": 1,
            "callback": "/task/1",
            "heard_at": AT,
            "ended_at": AT,
        }
        | fields
    )


def opened_again(task, **fields):
    settings = {
        "params": task.params,
        "external_version": task.external_version,
        "timeout": task.timeout,
        "publish": task.publish,
        "deadline": None,
        "at": LATER,
    }
    return again(task, **(settings | fields))


@pytest.mark.parametrize(("before", "after"), [pair for pair in PAIRS if pair in ALLOWED])
def test_a_move_in_the_table_leads_to_its_state(before, after):
    assert move(a_task(state=before), after, code=1, at=AT).state is after


@pytest.mark.parametrize(("before", "after"), [pair for pair in PAIRS if pair not in ALLOWED])
def test_a_move_that_is_not_in_the_table_is_refused(before, after):
    with pytest.raises(TaskClosed):
        move(a_task(state=before), after, code=1, at=AT)


def test_the_open_states_are_new_and_running():
    assert {state for state in TaskState if a_task(state=state).is_open} == {NEW, RUNNING} == OPEN


@pytest.mark.parametrize(
    ("code", "state"),
    [(102, RUNNING), (200, DONE), (204, DONE), (299, DONE), (400, FAILED), (404, FAILED), (500, FAILED), (599, FAILED)],
)
def test_a_reported_code_stands_for_a_state(code, state):
    assert state_of(code) is state


@pytest.mark.parametrize("code", [-1, 0, 1, 99, 100, 101, 103, 199, 300, 304, 399, 600, 1000])
def test_any_other_code_cannot_be_reported(code):
    with pytest.raises(RequestInvalid, match=f"^{code} is no status code"):
        state_of(code)


def test_a_move_takes_over_what_was_said():
    moved = move(a_task(), FAILED, code=503, at=AT, reason=Reason.REPORTED, message="no", detail=[1])
    assert (moved.code, moved.reason, moved.message, moved.detail) == (503, Reason.REPORTED, "no", [1])


def test_a_move_forgets_what_was_said_before():
    before = a_task(state=RUNNING, message="page 7", detail={"page": 7})
    assert move(before, RUNNING, code=102, at=LATER).message is None


@pytest.mark.parametrize("before", [NEW, RUNNING])
def test_a_task_that_goes_on_is_heard_from_and_its_silence_timer_starts_anew(before):
    task = a_task(state=before, timeout=60, heard_at=AT, deadline=AT + timedelta(seconds=60))
    moved = move(task, RUNNING, code=102, at=LATER)
    assert (moved.heard_at, moved.deadline, moved.ended_at) == (LATER, LATER + timedelta(seconds=60), None)


@pytest.mark.parametrize("end", ENDS)
def test_a_task_that_ends_has_no_deadline_and_keeps_when_it_was_heard_from(end):
    task = a_task(state=RUNNING, heard_at=AT, deadline=AT + timedelta(seconds=60))
    moved = move(task, end, code=200, at=LATER)
    assert (moved.heard_at, moved.deadline, moved.ended_at) == (AT, None, LATER)


def test_a_move_leaves_the_task_that_it_was_given_as_it_is():
    task = a_task()
    same = replace(task)
    move(task, DONE, code=200, at=AT)
    assert task == same


@pytest.mark.parametrize("end", ENDS)
def test_a_new_attempt_begins_with_nothing_of_the_one_before(end):
    task = an_ended_task(state=end)
    assert opened_again(task, deadline=LATER) == a_task(fid=task.fid, attempt=3, started_at=LATER, deadline=LATER)


def test_a_new_attempt_takes_its_settings_from_now():
    settings = {"params": {"q": "x"}, "external_version": 9, "timeout": 5, "publish": Publish.ON_SUCCESS}
    opened = opened_again(an_ended_task(), **settings)
    assert {name: getattr(opened, name) for name in settings} == settings


@pytest.mark.parametrize("state", [NEW, RUNNING])
def test_an_open_task_is_not_opened_again(state):
    with pytest.raises(TaskClosed, match=f"stands at 0 \\({state}\\)"):
        opened_again(a_task(state=state))


def test_a_deleted_task_is_not_opened_again():
    with pytest.raises(TaskRemoved, match="restore it before"):
        opened_again(an_ended_task(removed_at=AT))


@pytest.mark.parametrize("state", [NEW, RUNNING])
def test_an_open_task_takes_documents(state):
    assert require_open(a_task(state=state)) is None


@pytest.mark.parametrize("state", ENDS)
def test_an_ended_task_takes_none(state):
    with pytest.raises(TaskClosed, match="ended with 200"):
        require_open(a_task(state=state, code=200))


@pytest.mark.parametrize("state", TaskState)
def test_a_deleted_task_takes_none_whatever_its_state(state):
    with pytest.raises(TaskRemoved):
        require_open(a_task(state=state, removed_at=AT))
