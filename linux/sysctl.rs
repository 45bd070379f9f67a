// SPDX-License-Identifier: GPL-2.0

//! Settings of a network namespace: files below `/proc/sys/net`.
//!
//! A row of them is a `static` of [`Entry`], which says where in a value each setting is; a
//! [`Table`] is the files of one namespace, for its own value:
//!
//! ```ignore
//! struct Settings { limit: Int }
//!
//! static ENTRIES: [Entry<Settings>; 1] = [Entry::int(c"limit", |settings| &settings.limit)];
//! let files = Table::new(&net, c"net/ipv4/example", settings, &ENTRIES)?;
//! ```
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use crate::{
    atomic::{
        Atomic,
        Relaxed, //
    },
    bindings,
    net::OwnNet, //
};
use core::ptr::NonNull;
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};

/// A number that users may set. It changes at any time, by itself.
#[repr(transparent)]
pub struct Int(Atomic<i32>);

impl Int {
    /// Creates a setting with this value.
    pub const fn new(number: i32) -> Self {
        Self(Atomic::new(number))
    }

    /// Returns the value.
    #[inline]
    pub fn get(&self) -> i32 {
        self.0.load(Relaxed)
    }

    /// Returns whether it is not 0.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.get() != 0
    }

    /// Sets it.
    pub fn set(&self, number: i32) {
        self.0.store(number, Relaxed);
    }
}

/// A large number that users may set: a C `unsigned long`. It changes at any time, by itself.
#[repr(transparent)]
pub struct Ulong(Atomic<usize>);

impl Ulong {
    /// Creates a setting with this value.
    pub const fn new(number: usize) -> Self {
        Self(Atomic::new(number))
    }

    /// Returns the value.
    #[inline]
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Two numbers that users set together. Who reads them while they are set may see one of before and
/// one of after.
#[repr(transparent)]
pub struct Pair([Int; 2]);

impl Pair {
    /// Creates a setting with these values.
    pub const fn new(numbers: [i32; 2]) -> Self {
        let [first, second] = numbers;
        Self([Int::new(first), Int::new(second)])
    }

    /// Returns the values.
    #[inline]
    pub fn get(&self) -> [i32; 2] {
        let Self([first, second]) = self;
        [first.get(), second.get()]
    }

    /// Sets them.
    pub fn set(&self, numbers: [i32; 2]) {
        for (setting, number) in self.0.iter().zip(numbers) {
            setting.set(number);
        }
    }
}

/// One setting of a `T`, and its file.
pub struct Entry<T: 'static> {
    name: &'static CStr,
    kind: Kind<T>,
    is_limit: bool,
    is_private: bool,
}

/// The kind of a setting.
enum Kind<T: 'static> {
    /// A number.
    Int(fn(&T) -> &Int),
    /// A time: a number of ticks, which users see in seconds.
    Ticks(fn(&T) -> &Int),
    /// A number that is checked.
    Checked {
        number: fn(&T) -> &Int,
        set: fn(&T, i32) -> Result,
    },
    /// A number of type `unsigned long`.
    Ulong(fn(&T) -> &Ulong),
    /// Two numbers that are checked.
    Pair {
        numbers: fn(&T) -> &Pair,
        set: fn(&T, [i32; 2]) -> Result,
    },
    /// A line of text.
    Text {
        show: fn(&T, &mut [u8]) -> usize,
        set: fn(&T, &[u8]) -> Result,
    },
}

impl<T> Entry<T> {
    /// Describes a setting that may be any number.
    pub const fn int(name: &'static CStr, number: fn(&T) -> &Int) -> Self {
        Self {
            name,
            kind: Kind::Int(number),
            is_limit: false,
            is_private: false,
        }
    }

    /// Describes a setting that is a time in ticks, which users see and set in seconds.
    ///
    /// C: `proc_dointvec_jiffies()`.
    pub const fn ticks(name: &'static CStr, number: fn(&T) -> &Int) -> Self {
        Self {
            name,
            kind: Kind::Ticks(number),
            is_limit: false,
            is_private: false,
        }
    }

    /// Describes a setting that `set` sets, or refuses with an errno that the user sees. `set` runs
    /// in the process that writes to the file, and may sleep.
    pub const fn checked(
        name: &'static CStr,
        number: fn(&T) -> &Int,
        set: fn(&T, i32) -> Result,
    ) -> Self {
        Self {
            name,
            kind: Kind::Checked { number, set },
            is_limit: false,
            is_private: false,
        }
    }

    /// Describes a setting that may be any number of type `unsigned long`.
    ///
    /// C: `proc_doulongvec_minmax()` without limits.
    pub const fn ulong(name: &'static CStr, number: fn(&T) -> &Ulong) -> Self {
        Self {
            name,
            kind: Kind::Ulong(number),
            is_limit: false,
            is_private: false,
        }
    }

    /// Describes a setting of two numbers that `set` sets, or refuses with an errno that the user
    /// sees. If only one was written, the second is what it was before. `set` runs in the process that
    /// writes to the file, and may sleep.
    pub const fn pair(
        name: &'static CStr,
        numbers: fn(&T) -> &Pair,
        set: fn(&T, [i32; 2]) -> Result,
    ) -> Self {
        Self {
            name,
            kind: Kind::Pair { numbers, set },
            is_limit: false,
            is_private: false,
        }
    }

    /// Describes a setting that is a line of text.
    ///
    /// `show` writes it into a buffer, as far as there is room for it and a NUL, and returns its
    /// length without one. `set` gets all that was written at once, or refuses it with an errno
    /// that the user sees. Both are called by who uses the file, and may sleep.
    pub const fn text(
        name: &'static CStr,
        show: fn(&T, &mut [u8]) -> usize,
        set: fn(&T, &[u8]) -> Result,
    ) -> Self {
        Self {
            name,
            kind: Kind::Text { show, set },
            is_limit: false,
            is_private: false,
        }
    }

    /// Makes the setting read-only in network namespaces that do not belong to the initial user
    /// namespace, since it concerns the whole machine.
    pub const fn for_init_user_ns(self) -> Self {
        Self {
            is_limit: true,
            ..self
        }
    }

    /// Leaves the setting out of such namespaces.
    pub const fn in_init_user_ns_only(self) -> Self {
        Self {
            is_private: true,
            ..self
        }
    }
}

/// The settings' files of one namespace. They are removed when this is dropped, which waits for
/// their users.
///
/// # Invariants
///
/// `header` is registered, for `rows`. Each row points into the value behind `_value`, which stays
/// where it is.
pub struct Table<T: Send + Sync + 'static> {
    header: NonNull<bindings::ctl_table_header>,
    _rows: KVec<bindings::ctl_table>,
    _value: Arc<T>,
    // Last: the namespace outlives its files.
    _net: OwnNet,
}

// SAFETY: What may be done with it from elsewhere is to drop it; the value may be shared.
unsafe impl<T: Send + Sync> Send for Table<T> {}
// SAFETY: There is no operation on a `&Table`.
unsafe impl<T: Send + Sync> Sync for Table<T> {}

impl<T: Send + Sync + 'static> Table<T> {
    /// Makes the files in `/proc/sys/` and `path`, for the settings in `value`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if there are such files.
    pub fn new(
        net: &OwnNet,
        path: &'static CStr,
        value: Arc<T>,
        entries: &'static [Entry<T>],
    ) -> Result<Self> {
        let mut rows = KVec::with_capacity(entries.len(), GFP_KERNEL)?;
        for entry in entries {
            if entry.is_private && !net.is_of_init_user_ns() {
                continue;
            }
            let writable = !entry.is_limit || net.is_of_init_user_ns();
            let int = |number: &fn(&T) -> &Int| data_of(number(&value));
            let ((data, len), handler): (_, Handler) = match &entry.kind {
                Kind::Int(number) => (int(number), bindings::proc_dointvec),
                Kind::Ticks(number) => (int(number), bindings::proc_dointvec_jiffies),
                Kind::Checked { number, .. } => (int(number), checked::<T>),
                Kind::Ulong(number) => (data_of(number(&value)), bindings::proc_doulongvec_minmax),
                Kind::Pair { numbers, .. } => (data_of(numbers(&value)), pair::<T>),
                Kind::Text { .. } => ((core::ptr::null_mut(), 0), text::<T>),
            };
            let mut row = bindings::ctl_table {
                procname: entry.name.as_char_ptr(),
                data,
                maxlen: len as c_int,
                mode: if writable { 0o644 } else { 0o444 },
                proc_handler: Some(handler),
                poll: core::ptr::null_mut(),
                extra1: core::ptr::from_ref(entry).cast_mut().cast(),
                extra2: core::ptr::from_ref(&*value).cast_mut().cast(),
            };
            if let Kind::Ulong(_) = entry.kind {
                // It would take them for limits.
                (row.extra1, row.extra2) = (core::ptr::null_mut(), core::ptr::null_mut());
            }
            rows.push(row, GFP_KERNEL)?;
        }
        // SAFETY: The namespace and the path are valid, and so are the rows, which stay where they
        // are until `drop`: they belong to a vector that does not change. `proc_dointvec` and its
        // like read and write the number with single accesses, as atomics are, and
        // `proc_doulongvec_minmax` gets no limits; the others fit what they get.
        let header = unsafe {
            bindings::register_net_sysctl_sz(
                net.as_ptr(),
                path.as_char_ptr(),
                rows.as_ptr(),
                rows.len(),
            )
        };
        // INVARIANT: Just registered. An `Arc` does not move its value.
        Ok(Self {
            header: NonNull::new(header).ok_or(ENOMEM)?,
            _rows: rows,
            _value: value,
            _net: net.clone(),
        })
    }
}

impl<T: Send + Sync> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. Nobody is in a handler any more afterwards.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// Returns where a setting is, and its length in bytes.
fn data_of<S>(setting: &S) -> (*mut c_void, usize) {
    (
        core::ptr::from_ref(setting).cast_mut().cast(),
        size_of::<S>(),
    )
}

type Handler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

/// Returns the entry of a row, and the value that the setting is in.
///
/// # Safety
///
/// The row must be one that [`Table::<T>::new`] made, and still exist during `'a`.
unsafe fn origin<'a, T>(row: *const bindings::ctl_table) -> (&'a Entry<T>, &'a T) {
    // SAFETY: The row has these from `new`; both are shared only, and live as long as it.
    unsafe {
        (
            &*(*row).extra1.cast::<Entry<T>>(),
            &*(*row).extra2.cast::<T>(),
        )
    }
}

/// Handles reads and writes of a setting that is checked.
///
/// # Safety
///
/// Must only be called by the core, for a row that [`Table::<T>::new`] made, with what it calls
/// handlers with.
unsafe extern "C" fn checked<T: 'static>(
    row: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: By the safety requirement; the row stays until its users are gone.
    let (entry, value) = unsafe { origin::<T>(row) };
    let Kind::Checked { number, set } = &entry.kind else {
        return EINVAL.to_errno();
    };
    let mut number = number(value).get();
    if write == 0 {
        // SAFETY: The core's arguments.
        return unsafe { transfer(row, &mut number, write, buffer, len, pos) };
    }

    // Whether there is a number in what was written shows in a variable that had another one; so it
    // takes a second try only if the number is that other one.
    // SAFETY: The core passes valid pointers.
    let (len_before, pos_before) = unsafe { (*len, *pos) };
    let mut written = None;
    for other in [i32::MIN, 0] {
        number = other;
        // SAFETY: As above. What was written is read, and not changed.
        let done = unsafe {
            *len = len_before;
            *pos = pos_before;
            transfer(row, &mut number, write, buffer, len, pos)
        };
        if done != 0 {
            return done;
        }
        if number != other {
            written = Some(number);
            break;
        }
    }
    match written {
        Some(number) => set(value, number).map_or_else(|e| e.to_errno(), |()| 0),
        None => 0,
    }
}

/// Handles reads and writes of two numbers that are checked.
///
/// # Safety
///
/// As for [`checked`].
unsafe extern "C" fn pair<T: 'static>(
    row: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: By the safety requirement; the row stays until its users are gone.
    let (entry, value) = unsafe { origin::<T>(row) };
    let Kind::Pair { numbers, set } = &entry.kind else {
        return EINVAL.to_errno();
    };
    let mut numbers = numbers(value).get();
    // SAFETY: The core's arguments; the row's length is that of both numbers.
    let done = unsafe { transfer(row, &mut numbers, write, buffer, len, pos) };
    if write == 0 {
        return done;
    }
    // What stands before something that is no number counts.
    set(value, numbers).map_or_else(|e| e.to_errno(), |()| done)
}

/// Handles reads and writes of a setting that is text. All of it is read or written at once; later
/// parts through the same file are the end, or ignored.
///
/// # Safety
///
/// As for [`checked`].
unsafe extern "C" fn text<T: 'static>(
    row: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: By the safety requirement; the row stays until its users are gone.
    let (entry, value) = unsafe { origin::<T>(row) };
    // SAFETY: The core passes valid pointers, for this call alone.
    let (len, pos) = unsafe { (&mut *len, &mut *pos) };
    let Kind::Text { show, set } = &entry.kind else {
        return EINVAL.to_errno();
    };
    if *pos != 0 || *len == 0 {
        *len = 0;
        return 0;
    }
    if write != 0 {
        // SAFETY: What was written is that long.
        let written = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), *len) };
        if let Err(error) = set(value, written) {
            return error.to_errno();
        }
    } else {
        // SAFETY: The core has room for one byte more than it asks for, and has zeroed all.
        let room =
            unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), len.saturating_add(1)) };
        let shown = show(value, room);
        if let Some(end) = room.get_mut(shown) {
            *end = b'\n';
        }
        *len = shown.saturating_add(1).min(*len);
    }
    *pos = pos.saturating_add(*len as bindings::loff_t);
    0
}

/// Reads or writes `numbers` as [`proc_dointvec`](bindings::proc_dointvec) does for the core.
///
/// # Safety
///
/// The other arguments must be those that the core called a handler with. The row's length must be that
/// of `N`, which is one `i32` or several.
unsafe fn transfer<N>(
    row: *const bindings::ctl_table,
    numbers: &mut N,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    let row = bindings::ctl_table {
        data: core::ptr::from_mut(numbers).cast(),
        // SAFETY: By the safety requirement.
        ..unsafe { *row }
    };
    // SAFETY: The row is as that function takes it, and the rest is the core's.
    unsafe { bindings::proc_dointvec(&row, write, buffer, len, pos) }
}
