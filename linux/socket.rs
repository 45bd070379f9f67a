// SPDX-License-Identifier: GPL-2.0

//! UDP sockets of the kernel's own.
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

use crate::{
    bindings,
    net::OwnNet, //
};
use core::{
    mem::MaybeUninit,
    net::{
        IpAddr,
        Ipv4Addr,
        SocketAddr, //
    },
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*, //
};

/// A UDP socket of a network namespace, which no process has. Several threads may use it at a time.
///
/// # Invariants
///
/// `socket` is a socket of `_net`, and no other owner releases it.
pub struct UdpSocket {
    socket: NonNull<bindings::socket>,
    is_ipv6: bool,
    // Last: a socket of the kernel does not keep its namespace.
    _net: OwnNet,
}

// SAFETY: The functions that it is given to may be called from any thread.
unsafe impl Send for UdpSocket {}
// SAFETY: As above. They serialise what must be, since processes share sockets among threads in this way.
unsafe impl Sync for UdpSocket {}

impl UdpSocket {
    /// Creates a socket of IPv6, or of IPv4. May sleep.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT` if the kernel lacks the family; `ENOMEM`.
    pub fn new(net: &OwnNet, is_ipv6: bool) -> Result<Self> {
        let family = if is_ipv6 {
            bindings::AF_INET6
        } else {
            bindings::AF_INET
        };
        let mut socket = core::ptr::null_mut();
        // SAFETY: The namespace is valid, and there is room for the result.
        to_result(unsafe {
            bindings::sock_create_kern(
                net.as_ptr(),
                family as c_int,
                bindings::sock_type_SOCK_DGRAM as c_int,
                bindings::IPPROTO_UDP as c_int,
                &mut socket,
            )
        })?;
        // INVARIANT: Just created.
        Ok(Self {
            socket: NonNull::new(socket).ok_or(EINVAL)?,
            is_ipv6,
            _net: net.clone(),
        })
    }

    /// Sets an option. `value` is what a process would pass.
    fn set<T>(&self, level: u32, option: u32, value: T) -> Result {
        let mut value = value;
        let pointer = bindings::sockptr_t {
            __bindgen_anon_1: bindings::sockptr_t__bindgen_ty_1 {
                kernel: core::ptr::from_mut(&mut value).cast(),
            },
            _bitfield_align_1: [],
            _bitfield_1: bindings::sockptr_t::new_bitfield_1(true),
            __bindgen_padding_0: Default::default(),
        };
        let (level, option) = (level as c_int, option as c_int);
        let len = size_of::<T>() as u32;
        // SAFETY: By the type invariant; the value is as long as it is said to be, and is read during
        // the call.
        to_result(unsafe {
            let sk = (*self.socket.as_ptr()).sk;
            match level as u32 {
                bindings::SOL_SOCKET => {
                    bindings::sock_setsockopt(self.socket.as_ptr(), level, option, pointer, len)
                }
                bindings::SOL_IPV6 => bindings::ipv6_setsockopt(sk, level, option, pointer, len),
                _ => bindings::ip_setsockopt(sk, level, option, pointer, len),
            }
        })
    }

    /// Sets the size of the buffer of what is sent, in bytes. It is limited by `net.core.wmem_max`. May
    /// sleep.
    pub fn set_send_buffer(&self, bytes: i32) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_SNDBUF, bytes)
    }

    /// Sets the size of the buffer of what is received, in bytes. It is limited by `net.core.rmem_max`.
    /// May sleep.
    pub fn set_receive_buffer(&self, bytes: i32) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_RCVBUF, bytes)
    }

    /// Lets several sockets have the same address (C: `SO_REUSEADDR`). May sleep.
    pub fn reuse_addr(&self) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_REUSEADDR, 1i32)
    }

    /// Uses the device with this number only (C: `SO_BINDTOIFINDEX`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV`.
    pub fn bind_to_device(&self, index: i32) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_BINDTOIFINDEX, index)
    }

    /// Sends to multicast groups through the device with this number, with this TTL, and not to sockets
    /// of this host (C: `IP_MULTICAST_IF`, `IP_MULTICAST_TTL`, `IP_MULTICAST_LOOP`). May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV`, `EADDRNOTAVAIL`: there is no such device.
    pub fn multicast_through(&self, index: i32, ttl: u8) -> Result {
        let ttl = i32::from(ttl);
        if self.is_ipv6 {
            self.set(bindings::SOL_IPV6, bindings::IPV6_MULTICAST_IF, index)?;
            self.set(bindings::SOL_IPV6, bindings::IPV6_MULTICAST_HOPS, ttl)?;
            self.set(bindings::SOL_IPV6, bindings::IPV6_MULTICAST_LOOP, 0i32)
        } else {
            let device = bindings::ip_mreqn {
                imr_ifindex: index,
                ..Default::default()
            };
            self.set(bindings::SOL_IP, bindings::IP_MULTICAST_IF, device)?;
            self.set(bindings::SOL_IP, bindings::IP_MULTICAST_TTL, ttl)?;
            self.set(bindings::SOL_IP, bindings::IP_MULTICAST_LOOP, 0i32)
        }
    }

    /// Lets datagrams be fragmented, whatever the path's MTU (C: `IP_PMTUDISC_DONT`). May sleep.
    pub fn allow_fragments(&self) -> Result {
        let (level, option) = if self.is_ipv6 {
            (bindings::SOL_IPV6, bindings::IPV6_MTU_DISCOVER)
        } else {
            (bindings::SOL_IP, bindings::IP_MTU_DISCOVER)
        };
        self.set(level, option, bindings::IP_PMTUDISC_DONT as i32)
    }

    /// Joins a multicast group on the device with this number. May sleep; takes the RTNL.
    ///
    /// # Errors
    ///
    /// `ENODEV`; `ENOBUFS` if the namespace allows no more groups.
    pub fn join(&self, group: IpAddr, index: i32) -> Result {
        match group {
            IpAddr::V4(group) => {
                let request = bindings::ip_mreqn {
                    imr_multiaddr: in_addr(group),
                    imr_ifindex: index,
                    ..Default::default()
                };
                self.set(bindings::SOL_IP, bindings::IP_ADD_MEMBERSHIP, request)
            }
            IpAddr::V6(group) => {
                let request = bindings::ipv6_mreq {
                    ipv6mr_multiaddr: in6_addr(group.octets()),
                    ipv6mr_ifindex: index,
                };
                self.set(bindings::SOL_IPV6, bindings::IPV6_ADD_MEMBERSHIP, request)
            }
        }
    }

    /// Binds the socket to an address of its family. May sleep.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`.
    pub fn bind(&self, addr: &SocketAddr) -> Result {
        with_sockaddr(addr, |addr, len| {
            // SAFETY: By the type invariant; the address is that long.
            to_result(unsafe { bindings::kernel_bind(self.socket.as_ptr(), addr, len) })
        })
    }

    /// Sends what is sent from now on to an address of its family. May sleep.
    ///
    /// # Errors
    ///
    /// `ENETUNREACH` and others of routing.
    pub fn connect(&self, addr: &SocketAddr) -> Result {
        with_sockaddr(addr, |addr, len| {
            // SAFETY: By the type invariant; the address is that long.
            to_result(unsafe { bindings::kernel_connect(self.socket.as_ptr(), addr, len, 0) })
        })
    }

    /// Sends a datagram to where it is connected, without waiting for room. Process context.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is no room at present; those of routing and of devices.
    pub fn send(&self, datagram: &[u8]) -> Result {
        let mut vec = bindings::kvec {
            iov_base: datagram.as_ptr().cast_mut().cast(),
            iov_len: datagram.len(),
        };
        let mut header = bindings::msghdr {
            msg_flags: bindings::MSG_DONTWAIT | bindings::MSG_NOSIGNAL,
            ..zeroed_msghdr()
        };
        // SAFETY: By the type invariant; the datagram is only read.
        let sent = unsafe {
            bindings::kernel_sendmsg(
                self.socket.as_ptr(),
                &mut header,
                &mut vec,
                1,
                datagram.len(),
            )
        };
        to_result(sent.min(0))
    }

    /// Waits for a datagram and returns its length, or that of `buffer` for a longer one, of which the
    /// rest is lost. 0 if it is empty, or the socket is shut down. Process context; sleeps.
    ///
    /// # Errors
    ///
    /// An error that the socket was told of.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let mut vec = bindings::kvec {
            iov_base: buffer.as_mut_ptr().cast::<c_void>(),
            iov_len: buffer.len(),
        };
        let mut header = zeroed_msghdr();
        // SAFETY: By the type invariant; the buffer is that long.
        let len = unsafe {
            bindings::kernel_recvmsg(
                self.socket.as_ptr(),
                &mut header,
                &mut vec,
                1,
                buffer.len(),
                0,
            )
        };
        to_result(len.min(0))?;
        Ok(usize::try_from(len).unwrap_or(0).min(buffer.len()))
    }

    /// Wakes whoever waits in [`Self::receive`], and lets nobody wait there any more.
    pub fn shut_down(&self) {
        // SAFETY: By the type invariant. That it is not connected is an error without consequence.
        unsafe {
            bindings::kernel_sock_shutdown(
                self.socket.as_ptr(),
                bindings::sock_shutdown_cmd_SHUT_RDWR,
            )
        };
    }
}

impl Drop for UdpSocket {
    /// Leaves the groups. May sleep; takes the RTNL.
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sock_release(self.socket.as_ptr()) };
    }
}

fn zeroed_msghdr() -> bindings::msghdr {
    // SAFETY: All zeroes are an empty message, as C initialises it.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn in_addr(addr: Ipv4Addr) -> bindings::in_addr {
    bindings::in_addr {
        s_addr: u32::from_ne_bytes(addr.octets()),
    }
}

fn in6_addr(octets: [u8; 16]) -> bindings::in6_addr {
    bindings::in6_addr {
        in6_u: bindings::in6_addr__bindgen_ty_1 { u6_addr8: octets },
    }
}

/// Calls `use_it` with an address as C has it, and its length.
fn with_sockaddr<R>(
    addr: &SocketAddr,
    use_it: impl FnOnce(*mut bindings::sockaddr_unsized, c_int) -> R,
) -> R {
    match addr {
        SocketAddr::V4(addr) => {
            let mut raw = bindings::sockaddr_in {
                sin_family: bindings::AF_INET as u16,
                sin_port: addr.port().to_be(),
                sin_addr: in_addr(*addr.ip()),
                ..Default::default()
            };
            let len = size_of_val(&raw) as c_int;
            use_it(core::ptr::from_mut(&mut raw).cast(), len)
        }
        SocketAddr::V6(addr) => {
            let mut raw = bindings::sockaddr_in6 {
                sin6_family: bindings::AF_INET6 as u16,
                sin6_port: addr.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: in6_addr(addr.ip().octets()),
                sin6_scope_id: addr.scope_id(),
            };
            let len = size_of_val(&raw) as c_int;
            use_it(core::ptr::from_mut(&mut raw).cast(), len)
        }
    }
}
