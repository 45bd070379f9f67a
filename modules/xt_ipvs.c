// SPDX-License-Identifier: GPL-2.0
/* The match "ipvs" of iptables: its registration. What it does is in ip_vs.ko (xt.rs). */
#include <linux/module.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_ipvs.h>

#include "ip_vs_modules.h"

static_assert(sizeof(struct xt_ipvs_mtinfo) == IP_VS_XT_INFO_LEN);

static struct xt_match ipvs_mt __read_mostly = {
	.name       = "ipvs",
	.family     = NFPROTO_UNSPEC,
	.match      = ip_vs_xt_match,
	.checkentry = ip_vs_xt_check,
	.matchsize  = XT_ALIGN(sizeof(struct xt_ipvs_mtinfo)),
	.me         = THIS_MODULE,
};

static int __init xt_ipvs_init(void)
{
	return xt_register_match(&ipvs_mt);
}

static void __exit xt_ipvs_exit(void)
{
	xt_unregister_match(&ipvs_mt);
}

module_init(xt_ipvs_init);
module_exit(xt_ipvs_exit);

MODULE_DESCRIPTION("Xtables: match packets by their IPVS connection");
MODULE_AUTHOR("The ipvs-rs developers");
MODULE_LICENSE("GPL");
MODULE_ALIAS("ipt_ipvs");
MODULE_ALIAS("ip6t_ipvs");
