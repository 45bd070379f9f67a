# SPDX-License-Identifier: GPL-2.0
"""What the IPVS selftests share: packets, namespaces, the laboratory, TAP."""
