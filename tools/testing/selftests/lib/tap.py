# SPDX-License-Identifier: GPL-2.0
"""The Test Anything Protocol: one line for each promise that a script makes.

A script decorates functions with @test("what is promised") and ends with
main(setup), where setup() is a context manager whose value each function gets.
Leaving it (modules unloaded, namespaces gone) is itself the last promise.
"""

import os
import sys
import time
import traceback

KSFT_SKIP = 4
# How many times longer than with the stock kernel to wait.
TIME_FACTOR = int(os.environ.get("TIME_FACTOR", "1"))

_tests = []


class Skip(Exception):
    """The kernel or the module lacks something that the test requires."""


def module_under_test():
    """'c' for the kernel's own ip_vs, 'rust' for ours."""
    return os.environ.get("MODULE", "c")


def test(promise, modules=("c", "rust")):
    """Register a function that raises where the promise is broken."""
    def register(function):
        _tests.append((promise, modules, function))
        return function
    return register


def test_each(subjects, promise, modules=("c", "rust")):
    """Register a function once for each subject, its second argument. The
    promise begins with the subject's name."""
    def register(function):
        for subject in subjects:
            test(f"{subject}: {promise}", modules)(
                lambda value, subject=subject: function(value, subject))
        return function
    return register


def note(text):
    """A TAP diagnostic."""
    for line in str(text).splitlines():
        print(f"# {line}", flush=True)


def eventually(condition, what, seconds=10):
    """Poll for something that the kernel does in its own time."""
    seconds *= TIME_FACTOR
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def equal(got, want, what="value"):
    """Both values are shown when they differ."""
    if got != want:
        raise AssertionError(f"{what}\n  got  {got!r}\n  want {want!r}")


def _run(number, promise, function, *arguments):
    started = time.monotonic()
    try:
        function(*arguments)
    except Skip as reason:
        print(f"ok {number} - {promise} # SKIP {reason}", flush=True)
        return True
    except AssertionError as error:
        where = traceback.extract_tb(error.__traceback__)[-1 - _depth(error)]
        print(f"not ok {number} - {promise}", flush=True)
        note(f"{os.path.basename(where.filename)}:{where.lineno}: {error}")
        return False
    except Exception:  # pylint: disable=broad-except
        print(f"not ok {number} - {promise}", flush=True)
        note(traceback.format_exc())
        return False
    print(f"ok {number} - {promise}", flush=True)
    if os.environ.get("VERBOSE"):
        note(f"{time.monotonic() - started:.2f} s")
    return True


def _depth(error):
    """Return the number of stack frames of the library above the test's
    failing line."""
    frames = traceback.extract_tb(error.__traceback__)
    library = os.path.dirname(os.path.abspath(__file__))
    depth = 0
    while depth + 1 < len(frames) and os.path.abspath(
            frames[-1 - depth].filename).startswith(library):
        depth += 1
    return depth


def main(setup):
    """Run every registered test on what setup() provides, then exit."""
    tests = [(promise, function) for promise, modules, function in _tests
             if module_under_test() in modules]
    print("TAP version 13", flush=True)
    fixture = setup()
    try:
        value = fixture.__enter__()
    except Skip as reason:
        print(f"1..0 # SKIP {reason}", flush=True)
        sys.exit(KSFT_SKIP)
    print(f"1..{len(tests) + 1}", flush=True)
    passed = True
    for number, (promise, function) in enumerate(tests, 1):
        passed &= _run(number, promise, function, value)
    passed &= _run(len(tests) + 1, "all of it is taken down again",
                   fixture.__exit__, None, None, None)
    sys.exit(0 if passed else 1)
