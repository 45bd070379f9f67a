# SPDX-License-Identifier: GPL-2.0
"""All runs on one module: each scheduler in a namespace of its own, one at a
time on each CPU."""

import os
import pickle
import tempfile
import traceback
from typing import NamedTuple

from lib import module
from lib.tap import note

from .changes import END
from .world import World


class Outcome(NamedTuple):
    """What came of a run."""
    records: bytes          # of frames that came out
    servers: list           # (number, active, inactive) in the end


def run(world, mark, plan, arrivals):
    """Let connections come to a service, with these changes."""
    world.begin(mark)
    frames, done = arrivals.to_port(mark), 0
    for change in plan.changes:
        upto = arrivals.ends.first if change.actions == END \
            else arrivals.starts[change.number]
        world.send(frames, done, upto)
        world.settle()
        done = upto
        if change.actions == END:
            world.end(frames, arrivals.ends)
            done = arrivals.ends.last
            continue
        for action in change.actions:
            world.do(*action)
    world.send(frames, done, arrivals.starts[-1])
    world.settle()
    return Outcome(bytes(world.records), world.connections())


def outcomes(plans, arrivals):
    """Of the runs of one scheduler."""
    world = World()
    try:
        return [run(world, mark, plan, arrivals)
                for mark, plan in enumerate(plans, 1)]
    finally:
        world.close()


def work(jobs, queue, directory):
    """Do one job after the other, as long as there are any."""
    while True:
        number = os.read(queue, 1)
        if not number:
            return
        done = outcomes(*jobs[number[0]])
        with open(f"{directory}/{number[0]}", "wb") as file:
            pickle.dump(done, file)


def child(cpu, *arguments):
    """A process on that CPU that works; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.sched_setaffinity(0, {cpu})
        work(*arguments)
        os._exit(0)
    except BaseException:       # pylint: disable=broad-except
        note(traceback.format_exc())
    os._exit(1)


def on(which, jobs):
    """The outcomes of each job, (plans, arrivals), on a module."""
    os.environ["MODULE"] = which
    module.load("conn_tab_bits=18")
    try:
        with tempfile.TemporaryDirectory() as directory:
            queue, end = os.pipe()
            os.write(end, bytes(range(len(jobs))))
            os.close(end)
            children = [child(cpu, jobs, queue, directory)
                        for cpu in range(os.cpu_count())]
            failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
            os.close(queue)
            assert not failed, f"a run on {which} failed, see above"
            found = []
            for number in range(len(jobs)):
                with open(f"{directory}/{number}", "rb") as file:
                    found.append(pickle.load(file))
            return found
    finally:
        module.unload()
