"""Waiting for a state, never for a time."""

import time

from tests.conftest import LAST_RESORT_MS

PAUSE_SECONDS = 0.02


def wait_until(look, told, pause=lambda: time.sleep(PAUSE_SECONDS)):
    """What look() returns, once that is neither None nor False. `told` says what is waited for.

    pause() passes the time between two looks. Raises AssertionError when all patience is at an end.
    """
    deadline = time.monotonic() + LAST_RESORT_MS / 1000
    while (found := look()) is None or found is False:
        assert time.monotonic() < deadline, f"it never comes to this: {told}"
        pause()
    return found
