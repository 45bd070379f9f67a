// SPDX-License-Identifier: GPL-2.0

//! One of two pointers in one word: for what is nearly always the one, and seldom the other, in
//! objects that have no room for both.

use crate::expiring::{
    Entry,
    EntryRef,
    Expiring,
    RefCounted, //
};
use core::{
    marker::PhantomData,
    num::NonZero,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// A smart pointer whose address leaves a bit free.
///
/// # Safety
///
/// [`Self::into_raw`] must return an even address, which stays valid, and the same for the same
/// value, until [`Self::from_raw`] takes it back.
pub unsafe trait Pointer: Sized {
    /// What it points to.
    type Target;

    /// Turns the pointer into an address.
    fn into_raw(self) -> NonNull<Self::Target>;

    /// Turns the address back into the pointer.
    ///
    /// # Safety
    ///
    /// The address must be from [`Self::into_raw`], and be turned back once.
    unsafe fn from_raw(raw: NonNull<Self::Target>) -> Self;
}

// SAFETY: A box keeps its place, which is aligned for `T`.
unsafe impl<T> Pointer for KBox<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        const { assert!(align_of::<T>() > 1) };
        NonNull::from(Self::leak(self))
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // SAFETY: By the safety requirement.
        unsafe { Self::from_raw(raw.as_ptr()) }
    }
}

// SAFETY: An entry keeps its place while there are references; it begins with words.
unsafe impl<T: Entry<Holds = RefCounted>> Pointer for EntryRef<T> {
    type Target = Expiring<T>;

    fn into_raw(self) -> NonNull<Expiring<T>> {
        Self::into_raw(self)
    }

    unsafe fn from_raw(raw: NonNull<Expiring<T>>) -> Self {
        // SAFETY: By the safety requirement.
        unsafe { Self::from_raw(raw) }
    }
}

/// A value of one of two types of [`Pointer`], as large as one pointer.
///
/// # Invariants
///
/// `word` is what `into_raw` of an `A` returned, or of a `B` with the lowest bit set besides.
pub struct Either<A: Pointer, B: Pointer> {
    word: NonNull<u8>,
    _owns: PhantomData<(A, B)>,
}

/// What an [`Either`] points to.
pub enum EitherRef<'a, A: Pointer, B: Pointer> {
    /// What the pointer of the first type points to.
    Left(&'a A::Target),
    /// What the pointer of the second type points to.
    Right(&'a B::Target),
}

// SAFETY: It is an `A` or a `B`.
unsafe impl<A: Pointer + Send, B: Pointer + Send> Send for Either<A, B> {}
// SAFETY: It gives out references to what they point to.
unsafe impl<A: Pointer, B: Pointer> Sync for Either<A, B>
where
    A::Target: Sync,
    B::Target: Sync,
{
}

impl<A: Pointer, B: Pointer> Either<A, B> {
    /// Holds a pointer of the first type.
    pub fn left(pointer: A) -> Self {
        // INVARIANT: It is of the first type.
        Self {
            word: pointer.into_raw().cast(),
            _owns: PhantomData,
        }
    }

    /// Holds a pointer of the second type.
    pub fn right(pointer: B) -> Self {
        let set = |addr: NonZero<usize>| addr | 1;
        // INVARIANT: It is of the second type, and the bit is set.
        Self {
            word: pointer.into_raw().cast::<u8>().map_addr(set),
            _owns: PhantomData,
        }
    }

    /// Returns the address, if it is of the first type, or of the second.
    #[inline]
    fn raw(&self) -> Result<NonNull<A::Target>, NonNull<B::Target>> {
        if self.word.addr().get() & 1 == 0 {
            return Ok(self.word.cast());
        }
        // SAFETY: By the type invariant it is the byte after one that is there.
        Err(unsafe { self.word.sub(1) }.cast())
    }

    /// Returns what it points to.
    #[inline]
    pub fn get(&self) -> EitherRef<'_, A, B> {
        match self.raw() {
            // SAFETY: By the type invariant, it stays valid while `self` exists.
            Ok(raw) => EitherRef::Left(unsafe { raw.as_ref() }),
            // SAFETY: As above.
            Err(raw) => EitherRef::Right(unsafe { raw.as_ref() }),
        }
    }
}

impl<A: Pointer, B: Pointer> Drop for Either<A, B> {
    fn drop(&mut self) {
        match self.raw() {
            // SAFETY: By the type invariant, and once.
            Ok(raw) => drop(unsafe { A::from_raw(raw) }),
            // SAFETY: As above.
            Err(raw) => drop(unsafe { B::from_raw(raw) }),
        }
    }
}
