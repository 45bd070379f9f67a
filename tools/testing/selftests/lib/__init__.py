# SPDX-License-Identifier: GPL-2.0
"""The library of the IPVS selftests: packets, namespaces, the laboratory,
TAP."""
