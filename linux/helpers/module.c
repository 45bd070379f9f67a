// SPDX-License-Identifier: GPL-2.0
/* Module plumbing that only C macros can express. */
#include <linux/module.h>
#include <net/genetlink.h>

#include "../../modules/ip_vs_modules.h"

MODULE_ALIAS_GENL_FAMILY("IPVS");

/* What each stand-in (stand_ins/) refers to, so that it needs this module. Its value is of no use. */
extern const u8 ip_vs_all_in_one;
const u8 ip_vs_all_in_one = 1;
EXPORT_SYMBOL_GPL(ip_vs_all_in_one);

/* For xt_ipvs.ko; xt.rs has them. */
EXPORT_SYMBOL_GPL(ip_vs_xt_match);
EXPORT_SYMBOL_GPL(ip_vs_xt_check);

/* For ip_vs_ftp.ko; app/ftp.rs has them. */
EXPORT_SYMBOL_GPL(ip_vs_ftp_register);
EXPORT_SYMBOL_GPL(ip_vs_ftp_unregister);
