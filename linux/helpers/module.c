// SPDX-License-Identifier: GPL-2.0
/* Module plumbing that only C macros can express. */
#include <linux/module.h>
#include <net/genetlink.h>

MODULE_ALIAS_GENL_FAMILY("IPVS");
