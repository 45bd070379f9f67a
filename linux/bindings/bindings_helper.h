/* SPDX-License-Identifier: GPL-2.0 */
/* Headers of everything that bindgen_parameters names. */

#include <linux/icmp.h>
#include <linux/inetdevice.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/netfilter/x_tables.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>
#include <net/addrconf.h>
#include <net/genetlink.h>
#include <net/gso.h>
#include <net/icmp.h>
#include <net/inet_dscp.h>
#include <net/ip.h>
#include <net/ip_fib.h>
#include <net/if_inet6.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip6_checksum.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_expect.h>
#include <net/netfilter/nf_conntrack_seqadj.h>
#include <net/netns/generic.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/udp.h>
#include <uapi/linux/ip_vs.h>

/* Of struct net_device, which can't be bound alone: where those fields are that Rust reads. */
const size_t LINUX_NET_DEVICE_FLAGS = offsetof(struct net_device, flags);
const size_t LINUX_NET_DEVICE_FEATURES = offsetof(struct net_device, features);
const size_t LINUX_NET_DEVICE_STATE = offsetof(struct net_device, state);
const size_t LINUX_NET_DEVICE_MTU = offsetof(struct net_device, mtu);
const size_t LINUX_NET_DEVICE_IFINDEX = offsetof(struct net_device, ifindex);
const size_t LINUX_NET_DEVICE_HARD_HEADER_LEN = offsetof(struct net_device, hard_header_len);
const size_t LINUX_NET_DEVICE_NEEDED_HEADROOM = offsetof(struct net_device, needed_headroom);
const u64 LINUX_NETIF_F_SCTP_CRC = NETIF_F_SCTP_CRC;

/* Of IPv4's control block, and of a table of routes. */
const u16 LINUX_IPSKB_MULTIPATH = IPSKB_MULTIPATH;
const size_t LINUX_FIB_TABLE_NUM_DEFAULT = offsetof(struct fib_table, tb_num_default);

/* The same of an IPv6 route and of a device's IPv6 data. */
const size_t LINUX_RT6_INFO_IDEV = offsetof(struct rt6_info, rt6i_idev);
const size_t LINUX_INET6_DEV_DEV = offsetof(struct inet6_dev, dev);

/* The same of an entry of connection tracking. */
const size_t LINUX_NF_CONN_STATUS = offsetof(struct nf_conn, status);
const size_t LINUX_NF_CONNTRACK_EXPECT_EXPECTFN = offsetof(struct nf_conntrack_expect, expectfn);

/* bindgen takes the first definition of HZ, which is that for users. */
const unsigned int LINUX_HZ = HZ;
