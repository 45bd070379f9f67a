# SPDX-License-Identifier: GPL-2.0
"""A cluster as kube-proxy sets its nodes up in its IPVS mode."""
