// SPDX-License-Identifier: GPL-2.0

//! Generic Netlink: a family that can be registered. Requests of tests go to the module's `control`
//! instead; the selftests and `make fuzz-kernel` send real ones.

use crate::net::{
    self,
    Net,
    PerNet, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    ModuleMetadata, //
};
use std::marker::PhantomData;

pub struct Policy;

impl Policy {
    pub const UNSPEC: Self = Self;
    pub const U32: Self = Self;
    pub const NESTED: Self = Self;
}

pub trait Handler: Sized + 'static {
    type PerNet: PerNet;
    type Position: Zeroable + Copy;

    const NAME: &'static CStr;
    const VERSION: u32;
    const POLICY: &'static [Policy];
    const OPS: &'static [Op<Self>];
    const RESV_START_OP: u8;

    fn request(cmd: u8, request: &Request<'_>, value: Pin<&Self::PerNet>) -> Result;
    fn dump(cmd: u8, request: &Request<'_>, dump: &mut Dump<'_, Self::Position>) -> Result;
}

pub struct Op<T: Handler>(PhantomData<fn(T)>);

impl<T: Handler> Op<T> {
    pub const fn request(_cmd: u8) -> Self {
        Self(PhantomData)
    }

    pub const fn dump(_cmd: u8) -> Self {
        Self(PhantomData)
    }

    pub const fn request_and_dump(_cmd: u8) -> Self {
        Self(PhantomData)
    }
}

pub struct Family<T: Handler>(PhantomData<fn(T)>);

impl<T: Handler> Family<T> {
    pub const fn new<M: ModuleMetadata>() -> Self {
        Self(PhantomData)
    }

    pub fn register(
        &'static self,
        pernet: Arc<net::Registration<T::PerNet>>,
    ) -> Result<Registration<T>> {
        if !kernel::memory::permits(GFP_KERNEL) {
            return Err(ENOMEM);
        }
        Ok(Registration(pernet))
    }
}

pub struct Registration<T: Handler>(
    #[allow(dead_code, reason = "one user more")] Arc<net::Registration<T::PerNet>>,
);

/// A request: there is none on the host, so that nothing of it can be asked.
pub struct Request<'a> {
    never: std::convert::Infallible,
    _request: PhantomData<&'a ()>,
}

impl<'a> Request<'a> {
    pub const ATTRS_OFFSET: usize = 20;

    pub fn net(&self) -> &'a Net {
        match self.never {}
    }

    pub fn attrs(&self) -> &'a [u8] {
        match self.never {}
    }

    pub fn explain(&self, _message: &str) {
        match self.never {}
    }

    pub fn point_at(&self, _offset: usize) {
        match self.never {}
    }

    pub fn point_at_missing(&self, _number: u16, _nest: Option<usize>) {
        match self.never {}
    }

    pub fn reply(&self, _cmd: u8, _fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        match self.never {}
    }
}

pub struct Message<'a> {
    never: std::convert::Infallible,
    _message: PhantomData<&'a mut ()>,
}

impl Message<'_> {
    pub fn put(&mut self, _number: u16, _payload: &[u8]) -> Result {
        match self.never {}
    }

    pub fn nest_start(&mut self, _number: u16) -> Result<usize> {
        match self.never {}
    }

    pub fn nest_end(&mut self, _nest: usize) {
        match self.never {}
    }

    pub fn nest_cancel(&mut self, _nest: usize) {
        match self.never {}
    }
}

pub struct Dump<'a, P: Zeroable + Copy> {
    never: std::convert::Infallible,
    _position: PhantomData<&'a mut P>,
}

impl<P: Zeroable + Copy> Dump<'_, P> {
    pub fn position(&self) -> P {
        match self.never {}
    }

    pub fn set_position(&mut self, _position: P) {
        match self.never {}
    }

    pub fn message(&mut self, _cmd: u8, _fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        match self.never {}
    }
}
