// SPDX-License-Identifier: GPL-2.0
// error: E0277

//! A section that is bound to its CPU is of one thread.

use linux::percpu::Section;

fn send<T: Send>(_: T) {}

pub fn give_away() {
    let section = Section::enter();
    #[cfg(misuse)]
    send(section);
    #[cfg(not(misuse))]
    {
        drop(section);
        send(0);
    }
}
