// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use crate::{
    bindings,
    net::Net,
    rcu::ReadLocked, //
};
use core::{
    marker::PhantomData,
    net::Ipv4Addr,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A network device.
#[repr(transparent)]
pub struct Device(Opaque<bindings::net_device>);

impl Device {
    /// Returns the device of this name.
    pub fn by_name<'rcu>(net: &Net, name: &CStr, _rcu: ReadLocked<'rcu>) -> Option<&'rcu Self> {
        // SAFETY: Both are valid. A device is freed after a grace period.
        unsafe {
            let device = bindings::dev_get_by_name_rcu(net.as_ptr(), name.as_char_ptr());
            Self::from_ptr(device)
        }
    }

    /// Wraps a pointer from C, unless it is null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or valid for `'a`.
    #[inline]
    pub(crate) unsafe fn from_ptr<'a>(ptr: *mut bindings::net_device) -> Option<&'a Self> {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { ptr.cast::<Self>().as_ref() }
    }

    /// Returns the pointer for C.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// Reads the field at `offset`.
    ///
    /// # Safety
    ///
    /// A `T` must be there.
    #[inline]
    unsafe fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: By the safety requirement, in a device that `&self` keeps valid. It may change
        // at any time.
        unsafe { ptr::read_volatile(self.as_ptr().byte_add(offset).cast::<T>()) }
    }

    /// Returns whether the device is a loopback device (C: `IFF_LOOPBACK`).
    #[inline]
    pub fn is_loopback(&self) -> bool {
        // SAFETY: The field is an `unsigned int`.
        let flags: u32 = unsafe { self.field(bindings::LINUX_NET_DEVICE_FLAGS) };
        flags & bindings::net_device_flags_IFF_LOOPBACK != 0
    }

    /// Returns whether the device is up.
    #[inline]
    pub fn is_running(&self) -> bool {
        // SAFETY: The field is an `unsigned long`.
        let state: usize = unsafe { self.field(bindings::LINUX_NET_DEVICE_STATE) };
        state & (1 << bindings::netdev_state_t___LINK_STATE_START) != 0
    }

    /// Its number in its namespace.
    pub fn index(&self) -> i32 {
        // SAFETY: The field is an `int`.
        unsafe { self.field(bindings::LINUX_NET_DEVICE_IFINDEX) }
    }

    /// Returns its MTU, in bytes.
    pub fn mtu(&self) -> u32 {
        // SAFETY: The field is an `unsigned int`.
        unsafe { self.field(bindings::LINUX_NET_DEVICE_MTU) }
    }

    /// Returns an IPv4 address of the host for packets that go out by the device, preferably one of the
    /// device's own; 0.0.0.0 if the host has none (C: `inet_select_addr()`).
    pub fn ipv4_addr(&self) -> Ipv4Addr {
        let universe = bindings::rt_scope_t_RT_SCOPE_UNIVERSE as c_int;
        // SAFETY: The device is valid.
        let addr = unsafe { bindings::inet_select_addr(self.as_ptr(), 0, universe) };
        Ipv4Addr::from(addr.to_ne_bytes())
    }

    /// Returns whether it is the device that takes the place of one that has gone in routes (C:
    /// `blackhole_netdev`).
    #[inline]
    pub(crate) fn is_blackhole(&self) -> bool {
        // SAFETY: The pointer is set at boot and constant from then on.
        ptr::eq(self.as_ptr(), unsafe { bindings::blackhole_netdev })
    }

    /// Returns whether the device computes the checksum of SCTP packets that it sends (C:
    /// `NETIF_F_SCTP_CRC`).
    pub fn computes_sctp_crc(&self) -> bool {
        // SAFETY: The field is a `netdev_features_t`, of 64 bits.
        let features: u64 = unsafe { self.field(bindings::LINUX_NET_DEVICE_FEATURES) };
        features & bindings::LINUX_NETIF_F_SCTP_CRC != 0
    }

    /// Returns the length of the device's link header, in bytes.
    #[inline]
    pub fn hard_header_len(&self) -> usize {
        // SAFETY: The field is an `unsigned short`.
        let len: u16 = unsafe { self.field(bindings::LINUX_NET_DEVICE_HARD_HEADER_LEN) };
        usize::from(len)
    }

    /// Returns the number of bytes that the device wants in front of a packet, its link header
    /// included, rounded up (C: `LL_RESERVED_SPACE()`).
    #[inline]
    pub fn reserved_space(&self) -> usize {
        // SAFETY: The field is an `unsigned short`.
        let headroom: u16 = unsafe { self.field(bindings::LINUX_NET_DEVICE_NEEDED_HEADROOM) };
        let len = self.hard_header_len() + usize::from(headroom);
        let unit = bindings::HH_DATA_MOD as usize;
        (len & !(unit - 1)) + unit
    }
}

/// Callbacks for events of devices.
pub trait Handler: 'static {
    /// The device went down or leaves the namespace: whoever keeps a reference to it, or to what
    /// refers to it, gives that back. Called with the RTNL held; may sleep.
    ///
    /// A device that leaves is announced again as long as references to it are left. When the
    /// handler is unregistered, it is told that all devices go.
    fn gone(net: &Net, device: &Device);
}

/// When a handler hears of an event.
#[derive(Clone, Copy)]
enum Turn {
    /// `NETDEV_DOWN`, before IPv6 exchanges the device in routes that it takes away, after which
    /// nothing in such a route tells which device it went out by.
    Down,
    /// `NETDEV_UNREGISTER`, after routes and addresses of the device have been taken away, so
    /// that no new route by it can be found. One that was found before, and is kept, is no longer
    /// current by then, be it that it refers to the device through its FIB entry only.
    Unregister,
}

impl Turn {
    const fn event(self) -> usize {
        let event = match self {
            Self::Down => bindings::netdev_cmd_NETDEV_DOWN,
            Self::Unregister => bindings::netdev_cmd_NETDEV_UNREGISTER,
        };
        event as usize
    }

    /// Returns the priority; the highest is called first. Notifiers that take routes away have
    /// [`ADDRCONF_NOTIFY_PRIORITY`] or up to 10 less.
    ///
    /// [`ADDRCONF_NOTIFY_PRIORITY`]: srctree/include/net/addrconf.h
    const fn priority(self) -> c_int {
        let addrconf = bindings::ADDRCONF_NOTIFY_PRIORITY as c_int;
        match self {
            Self::Down => addrconf + 5,
            Self::Unregister => addrconf - 15,
        }
    }
}

/// A notifier block that is registered.
///
/// # Invariants
///
/// The block is registered, and stays where it is.
struct Block(Pin<KBox<Opaque<bindings::notifier_block>>>);

// SAFETY: The block is the kernel's, behind a lock of its own, and may be unregistered by anybody.
unsafe impl Send for Block {}
// SAFETY: There is nothing to be done with a `&Block`.
unsafe impl Sync for Block {}

impl Block {
    /// Registers a block that calls `H`. May sleep.
    fn new<H: Handler>(turn: Turn) -> Result<Self> {
        let call = match turn {
            Turn::Down => notify::<H, { Turn::Down.event() }>,
            Turn::Unregister => notify::<H, { Turn::Unregister.event() }>,
        };
        let block = KBox::new(
            Opaque::new(bindings::notifier_block {
                notifier_call: Some(call),
                priority: turn.priority(),
                ..Default::default()
            }),
            GFP_KERNEL,
        )?;
        let block = KBox::into_pin(block);
        // SAFETY: The block is initialised, does not move, and is unregistered in `drop`.
        to_result(unsafe { bindings::register_netdevice_notifier(block.get()) })?;
        // INVARIANT: Just registered, and pinned.
        Ok(Self(block))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Whoever runs in `notify` holds the RTNL, which this takes.
        unsafe { bindings::unregister_netdevice_notifier(self.0.get()) };
    }
}

/// A handler that is told about all devices, in all namespaces, while this exists.
pub struct Notifier<H: Handler> {
    _down: Block,
    _unregister: Block,
    _handler: PhantomData<fn() -> H>,
}

impl<H: Handler> Notifier<H> {
    /// Starts to tell `H`. May sleep.
    pub fn new() -> Result<Self> {
        Ok(Self {
            _down: Block::new::<H>(Turn::Down)?,
            _unregister: Block::new::<H>(Turn::Unregister)?,
            _handler: PhantomData,
        })
    }
}

/// # Safety
///
/// Called by the kernel as a netdevice notifier.
unsafe extern "C" fn notify<H: Handler, const EVENT: usize>(
    _block: *mut bindings::notifier_block,
    event: usize,
    info: *mut c_void,
) -> c_int {
    if event == EVENT {
        // SAFETY: The kernel passes a `netdev_notifier_info` of a device that lives for as long as
        // the call, and with it its namespace.
        unsafe {
            let dev = bindings::linux_netdev_of_notifier_info(info);
            if let Some(device) = Device::from_ptr(dev) {
                H::gone(Net::from_raw(bindings::linux_dev_net(dev)), device);
            }
        }
    }
    bindings::NOTIFY_DONE as c_int
}
