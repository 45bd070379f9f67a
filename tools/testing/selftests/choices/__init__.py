# SPDX-License-Identifier: GPL-2.0
"""What choices_differential.py is made of."""
