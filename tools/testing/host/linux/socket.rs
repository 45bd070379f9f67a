// SPDX-License-Identifier: GPL-2.0

//! UDP sockets. What they send is in [`crate::events`]; a test gives them what they receive.

use crate::{
    events::{
        happened,
        Event, //
    },
    kthread::{
        self,
        Waker, //
    },
    net::{
        lock,
        OwnNet, //
    },
};
use kernel::{
    context,
    prelude::*, //
};
use std::{
    collections::VecDeque,
    net::{
        IpAddr,
        SocketAddr, //
    },
    sync::{
        Arc,
        Mutex, //
    },
};

#[derive(Default)]
struct State {
    bound: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    groups: Vec<IpAddr>,
    received: VecDeque<Vec<u8>>,
    is_shut: bool,
    reader: Option<Waker>,
}

type Shared = Arc<Mutex<State>>;

static SOCKETS: Mutex<Vec<Shared>> = Mutex::new(Vec::new());

pub struct UdpSocket {
    state: Shared,
    is_ipv6: bool,
    _memory: KBox<()>,
    _net: OwnNet,
}

/// Gives a datagram to each socket that is bound to the port and has joined the group. Returns how many
/// there are.
pub fn deliver(group: SocketAddr, datagram: &[u8]) -> usize {
    let sockets = lock(&SOCKETS).clone();
    let mut count = 0;
    for socket in sockets {
        let mut state = lock(&socket);
        let is_bound = state.bound.is_some_and(|addr| addr.port() == group.port());
        if is_bound && state.groups.contains(&group.ip()) {
            state.received.push_back(datagram.to_vec());
            count += 1;
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
    }
    count
}

impl UdpSocket {
    pub fn new(net: &OwnNet, is_ipv6: bool) -> Result<Self> {
        let memory = KBox::new((), GFP_KERNEL)?;
        let state = Shared::default();
        lock(&SOCKETS).push(state.clone());
        Ok(Self {
            state,
            is_ipv6,
            _memory: memory,
            _net: net.clone(),
        })
    }

    pub fn set_send_buffer(&self, _bytes: i32) -> Result {
        Ok(())
    }

    pub fn set_receive_buffer(&self, _bytes: i32) -> Result {
        Ok(())
    }

    pub fn reuse_addr(&self) -> Result {
        Ok(())
    }

    pub fn bind_to_device(&self, _index: i32) -> Result {
        Ok(())
    }

    pub fn multicast_through(&self, _index: i32, _ttl: u8) -> Result {
        Ok(())
    }

    pub fn allow_fragments(&self) -> Result {
        Ok(())
    }

    pub fn join(&self, group: IpAddr, _index: i32) -> Result {
        lock(&self.state).groups.push(group);
        Ok(())
    }

    pub fn bind(&self, addr: &SocketAddr) -> Result {
        assert_eq!(addr.is_ipv6(), self.is_ipv6);
        lock(&self.state).bound = Some(*addr);
        Ok(())
    }

    pub fn connect(&self, addr: &SocketAddr) -> Result {
        assert_eq!(addr.is_ipv6(), self.is_ipv6);
        lock(&self.state).peer = Some(*addr);
        Ok(())
    }

    pub fn send(&self, datagram: &[u8]) -> Result {
        let peer = lock(&self.state).peer.expect("it is connected");
        happened(Event::Datagram(peer, datagram.to_vec()));
        Ok(())
    }

    pub fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        context::might_sleep();
        loop {
            let mut state = lock(&self.state);
            if let Some(datagram) = state.received.pop_front() {
                let len = datagram.len().min(buffer.len());
                buffer[..len].copy_from_slice(&datagram[..len]);
                return Ok(len);
            }
            if state.is_shut {
                return Ok(0);
            }
            state.reader = Some(kthread::current());
            drop(state);
            kthread::block();
        }
    }

    pub fn shut_down(&self) {
        let mut state = lock(&self.state);
        state.is_shut = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        context::might_sleep();
        lock(&SOCKETS).retain(|socket| !Arc::ptr_eq(socket, &self.state));
    }
}
