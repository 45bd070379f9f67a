// SPDX-License-Identifier: GPL-2.0
/* FTP: its ports, and the functions of nf_nat. What it does is in ip_vs.ko (app/ftp.rs). */
#include <linux/module.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_nat_helper.h>

#include "ip_vs_modules.h"

static bool ftp_mangle(struct sk_buff *skb, unsigned int protoff, unsigned int match_offset,
		       unsigned int match_len, const char *text, unsigned int text_len)
{
	enum ip_conntrack_info ctinfo;
	struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	return ct && nf_nat_mangle_tcp_packet(skb, ct, ctinfo, protoff, match_offset, match_len,
					      text, text_len);
}

static struct ip_vs_mangler ftp = {
	.owner       = THIS_MODULE,
	.mangle      = ftp_mangle,
	.ports       = { 21 },
	.ports_count = 1,
};

module_param_array_named(ports, ftp.ports, ushort, &ftp.ports_count, 0444);
MODULE_PARM_DESC(ports, "Ports of FTP's control connections (21)");

static int __init ip_vs_ftp_init(void)
{
	return ip_vs_ftp_register(&ftp);
}

static void __exit ip_vs_ftp_exit(void)
{
	ip_vs_ftp_unregister(&ftp);
}

module_init(ip_vs_ftp_init);
module_exit(ip_vs_ftp_exit);

MODULE_DESCRIPTION("IPVS: FTP");
MODULE_AUTHOR("The ipvs-rs developers");
MODULE_LICENSE("GPL");
