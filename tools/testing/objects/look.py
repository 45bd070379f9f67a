# SPDX-License-Identifier: GPL-2.0
"""look.py KO

Looks at the code that the compiler made of the module (which has debugging
information), for what must not be in it:

- calls into core::panicking, which are a BUG() if they are ever reached. Those
  that can't be reached, or whose BUG() is meant, are in the file "panics" beside
  this one, with the reason.
- functions that take more of the stack than FRAME bytes. Packets may come on top
  of a deep call chain, and a kernel stack is 16 KiB.

Prints TAP. Runs in the build root, which has binutils.
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))

# Bytes. The kernel itself warns above 2048; the most is what reading a server from netlink takes,
# in process context.
FRAME = 1536

# Whose code this is: "ours" by the file, the kernel's crates as "kernel/...".
PLACES = [(re.compile(r"^/src/(.*)"), r"\1"), (re.compile(r"^/kernel/rust/(.*)"), r"\1")]


def output(*command, given=""):
    """What a program prints."""
    return subprocess.run(command, input=given, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def functions(path):
    """(name, lines of disassembly) of each function."""
    name, lines = None, []
    for line in output("objdump", "-dr", "--no-show-raw-insn",
                       "--demangle=rust", path).splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            if name:
                yield name, lines
            # Crates come with a hash.
            name, lines = re.sub(r"\[[0-9a-f]+\]", "", head[1]), []
        elif line:
            lines.append(line)
    if name:
        yield name, lines


def section_of(path):
    """The sections that have code."""
    heads = output("objdump", "-h", path)
    return re.findall(r"^ *\d+ (\.\S*text\S*) ", heads, re.MULTILINE)


def panics(path):
    """Where code calls into core::panicking: (file, function), outermost
    place that isn't core's own."""
    for section in section_of(path):
        address, calls = None, []
        for line in output("objdump", "-dr", "--no-show-raw-insn", "-j",
                           section, path).splitlines():
            at = re.match(r" *([0-9a-f]+):\t(?!R_)", line)
            if at:
                address = at[1]
            elif "R_X86_64" in line and "9panicking" in line:
                calls.append(address)
        if not calls:
            continue
        said = output("addr2line", "-a", "-i", "-f", "--demangle=rust", "-e",
                      path, "-j", section, given="\n".join(calls) + "\n")
        for block in re.split(r"^0x[0-9a-f]+\n", said, flags=re.MULTILINE)[1:]:
            yield place(block.splitlines())


def place(frames):
    """The innermost frame in the kernel's or our crates."""
    seen = "??"
    for function, where in zip(frames[::2], frames[1::2]):
        where = os.path.normpath(where.partition(":")[0])
        for pattern, short in PLACES:
            if pattern.match(where):
                # Without type parameters, hashes and paths.
                name = re.sub(r"\[[0-9a-f]+\]|<.*?>", "", function)
                return pattern.sub(short, where), name.rpartition("::")[2].strip("<>{}")
        seen = f"{function} {where}"
    return "??", seen


def allowed():
    """What the file "panics" lists: (file, function)."""
    entries = set()
    with open(f"{HERE}/panics", encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                file, function, _reason = line.split(maxsplit=2)
                entries.add((file, function))
    return entries


def frame(lines):
    """How much of the stack a function takes."""
    size = 8
    for line in lines:
        instruction = line.partition("\t")[2]
        reserve = re.match(r"sub +\$0x([0-9a-f]+),%rsp", instruction)
        if reserve:
            size += int(reserve[1], 16)
        elif re.match(r"push +%", instruction):
            size += 8
    return size


def case(number, problems, what):
    """A line of TAP, with its problems."""
    print(f"[objects] {'not ok' if problems else 'ok'} {number} - {what}")
    for problem in problems:
        print("#", problem)
    return not problems


def main():
    """Check the module that the argument names."""
    path, = sys.argv[1:]
    found = set(panics(path))
    listed = allowed()
    sizes = {name: frame(lines) for name, lines in functions(path)}
    largest = max(sizes, key=sizes.get)
    good = [
        # Without these, the two below would pass for want of anything to see.
        case(1, [] if len(sizes) > 100 and sizes[largest] > 100 else
             [f"{len(sizes)} functions"], "the module has code"),
        case(2, [f"{file} {name}: take the panic out, or list it in "
                 "tools/testing/objects/panics with the reason why it can't "
                 "be reached" for file, name in sorted(found - listed)],
             "no panic that isn't listed"),
        case(3, [f"{file} {name}: not there any more"
                 for file, name in sorted(listed - found)],
             "every panic that is listed is there"),
        case(4, [f"{size} bytes: {name}" for name, size in sizes.items()
                 if size > FRAME],
             f"no function takes more than {FRAME} bytes of stack (the most: "
             f"{sizes[largest]}, {largest})"),
    ]
    sys.exit(not all(good))


main()
