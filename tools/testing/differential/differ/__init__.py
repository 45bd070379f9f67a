# SPDX-License-Identifier: GPL-2.0
"""The differential tester: what it does, compares and shrinks. It has its
netlink, socket options and namespaces from the selftests."""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)),
                             "..", "..", "selftests"))
