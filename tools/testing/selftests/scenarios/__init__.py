# SPDX-License-Identifier: GPL-2.0
"""Scenarios that take their time, and what comes of them on each module."""
