// SPDX-License-Identifier: GPL-2.0

//! A pointer in one word that more can be added to later, for objects most of which never need more and
//! have no room for it.

use crate::{
    atomic::{
        Acquire,
        Full,
        InlineAtomic, //
    },
    expiring::{
        Entry,
        EntryRef,
        Expiring,
        RefCounted, //
    },
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::AllocError,
    prelude::*, //
};

/// A smart pointer whose address leaves a bit free.
///
/// # Safety
///
/// [`Self::into_raw`] must return the even address of what the pointer dereferences to. That stays there,
/// and may be read through this address, until the pointer that [`Self::from_raw`] takes back is dropped.
pub unsafe trait Pointer: Deref + Sized
where
    Self::Target: Sized,
{
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
    fn into_raw(self) -> NonNull<Expiring<T>> {
        Self::into_raw(self)
    }

    unsafe fn from_raw(raw: NonNull<Expiring<T>>) -> Self {
        // SAFETY: By the safety requirement.
        unsafe { Self::from_raw(raw) }
    }
}

/// An `A` or none, and an `X` from when it is needed, in one word.
///
/// # Invariants
///
/// `word` is null; or what `into_raw` of an `A` returned; or, with the lowest bit set, the address of a
/// leaked box of [`Extended`]. It changes once at most, from one of the former to the latter, which has
/// the `A` then.
pub struct Extensible<A: Pointer, X>
where
    A::Target: Sized,
{
    word: InlineAtomic<*mut u8>,
    _owns: PhantomData<(A, X)>,
}

/// # Invariants
///
/// `base` is what `into_raw` of an `A` returned, and that of nobody else.
struct Extended<A: Pointer, X>
where
    A::Target: Sized,
{
    base: Option<NonNull<A::Target>>,
    extra: X,
}

impl<A: Pointer, X> Drop for Extended<A, X>
where
    A::Target: Sized,
{
    fn drop(&mut self) {
        if let Some(base) = self.base {
            // SAFETY: By the type invariant, and once.
            drop(unsafe { A::from_raw(base) });
        }
    }
}

// SAFETY: It is an `A` and an `X`.
unsafe impl<A: Pointer + Send, X: Send> Send for Extensible<A, X> where A::Target: Sized {}
// SAFETY: It gives out references to an `X` and to what an `A` points to, and moves the `A`.
unsafe impl<A: Pointer + Send, X: Send + Sync> Sync for Extensible<A, X> where
    A::Target: Sized + Sync
{
}

/// What a word stands for.
enum Word<A: Pointer, X>
where
    A::Target: Sized,
{
    Base(Option<NonNull<A::Target>>),
    Extended(NonNull<Extended<A, X>>),
}

impl<A: Pointer, X> Word<A, X>
where
    A::Target: Sized,
{
    #[inline]
    fn new(word: *mut u8) -> Self {
        if word.addr() & 1 == 0 {
            return Self::Base(NonNull::new(word.cast()));
        }
        // It is the byte after one that is there, so not null.
        match NonNull::new(word.map_addr(|addr| addr & !1)) {
            Some(extended) => Self::Extended(extended.cast()),
            None => Self::Base(None),
        }
    }
}

fn mark<A: Pointer, X>(extended: KBox<Extended<A, X>>) -> *mut u8
where
    A::Target: Sized,
{
    const { assert!(align_of::<Extended<A, X>>() > 1) };
    KBox::into_raw(extended)
        .cast::<u8>()
        .map_addr(|addr| addr | 1)
}

impl<A: Pointer, X> Extensible<A, X>
where
    A::Target: Sized,
{
    fn of_word(word: *mut u8) -> Self {
        Self {
            word: InlineAtomic::new(word),
            _owns: PhantomData,
        }
    }

    /// Holds a pointer or none, and nothing else yet.
    #[inline]
    pub fn new(base: Option<A>) -> Self {
        // INVARIANT: It is an `A`, or null.
        Self::of_word(base.map_or(core::ptr::null_mut(), |base| {
            base.into_raw().as_ptr().cast()
        }))
    }

    /// Holds both from the beginning. Any context.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn extended(base: Option<A>, extra: X) -> Result<Self, AllocError> {
        let mut extended = KBox::new(Extended::<A, X> { base: None, extra }, GFP_ATOMIC)?;
        // INVARIANT: It is an `A`.
        extended.base = base.map(A::into_raw);
        // INVARIANT: The bit is set.
        Ok(Self::of_word(mark(extended)))
    }

    #[inline]
    fn load(&self) -> Word<A, X> {
        Word::new(self.word.load(Acquire))
    }

    /// Returns what the `A` points to.
    #[inline]
    pub fn base(&self) -> Option<&A::Target> {
        match self.load() {
            // SAFETY: By the type invariant it stays valid while `self` exists, in the box too.
            Word::Base(base) => base.map(|base| unsafe { base.as_ref() }),
            Word::Extended(extended) => {
                // SAFETY: By the type invariant.
                let base = unsafe { extended.as_ref() }.base?;
                // SAFETY: By the type invariant of `Extended`.
                Some(unsafe { base.as_ref() })
            }
        }
    }

    /// Returns the `X`, if there is one by now.
    #[inline]
    pub fn extra(&self) -> Option<&X> {
        match self.load() {
            Word::Base(_) => None,
            // SAFETY: By the type invariant; the word does not change any more.
            Word::Extended(extended) => Some(&unsafe { extended.as_ref() }.extra),
        }
    }

    /// Adds `extra` unless there is one, and returns the one that is there. Any context.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn extend(&self, extra: X) -> Result<&X, AllocError> {
        let word = self.word.load(Acquire);
        if let Word::Base(base) = Word::<A, X>::new(word) {
            let mut extended = KBox::new(Extended::<A, X> { base: None, extra }, GFP_ATOMIC)?;
            extended.base = base;
            let marked = mark(extended);
            // INVARIANT: The bit is set, and the box has the `A`, if it takes the word's place, as only one
            // can.
            if self.word.cmpxchg(word, marked, Full).is_err() {
                if let Word::Extended(extended) = Word::<A, X>::new(marked) {
                    // SAFETY: Leaked above, and nobody else has seen it.
                    let mut extended = unsafe { KBox::from_raw(extended.as_ptr()) };
                    // It belongs to the box that was quicker.
                    extended.base = None;
                }
            }
        }
        self.extra().ok_or(AllocError)
    }
}

impl<A: Pointer, X> Drop for Extensible<A, X>
where
    A::Target: Sized,
{
    fn drop(&mut self) {
        match self.load() {
            Word::Base(None) => {}
            // SAFETY: By the type invariant, and once.
            Word::Base(Some(base)) => drop(unsafe { A::from_raw(base) }),
            // SAFETY: As above.
            Word::Extended(extended) => drop(unsafe { KBox::from_raw(extended.as_ptr()) }),
        }
    }
}
