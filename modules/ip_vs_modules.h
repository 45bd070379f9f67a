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

#endif
