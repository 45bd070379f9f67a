// SPDX-License-Identifier: GPL-2.0

//! Socket options: a range of them that can be registered; as with [`genetlink`](crate::genetlink),
//! nobody sets or gets one on the host.

use crate::net::{
    self,
    PerNet, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    ModuleMetadata, //
};
use std::{
    ffi::c_int,
    marker::PhantomData,
    ops::Range, //
};

pub trait Handler: Sized + 'static {
    type PerNet: PerNet;

    const SET: Range<c_int>;
    const GET: Range<c_int>;

    fn set(option: c_int, argument: &Argument<'_>, value: Pin<&Self::PerNet>) -> Result;
    fn get(option: c_int, answer: &mut Answer<'_>, value: Pin<&Self::PerNet>) -> Result;
}

pub struct Argument<'a> {
    never: std::convert::Infallible,
    _call: PhantomData<&'a ()>,
}

impl Argument<'_> {
    pub fn read<const N: usize>(&self) -> Result<[u8; N]> {
        match self.never {}
    }
}

pub struct Answer<'a> {
    never: std::convert::Infallible,
    _call: PhantomData<&'a ()>,
}

impl Answer<'_> {
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> c_int {
        match self.never {}
    }

    pub fn read<const N: usize>(&self) -> Result<[u8; N]> {
        match self.never {}
    }

    pub fn write(&mut self, _offset: usize, _bytes: &[u8]) -> Result {
        match self.never {}
    }

    pub fn set_len(&mut self, _len: usize) {
        match self.never {}
    }
}

pub struct Options<T: Handler>(PhantomData<fn(T)>);

impl<T: Handler> Options<T> {
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
