// SPDX-License-Identifier: GPL-2.0

//! Constants of the generic netlink family, from `include/uapi/linux/ip_vs.h`. Numbers in
//! attributes are in host byte order unless said otherwise.

/// The version of the family.
pub const FAMILY_VERSION: u8 = 1;
/// The version of IPVS, 1.2.1 (C: `IP_VS_VERSION_CODE`).
pub const VERSION_CODE: u32 = 0x01_02_01;

/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// Adds a service.
pub const IPVS_CMD_NEW_SERVICE: u8 = 1;
/// Edits a service.
pub const IPVS_CMD_SET_SERVICE: u8 = 2;
/// Deletes a service.
pub const IPVS_CMD_DEL_SERVICE: u8 = 3;
/// Gets one service or all.
pub const IPVS_CMD_GET_SERVICE: u8 = 4;
/// Adds a server.
pub const IPVS_CMD_NEW_DEST: u8 = 5;
/// Edits a server.
pub const IPVS_CMD_SET_DEST: u8 = 6;
/// Deletes a server.
pub const IPVS_CMD_DEL_DEST: u8 = 7;
/// Gets a service's servers.
pub const IPVS_CMD_GET_DEST: u8 = 8;
/// Starts a sync daemon.
pub const IPVS_CMD_NEW_DAEMON: u8 = 9;
/// Stops a sync daemon.
pub const IPVS_CMD_DEL_DAEMON: u8 = 10;
/// Gets the sync daemons.
pub const IPVS_CMD_GET_DAEMON: u8 = 11;
/// Sets timeouts.
pub const IPVS_CMD_SET_CONFIG: u8 = 12;
/// Gets timeouts.
pub const IPVS_CMD_GET_CONFIG: u8 = 13;
/// The command of answers to [`IPVS_CMD_GET_INFO`].
pub const IPVS_CMD_SET_INFO: u8 = 14;
/// Gets the version and the size of the connection table.
pub const IPVS_CMD_GET_INFO: u8 = 15;
/// Zeroes the counters of one service or all.
pub const IPVS_CMD_ZERO: u8 = 16;
/// Deletes all services.
pub const IPVS_CMD_FLUSH: u8 = 17;

/// A service, nested.
pub const IPVS_CMD_ATTR_SERVICE: u16 = 1;
/// A server, nested.
pub const IPVS_CMD_ATTR_DEST: u16 = 2;
/// A sync daemon, nested.
pub const IPVS_CMD_ATTR_DAEMON: u16 = 3;
/// Timeout of established TCP connections, in seconds.
pub const IPVS_CMD_ATTR_TIMEOUT_TCP: u16 = 4;
/// Timeout of TCP connections after a FIN, in seconds.
pub const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: u16 = 5;
/// Timeout of UDP connections, in seconds.
pub const IPVS_CMD_ATTR_TIMEOUT_UDP: u16 = 6;

/// Address family, u16.
pub const IPVS_SVC_ATTR_AF: u16 = 1;
/// Transport protocol, u16.
pub const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
/// Virtual address, 16 bytes.
pub const IPVS_SVC_ATTR_ADDR: u16 = 3;
/// Virtual port, big endian.
pub const IPVS_SVC_ATTR_PORT: u16 = 4;
/// Firewall mark, u32.
pub const IPVS_SVC_ATTR_FWMARK: u16 = 5;
/// Scheduler, string.
pub const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
/// Flags and their mask, two u32.
pub const IPVS_SVC_ATTR_FLAGS: u16 = 7;
/// Persistence in seconds, u32.
pub const IPVS_SVC_ATTR_TIMEOUT: u16 = 8;
/// Persistence netmask, big endian (IPv6: prefix length).
pub const IPVS_SVC_ATTR_NETMASK: u16 = 9;
/// Statistics in 32 bits, nested.
pub const IPVS_SVC_ATTR_STATS: u16 = 10;
/// Persistence engine, string.
pub const IPVS_SVC_ATTR_PE_NAME: u16 = 11;
/// Statistics in 64 bits, nested.
pub const IPVS_SVC_ATTR_STATS64: u16 = 12;

/// Server's address, 16 bytes.
pub const IPVS_DEST_ATTR_ADDR: u16 = 1;
/// Server's port, big endian.
pub const IPVS_DEST_ATTR_PORT: u16 = 2;
/// Forwarding method, u32.
pub const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
/// Weight, u32.
pub const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
/// Upper threshold, u32.
pub const IPVS_DEST_ATTR_U_THRESH: u16 = 5;
/// Lower threshold, u32.
pub const IPVS_DEST_ATTR_L_THRESH: u16 = 6;
/// Active connections, u32.
pub const IPVS_DEST_ATTR_ACTIVE_CONNS: u16 = 7;
/// Inactive connections, u32.
pub const IPVS_DEST_ATTR_INACT_CONNS: u16 = 8;
/// Persistence templates, u32.
pub const IPVS_DEST_ATTR_PERSIST_CONNS: u16 = 9;
/// Statistics in 32 bits, nested.
pub const IPVS_DEST_ATTR_STATS: u16 = 10;
/// Server's address family, u16.
pub const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;
/// Statistics in 64 bits, nested.
pub const IPVS_DEST_ATTR_STATS64: u16 = 12;
/// Tunnel type, u8.
pub const IPVS_DEST_ATTR_TUN_TYPE: u16 = 13;
/// Tunnel port, big endian.
pub const IPVS_DEST_ATTR_TUN_PORT: u16 = 14;
/// Tunnel flags, u16.
pub const IPVS_DEST_ATTR_TUN_FLAGS: u16 = 15;

/// Role, u32.
pub const IPVS_DAEMON_ATTR_STATE: u16 = 1;
/// Multicast interface, string.
pub const IPVS_DAEMON_ATTR_MCAST_IFN: u16 = 2;
/// Sync id, u32.
pub const IPVS_DAEMON_ATTR_SYNC_ID: u16 = 3;
/// Longest UDP payload, u16.
pub const IPVS_DAEMON_ATTR_SYNC_MAXLEN: u16 = 4;
/// IPv4 multicast group, big endian.
pub const IPVS_DAEMON_ATTR_MCAST_GROUP: u16 = 5;
/// IPv6 multicast group, 16 bytes.
pub const IPVS_DAEMON_ATTR_MCAST_GROUP6: u16 = 6;
/// UDP port, u16 in host byte order.
pub const IPVS_DAEMON_ATTR_MCAST_PORT: u16 = 7;
/// Multicast TTL, u8.
pub const IPVS_DAEMON_ATTR_MCAST_TTL: u16 = 8;

/// Connections.
pub const IPVS_STATS_ATTR_CONNS: u16 = 1;
/// Packets to servers.
pub const IPVS_STATS_ATTR_INPKTS: u16 = 2;
/// Packets from servers.
pub const IPVS_STATS_ATTR_OUTPKTS: u16 = 3;
/// Bytes to servers.
pub const IPVS_STATS_ATTR_INBYTES: u16 = 4;
/// Bytes from servers.
pub const IPVS_STATS_ATTR_OUTBYTES: u16 = 5;
/// Connections per second.
pub const IPVS_STATS_ATTR_CPS: u16 = 6;
/// Packets to servers per second.
pub const IPVS_STATS_ATTR_INPPS: u16 = 7;
/// Packets from servers per second.
pub const IPVS_STATS_ATTR_OUTPPS: u16 = 8;
/// Bytes to servers per second.
pub const IPVS_STATS_ATTR_INBPS: u16 = 9;
/// Bytes from servers per second.
pub const IPVS_STATS_ATTR_OUTBPS: u16 = 10;
/// Padding before 64-bit numbers, where the machine needs it (x86 doesn't).
pub const IPVS_STATS_ATTR_PAD: u16 = 11;

/// Version, u32.
pub const IPVS_INFO_ATTR_VERSION: u16 = 1;
/// Buckets of the connection table, u32.
pub const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

/// The number of attribute types in requests, including type 0.
pub const ATTRS_COMMAND: usize = 7;
/// The number of attribute types in a service, including type 0.
pub const ATTRS_SERVICE: usize = 13;
/// The number of attribute types in a server, including type 0.
pub const ATTRS_DEST: usize = 16;
/// The number of attribute types in a sync daemon, including type 0.
pub const ATTRS_DAEMON: usize = 9;

/// Forwards by network address translation (C: `IP_VS_CONN_F_MASQ`).
pub const FWD_MASQ: u32 = 0;
/// Delivers locally: the server is this machine (C: `IP_VS_CONN_F_LOCALNODE`).
pub const FWD_LOCALNODE: u32 = 1;
/// Forwards through a tunnel (C: `IP_VS_CONN_F_TUNNEL`).
pub const FWD_TUNNEL: u32 = 2;
/// Forwards by direct routing (C: `IP_VS_CONN_F_DROUTE`).
pub const FWD_DROUTE: u32 = 3;
/// Forwards to the original destination (C: `IP_VS_CONN_F_BYPASS`).
pub const FWD_BYPASS: u32 = 4;
/// A sync daemon has made the connection (C: `IP_VS_CONN_F_SYNC`).
pub const CONN_F_SYNC: u32 = 0x20;
/// The connection is in the table and packets find it (C: `IP_VS_CONN_F_HASHED`).
pub const CONN_F_HASHED: u32 = 0x40;
/// Answers don't pass the director (C: `IP_VS_CONN_F_NOOUTPUT`).
pub const CONN_F_NOOUTPUT: u32 = 0x80;
/// The connection does not count as active (C: `IP_VS_CONN_F_INACTIVE`).
pub const CONN_F_INACTIVE: u32 = 0x100;
/// The sequence numbers of answers are changed (C: `IP_VS_CONN_F_OUT_SEQ`).
pub const CONN_F_OUT_SEQ: u32 = 0x200;
/// The sequence numbers of the client's packets are changed (C: `IP_VS_CONN_F_IN_SEQ`).
pub const CONN_F_IN_SEQ: u32 = 0x400;
/// The client's port is not known yet: its first packet says it (C: `IP_VS_CONN_F_NO_CPORT`).
pub const CONN_F_NO_CPORT: u32 = 0x800;
/// It is a persistence template, not a connection (C: `IP_VS_CONN_F_TEMPLATE`).
pub const CONN_F_TEMPLATE: u32 = 0x1000;
/// Each datagram to the server is a connection of its own (C: `IP_VS_CONN_F_ONE_PACKET`).
pub const CONN_F_ONE_PACKET: u32 = 0x2000;
/// Connection tracking keeps an entry for the connection (C: `IP_VS_CONN_F_NFCT`).
pub const CONN_F_NFCT: u32 = 1 << 16;
/// Mask of the forwarding method (C: `IP_VS_CONN_F_FWD_MASK`).
pub const FWD_MASK: u32 = 7;

/// The service is persistent.
pub const IP_VS_SVC_F_PERSISTENT: u32 = 0x1;
/// Internal to the C module; never set here.
pub const IP_VS_SVC_F_HASHED: u32 = 0x2;
/// One-packet scheduling: each datagram is scheduled by itself.
pub const IP_VS_SVC_F_ONEPACKET: u32 = 0x4;
/// The scheduler's first flag: `sh-fallback`, `mh-fallback`.
pub const IP_VS_SVC_F_SCHED1: u32 = 0x8;
/// The scheduler's second flag: `sh-port`, `mh-port`.
pub const IP_VS_SVC_F_SCHED2: u32 = 0x10;

/// IPIP tunnel.
pub const TUNNEL_IPIP: u8 = 0;
/// GUE tunnel, which needs a port.
pub const TUNNEL_GUE: u8 = 1;
/// GRE tunnel.
pub const TUNNEL_GRE: u8 = 2;

/// The maximum length of a scheduler's name in bytes, without the NUL.
pub const SCHED_NAME_LEN: usize = 15;
/// The maximum length of a persistence engine's name in requests in bytes, without the NUL.
pub const PE_NAME_LEN: usize = 16;
/// The maximum length of an interface's name in bytes, without the NUL.
pub const IF_NAME_LEN: usize = 15;
