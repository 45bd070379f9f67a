# SPDX-License-Identifier: GPL-2.0
"""Packet streams by chance, and what comes of them on each module."""
