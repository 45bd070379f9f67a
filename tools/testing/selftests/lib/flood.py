# SPDX-License-Identifier: GPL-2.0
"""Traffic that does not stop while something else is done to the module."""

import os
import signal
from contextlib import contextmanager

from .wire import tap


def _send_for_ever(host, frames, cpu):
    os.sched_setaffinity(0, {cpu})
    os.nice(5)
    sock = tap(host.ns, "eth0")
    sock.bind(("eth0", 0))          # sends, and sees nothing
    while True:
        for frame in frames:
            try:
                sock.send(frame)
            except OSError:         # a full queue, a device that is gone
                pass


@contextmanager
def flood(*sources):
    """One process for each (host, packets), on one CPU after the other,
    sends the packets again and again until the end of the `with`."""
    children = []
    for number, (host, packets) in enumerate(sources):
        frames = [host.frame(packet) for packet in packets]
        child = os.fork()
        if not child:
            try:
                _send_for_ever(host, frames, number % os.cpu_count())
            finally:
                os._exit(1)
        children.append(child)
    try:
        yield
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        died = [os.waitpid(child, 0)[1] for child in children]
    if any(status != signal.SIGKILL for status in died):
        raise AssertionError(f"a flood ended by itself: {died}")
