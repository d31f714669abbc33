# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Threads that take turns by a plan: every interleaving of real classes, one after the other.

Each thread is a real one, but only one runs at a time. Before each line of the code under test the
plan may let another one go on (a preemption). Waiting on a condition or for the end of a thread
is known to the plan, so that a wake-up that got lost is a deadlock, seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import random
import sys
import threading
from types import CodeType, FunctionType, SimpleNamespace


class Deadlock(AssertionError):
    """Nobody can go on, and not everybody is done."""


class _Abandoned(BaseException):
    """Ends the threads of a run that has failed."""


class Turns:
    """One run: which thread goes on is asked at each step."""

    def __init__(self, choose: Callable[[list[int], int], int], codes: frozenset[CodeType],
                 opcodes: bool = False):
        """
        Prepare.

        :param choose: takes the threads that can go on and the one that ran last; returns one
        :param codes: of the functions before whose lines a thread may be preempted
        :param opcodes: True = also within a line
        """
        self._choose, self._codes, self._opcodes = choose, codes, opcodes
        self.threads: list[_Thread] = []
        self._now: int | None = None        # before the run
        self._over = threading.Semaphore(0)
        self.error: BaseException | None = None

    @property
    def threading(self) -> SimpleNamespace:
        """What stands for the module `threading` in the code under test."""
        return SimpleNamespace(Thread=lambda **given: _Thread(self, **given),
                               Condition=lambda: _Condition(self))

    def run(self, *scripts: Callable[[], None]) -> None:
        """
        Run scripts as threads, and the threads that they start, until all are done.

        :raises BaseException: the first that any of them has raised
        """
        for script in scripts:
            _Thread(self, target=script).start()
        self._now = -1
        self._hand_over()
        self._over.acquire()
        for thread in self.threads:
            thread.gate.release()
            thread.real.join()
        if self.error is not None:
            raise self.error

    def step(self) -> None:
        """Let another thread go on, if the plan says so."""
        if self._now is not None:
            self.wait(lambda: True)

    def wait(self, ready: Callable[[], bool]) -> None:
        """Let others go on until `ready` and the turn is this thread's again."""
        me = self.threads[self._now]
        if self.error is not None:
            raise _Abandoned
        me.ready = ready
        self._hand_over(me)
        if self.error is not None:
            raise _Abandoned

    def _hand_over(self, me: _Thread | None = None) -> None:
        """Give the turn to a thread that can go on; return when it is this one's again."""
        able = [number for number, thread in enumerate(self.threads) if thread.ready()]
        if not able:
            if not all(thread.done for thread in self.threads):
                self.error = Deadlock('nobody can go on')
            self._over.release()
        else:
            chosen = self._choose(able, self._now) if len(able) > 1 else able[0]
            self._now = chosen
            if self.threads[chosen] is me:
                return
            self.threads[chosen].gate.release()
        if me is not None and not me.done:
            me.gate.acquire()

    def _trace(self, frame, event, _argument):
        if event == 'call' and frame.f_code not in self._codes:
            return None
        frame.f_trace_opcodes = self._opcodes
        if event == ('opcode' if self._opcodes else 'line'):
            self.step()
        return self._trace

    def _body(self, thread: _Thread, target: Callable[[], None]) -> None:
        thread.gate.acquire()
        try:
            if self.error is None:
                sys.settrace(self._trace)
                target()
        except _Abandoned:
            pass
        except BaseException as error:
            self.error = self.error or error
        finally:
            sys.settrace(None)
            thread.done, thread.ready = True, lambda: False
        if self.error is None:
            self._hand_over(thread)
        else:
            self._over.release()


class _Thread:
    def __init__(self, turns: Turns, target: Callable[[], None], **_given):
        self._turns, self.done = turns, False
        self.ready: Callable[[], bool] = lambda: False
        self.gate = threading.Semaphore(0)
        self.real = threading.Thread(target=turns._body, args=(self, target), daemon=True)

    def start(self) -> None:
        self.ready = lambda: True
        self._turns.threads.append(self)
        self.real.start()

    def join(self, _timeout_s: float | None = None) -> None:
        self._turns.wait(lambda: self.done)

    def is_alive(self) -> bool:
        return not self.done


class _Condition:
    """As that of `threading`: it wakes those first that have waited longest."""

    def __init__(self, turns: Turns):
        self._turns, self._held, self._waiting = turns, False, []

    def __enter__(self) -> None:
        self._turns.wait(lambda: not self._held)
        self._held = True

    def __exit__(self, *_error) -> None:
        self._held = False

    def notify(self) -> None:
        assert self._held
        del self._waiting[:1]

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            me = object()
            self._waiting.append(me)
            self._held = False
            self._turns.wait(lambda me=me: me not in self._waiting and not self._held)
            self._held = True


def codes_of(*things: Callable | type) -> frozenset[CodeType]:
    """Return the codes of functions and of all methods of classes."""
    found = set()
    for thing in things:
        for value in (vars(thing).values() if isinstance(thing, type) else [thing]):
            value = getattr(value, 'fget', None) or getattr(value, '__func__', value)
            if isinstance(value, FunctionType):
                found.add(getattr(value, '__wrapped__', value).__code__)
    return frozenset(found)


def exhaustive(preemptions: int) -> Iterator[Callable[[list[int], int], int]]:
    """
    Yield plans for all runs in which threads that could go on are interrupted so often at most.

    The run of a plan must be over before the next one is asked for.
    """
    todo: list[list[int]] = [[]]
    while todo:
        plan, taken, spent = todo.pop(), [], [0]

        def choose(able: list[int], last: int, plan=plan, taken=taken, spent=spent) -> int:
            at = len(taken)
            usual = last if last in able else able[0]
            chosen = plan[at] if at < len(plan) else usual
            if at >= len(plan) and (last not in able or spent[0] < preemptions):
                todo.extend([*taken, other] for other in able if other != usual)
            spent[0] += last in able and chosen != last
            taken.append(chosen)
            return chosen
        yield choose


def at_random(seed: int, share: float = 0.1) -> Callable[[list[int], int], int]:
    """Return a plan that interrupts by chance."""
    rng = random.Random(seed)

    def choose(able: list[int], last: int) -> int:
        if last in able and rng.random() > share:
            return last
        return rng.choice(able)
    return choose
