# SPDX-License-Identifier: GPL-2.0
"""The files of net.ipv4.vs in one namespace."""

import os
from contextlib import contextmanager, nullcontext

from .genl import error_name

PATH = "/proc/sys/net/ipv4/vs"


class Settings:
    """Each setting by its name."""

    def __init__(self, namespace=nullcontext()):
        self.namespace = namespace

    def text(self, name):
        """Return the content of the file."""
        with self.namespace, open(f"{PATH}/{name}", encoding="ascii") as file:
            return file.read()

    def __getitem__(self, name):
        return int(self.text(name))

    def __setitem__(self, name, value):
        error = self.write(name, value)
        if error:
            raise AssertionError(f"{name}={value}: {error}")

    def write(self, name, text):
        """The errno's name, or nothing."""
        with self.namespace:
            try:
                handle = os.open(f"{PATH}/{name}", os.O_WRONLY)
            except OSError as error:
                return error_name(error.errno)
            try:
                os.write(handle, str(text).encode())
            except OSError as error:
                return error_name(error.errno)
            finally:
                os.close(handle)
        return ""

    def names(self):
        """The names of the files."""
        with self.namespace:
            return set(os.listdir(PATH))

    def mode(self, name):
        """Return the mode of a file."""
        with self.namespace:
            return os.stat(f"{PATH}/{name}").st_mode & 0o7777

    @contextmanager
    def but(self, **values):
        """Other values while this lasts."""
        before = {name: self[name] for name in values}
        for name, value in values.items():
            self[name] = value
        try:
            yield
        finally:
            for name, value in before.items():
                self[name] = value
