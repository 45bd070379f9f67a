// SPDX-License-Identifier: GPL-2.0
/* Module plumbing that only C macros can express. */
#include <linux/module.h>
#include <net/genetlink.h>

MODULE_ALIAS_GENL_FAMILY("IPVS");

/* Schedulers are built in: whoever loads one by name gets this module. */
MODULE_ALIAS("ip_vs_rr");
MODULE_ALIAS("ip_vs_wrr");
MODULE_ALIAS("ip_vs_lc");
MODULE_ALIAS("ip_vs_wlc");
