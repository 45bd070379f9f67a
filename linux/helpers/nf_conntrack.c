// SPDX-License-Identifier: GPL-2.0
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_seqadj.h>
#include <net/netfilter/nf_conntrack_zones.h>

__rust_helper struct net *rust_helper_linux_nf_ct_net(const struct nf_conn *ct)
{
	return nf_ct_net(ct);
}

__rust_helper struct nf_conn_seqadj *
rust_helper_linux_nfct_seqadj(const struct nf_conn *ct)
{
	return nfct_seqadj(ct);
}

__rust_helper struct nf_conn_seqadj *
rust_helper_linux_nfct_seqadj_ext_add(struct nf_conn *ct)
{
	return nfct_seqadj_ext_add(ct);
}

__rust_helper const struct nf_conntrack_tuple *
rust_helper_linux_nf_ct_original_tuple(const struct nf_conn *ct)
{
	return nf_ct_tuple(ct, IP_CT_DIR_ORIGINAL);
}

__rust_helper const struct nf_conntrack_tuple *
rust_helper_linux_nf_ct_reply_tuple(const struct nf_conn *ct)
{
	return nf_ct_tuple(ct, IP_CT_DIR_REPLY);
}

__rust_helper void
rust_helper_linux_nf_conntrack_alter_reply(struct nf_conn *ct,
					   const struct nf_conntrack_tuple *reply)
{
	nf_conntrack_alter_reply(ct, reply);
}

__rust_helper int rust_helper_linux_nf_conntrack_confirm(struct sk_buff *skb)
{
	return nf_conntrack_confirm(skb);
}

__rust_helper struct nf_conntrack_tuple_hash *
rust_helper_linux_nf_conntrack_find_get(struct net *net,
					const struct nf_conntrack_tuple *tuple)
{
	return nf_conntrack_find_get(net, &nf_ct_zone_dflt, tuple);
}

__rust_helper struct nf_conn *
rust_helper_linux_nf_ct_tuplehash_to_ctrack(const struct nf_conntrack_tuple_hash *hash)
{
	return nf_ct_tuplehash_to_ctrack(hash);
}

__rust_helper void rust_helper_linux_nf_ct_put(struct nf_conn *ct)
{
	nf_ct_put(ct);
}
