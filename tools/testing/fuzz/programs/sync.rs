// SPDX-License-Identifier: GPL-2.0

#![no_main]

ipvs_fuzz::program!();
