/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions that ip_vs.ko exports to the modules that are built with it. Those are modules of
 * their own with C, too, and use symbols of other modules that ip_vs.ko must not depend on. They
 * contain the C plumbing; what they do is in ip_vs.ko. Not for others: it may change with each
 * build.
 */
#ifndef IP_VS_MODULES_H
#define IP_VS_MODULES_H

#include <linux/types.h>

struct module;
struct sk_buff;
struct xt_action_param;
struct xt_mtchk_param;

/* The size of struct xt_ipvs_mtinfo, which is at least what ip_vs_xt_match() reads. */
#define IP_VS_XT_INFO_LEN 40

/*
 * ip_vs_xt_match - whether a packet matches a rule with -m ipvs
 * @skb: the packet, in a hook of IPv4 or IPv6
 * @par: ->matchinfo has IP_VS_XT_INFO_LEN bytes; ->state is the hook's
 *
 * The function .match of struct xt_match, which x_tables calls in an RCU read-side critical
 * section. Changes neither packet nor parameters.
 */
bool ip_vs_xt_match(const struct sk_buff *skb, struct xt_action_param *par);

/*
 * ip_vs_xt_check - whether a rule with -m ipvs may be added to a table
 * @par: ->net and ->family say which table
 *
 * The function .checkentry of struct xt_match. Returns 0, or -EINVAL, with a line in the log, if
 * the table is of another family than IPv4 and IPv6.
 */
int ip_vs_xt_check(const struct xt_mtchk_param *par);

/* The most ports that an application is registered for. */
#define IP_VS_APP_PORTS 8

/**
 * struct ip_vs_mangler - what ip_vs_ftp.ko brings along
 * @owner: the module, which each connection of the application keeps
 * @mangle: replaces a part of the payload of a TCP packet, with the entry that connection tracking
 *	has for it: @match_len bytes at @match_offset of the payload by @text_len bytes of @text.
 *	@protoff is the offset of the TCP header from the network header. Corrects lengths and
 *	checksums, and has connection tracking adjust sequence numbers from now on. False if there
 *	is no memory or no entry; the packet is as it was then.
 * @ports: the ports to register, in host byte order; 0 is none
 * @ports_count: the number of @ports
 *
 * Must not change while it is registered. The layout is that of Mangler in linux/nf_nat.rs.
 */
struct ip_vs_mangler {
	struct module *owner;
	bool (*mangle)(struct sk_buff *skb, unsigned int protoff, unsigned int match_offset,
		       unsigned int match_len, const char *text, unsigned int text_len);
	unsigned short ports[IP_VS_APP_PORTS];
	unsigned int ports_count;
};

/*
 * ip_vs_ftp_register - begin to handle FTP, in all namespaces
 * @mangler: valid until it is unregistered
 *
 * Connections to the ports that are made from now on are FTP's, if they are NAT. May sleep.
 * Returns 0; -EEXIST if a port is there twice; -EBUSY if FTP is registered already.
 */
int ip_vs_ftp_register(const struct ip_vs_mangler *mangler);

/*
 * ip_vs_ftp_unregister - stop
 *
 * When it returns nothing refers to the mangler any more. Called by the exit function of the owner,
 * so no connection keeps that. May sleep.
 */
void ip_vs_ftp_unregister(const struct ip_vs_mangler *mangler);

#endif
