// SPDX-License-Identifier: GPL-2.0

//! Boxes and vectors.

use crate::memory;
use pin_init::PinInit;
use std::{
    alloc::Layout,
    marker::Unsize,
    mem::ManuallyDrop,
    ops::{
        CoerceUnsized,
        Deref,
        DerefMut, //
    },
    pin::Pin,
    ptr::NonNull, //
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

#[derive(Debug)]
pub struct PushError<T>(pub T);

#[derive(Clone, Copy)]
pub struct Flags {
    sleeps: bool,
}

impl Flags {
    pub(crate) fn may_sleep(self) -> bool {
        self.sleeps
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            sleeps: self.sleeps || other.sleeps,
        }
    }
}

pub mod flags {
    use super::Flags;

    pub const GFP_KERNEL: Flags = Flags { sleeps: true };
    pub const GFP_ATOMIC: Flags = Flags { sleeps: false };
    #[allow(non_upper_case_globals)]
    pub const __GFP_NOWARN: Flags = Flags { sleeps: false };
}

/// A box in the memory that [`memory`] keeps account of.
pub struct KBox<T: ?Sized>(NonNull<T>);

// SAFETY: It owns the `T`.
unsafe impl<T: Send + ?Sized> Send for KBox<T> {}
// SAFETY: As above.
unsafe impl<T: Sync + ?Sized> Sync for KBox<T> {}

impl<T: Unsize<U> + ?Sized, U: ?Sized> CoerceUnsized<KBox<U>> for KBox<T> {}

impl<T> KBox<T> {
    #[track_caller]
    fn allocate(flags: Flags) -> Result<NonNull<T>, AllocError> {
        let ptr = memory::allocate(Layout::new::<T>(), flags).ok_or(AllocError)?;
        Ok(ptr.cast())
    }

    #[track_caller]
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        let ptr = Self::allocate(flags)?;
        // SAFETY: Just allocated.
        unsafe { ptr.write(value) };
        Ok(Self(ptr))
    }

    #[track_caller]
    pub fn pin(value: T, flags: Flags) -> Result<Pin<Self>, AllocError> {
        Self::new(value, flags).map(Self::into_pin)
    }

    pub fn into_pin(this: Self) -> Pin<Self> {
        // SAFETY: What it owns stays where it is.
        unsafe { Pin::new_unchecked(this) }
    }

    #[track_caller]
    pub fn try_pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Pin<Self>, E>
    where
        E: From<AllocError>,
    {
        let ptr = Self::allocate(flags)?;
        // SAFETY: Just allocated, and it stays there.
        unsafe {
            if let Err(error) = pin_init::raw_try_init(ptr.as_ptr(), init) {
                memory::free(ptr.as_ptr().cast());
                return Err(error);
            }
            Ok(Pin::new_unchecked(Self(ptr)))
        }
    }

    pub fn leak<'a>(this: Self) -> &'a mut T {
        // SAFETY: Nobody drops it any more.
        unsafe { ManuallyDrop::new(this).0.as_mut() }
    }

    pub fn into_raw(this: Self) -> *mut T {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// # Safety
    ///
    /// As for `Box::from_raw`.
    pub unsafe fn from_raw(ptr: *mut T) -> Self {
        Self(NonNull::new(ptr).unwrap())
    }
}

impl<T: ?Sized> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Owned.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Owned.
        unsafe { self.0.as_mut() }
    }
}

impl<T: ?Sized> Drop for KBox<T> {
    fn drop(&mut self) {
        // SAFETY: Owned, and not used after it.
        unsafe {
            self.0.drop_in_place();
            memory::free(self.0.as_ptr().cast());
        }
    }
}

/// A vector whose allocations can fail.
#[derive(Debug)]
pub struct KernelVec<T>(Vec<T>);

pub type KVec<T> = KernelVec<T>;
pub type KVVec<T> = KernelVec<T>;

impl<T> KernelVec<T> {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    #[track_caller]
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut vec = Self::new();
        vec.reserve(capacity, flags)?;
        Ok(vec)
    }

    #[track_caller]
    pub fn from_elem(value: T, len: usize, flags: Flags) -> Result<Self, AllocError>
    where
        T: Clone,
    {
        let mut vec = Self::with_capacity(len, flags)?;
        vec.0.resize(len, value);
        Ok(vec)
    }

    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    #[track_caller]
    pub fn reserve(&mut self, additional: usize, flags: Flags) -> Result<(), AllocError> {
        let (len, capacity) = (self.0.len(), self.0.capacity());
        if capacity - len >= additional {
            return Ok(());
        }
        if !memory::permits(flags) {
            return Err(AllocError);
        }
        let wanted = len.saturating_add(additional).max(capacity * 2);
        self.0
            .try_reserve_exact(wanted - len)
            .map_err(|_| AllocError)
    }

    #[track_caller]
    pub fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.0.len() == self.0.capacity() {
            return Err(PushError(value));
        }
        self.0.push(value);
        Ok(())
    }

    #[track_caller]
    pub fn extend_from_slice(&mut self, other: &[T], flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        self.reserve(other.len(), flags)?;
        self.0.extend_from_slice(other);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    pub fn retain(&mut self, keeps: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(keeps);
    }
}

impl<T> Default for KernelVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KernelVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KernelVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for KernelVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a KernelVec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
