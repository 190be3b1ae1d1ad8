"""Signals that end a program: one way for all commands."""

import signal
import threading

import pytest

from vlmscope.core.base.signals import ENDING, Ending, Stopped, as_ctrl_c, asked, at_once, exit_code

OTHERS = [one for one in ENDING if one != signal.SIGINT]


def send(number: signal.Signals) -> None:
    signal.raise_signal(number)


def handlers() -> list[object]:
    return [signal.getsignal(one) for one in ENDING]


@pytest.mark.parametrize("sent", OTHERS)
def test_every_signal_ends_what_ctrl_c_ends(sent: signal.Signals) -> None:
    before = handlers()
    with as_ctrl_c() as ending:
        with pytest.raises(KeyboardInterrupt) as raised:
            send(sent)
        assert type(raised.value) is Stopped
        # A next one is the system's, but a hang-up, which comes twice.
        assert signal.getsignal(sent) == (signal.SIG_IGN if sent == signal.SIGHUP else before[ENDING.index(sent)])
    assert (ending.number, exit_code(ending.number)) == (sent, 128 + sent)
    assert handlers() == before


def test_a_terminal_that_is_closed_sends_two_and_the_second_does_not_count() -> None:
    with as_ctrl_c() as ending:
        with pytest.raises(Stopped):
            send(signal.SIGHUP)
        send(signal.SIGHUP)
    assert ending.number == signal.SIGHUP


def test_what_runs_asks_and_the_next_signal_is_for_what_is_around() -> None:
    with as_ctrl_c() as around, Ending(Ending.release) as ending:
        assert not ending.is_asked()
        send(signal.SIGTERM)
        assert ending.is_asked()
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
    assert (around.number, ending.number) == (signal.SIGTERM, signal.SIGTERM)


@pytest.mark.parametrize("ignored", OTHERS)
def test_what_is_ignored_stays_so(ignored: signal.Signals) -> None:
    before = signal.signal(ignored, signal.SIG_IGN)
    try:
        with as_ctrl_c() as ending, at_once():
            send(ignored)
            assert ending.number == 0
            assert signal.getsignal(ignored) == signal.SIG_IGN
    finally:
        signal.signal(ignored, before)


def test_torch_waits_and_a_signal_ends_the_process() -> None:
    before = handlers()
    with as_ctrl_c():
        with at_once():
            assert {signal.getsignal(one) for one in OTHERS} == {signal.SIG_DFL}
        assert signal.SIG_DFL not in {signal.getsignal(one) for one in OTHERS}
    assert handlers() == before


def test_other_threads_leave_signals_alone() -> None:
    before = handlers()
    seen: list[object] = []

    def work() -> None:
        with as_ctrl_c():
            seen.extend(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


def test_a_signal_whose_exception_is_lost_is_still_known_while_its_block_runs() -> None:
    with as_ctrl_c():
        assert asked() == 0
        with pytest.raises(Stopped):  # Python would ignore it in a callback of the garbage collector
            send(signal.SIGTERM)
        assert asked() == signal.SIGTERM
    assert asked() == 0
