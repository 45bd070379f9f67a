# SPDX-License-Identifier: GPL-2.0
"""check.py COMMANDFILE SOURCE...

Compiles each source twice with the command that the root crate was compiled
with: as it is, which must go well, and with cfg(misuse), which must fail with
just the error that its head names. Runs in the build root, where the module was
built. Prints TAP.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile


def command(path):
    """The compiler's call that a file of Kbuild has, without its products."""
    with open(path, encoding="utf-8") as file:
        line = next(line for line in file if line.startswith("savedcmd_"))
    words = shlex.split(line.partition(":= ")[2].partition(";")[0])
    at = next(i for i, word in enumerate(words) if word.endswith("rustc"))
    # Variables come first.
    env = dict(word.split("=", 1) for word in words[:at])
    # As Kbuild exports it: the kernel uses what its compiler calls unstable.
    env["RUSTC_BOOTSTRAP"] = "1"
    words = [word for word in words[at:]
             if not re.match(r"--emit=|/src/.*\.rs$|\./$|--out-dir$", word)]
    return words, env


def errors(words, env, source, *more):
    """The codes of the errors that a source has, and all that was said."""
    name = re.sub(r"\W", "_", os.path.basename(source).removesuffix(".rs"))
    with tempfile.TemporaryDirectory() as out:
        run = subprocess.run(
            [*words, "--crate-name", name, "--error-format=json",
             "--emit=metadata", "--out-dir", out, *more, source],
            env=os.environ | env, check=False, text=True,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    codes, said = set(), ""
    for line in run.stderr.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            said += line + "\n"
            continue
        said += message["rendered"] or ""
        if message["level"] == "error" and not message["message"].startswith("aborting"):
            codes.add((message["code"] or {}).get("code", "no code"))
    if run.returncode and not codes:
        codes.add("the compiler does not work")
    return codes, said


def main():
    """Both ways, for each."""
    words, env = command(sys.argv[1])
    good = True
    for number, source in enumerate(sys.argv[2:], 1):
        with open(source, encoding="utf-8") as file:
            wanted = {re.search(r"^// error: (\w+)$", file.read(), re.MULTILINE)[1]}
        right, said = errors(words, env, source)
        wrong, said_wrong = errors(words, env, source, "--cfg", "misuse")
        ok = not right and wrong == wanted
        good = good and ok
        name = os.path.basename(source).removesuffix(".rs")
        print(f"[compile_fail] {'ok' if ok else 'not ok'} {number} - {name}", flush=True)
        if not ok:
            print(f"# as it is: {right or 'no error'}; misused: {wrong or 'no error'}, "
                  f"to be {wanted}")
            for line in (said + said_wrong).splitlines():
                print("#", line)
    sys.exit(not good)


main()
