// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_status`: how full the tables are, for administrators who wonder about them.
//!
//! Stands for `ip_vs_status_show()`.

use core::fmt::{
    self,
    Write, //
};

/// The most links of a chain that are told apart, and one for none. The last stands for more, too.
pub const LENGTHS: usize = 8;

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// What is in it, as it is called in the file: "Conn" or "Service".
    pub name: &'static str,
    /// How much of that there is.
    pub entries: usize,
    /// How many buckets there are; of several tables, all of theirs.
    pub buckets: usize,
    /// The binary logarithm of the load above which it grows.
    pub lfactor: i32,
    /// How many buckets have chains of each length.
    pub lengths: [usize; LENGTHS],
}

impl TableStatus {
    /// Writes its lines.
    pub fn write(&self, out: &mut impl Write) -> fmt::Result {
        let name = self.name;
        let bits = self.buckets.checked_ilog2().unwrap_or(0);
        writeln!(out, "{name}s:\t{}", self.entries)?;
        writeln!(
            out,
            "{name} buckets:\t{} ({bits} bits, lfactor {})",
            self.buckets, self.lfactor
        )?;
        if self.entries == 0 {
            return Ok(());
        }
        let [empty, used @ ..] = &self.lengths;
        let filled = used.iter().fold(0usize, |sum, n| sum.saturating_add(*n));
        writeln!(
            out,
            "{name} buckets empty:\t{empty} ({}%)",
            percent(*empty, filled.saturating_add(*empty))
        )?;
        for (length, &count) in (1..).zip(used) {
            if count != 0 {
                writeln!(
                    out,
                    "{name} buckets len-{length}:\t{count} ({}%)",
                    percent(count, filled)
                )?;
            }
        }
        Ok(())
    }
}

fn percent(part: usize, whole: usize) -> usize {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: TableStatus) -> String {
        let mut text = String::new();
        status.write(&mut text).unwrap();
        text
    }

    #[test]
    fn an_empty_table_has_no_histogram() {
        let status = TableStatus {
            name: "Conn",
            entries: 0,
            buckets: 256,
            lfactor: 0,
            lengths: [256, 0, 0, 0, 0, 0, 0, 0],
        };
        assert_eq!(
            text(status),
            "Conns:\t0\nConn buckets:\t256 (8 bits, lfactor 0)\n"
        );
    }

    #[test]
    fn shares_are_of_all_buckets_and_of_the_used_ones() {
        let status = TableStatus {
            name: "Service",
            entries: 9,
            buckets: 16,
            lfactor: -3,
            lengths: [8, 6, 0, 1, 0, 0, 0, 1],
        };
        assert_eq!(
            text(status),
            "Services:\t9\nService buckets:\t16 (4 bits, lfactor -3)\n\
             Service buckets empty:\t8 (50%)\n\
             Service buckets len-1:\t6 (75%)\n\
             Service buckets len-3:\t1 (12%)\n\
             Service buckets len-7:\t1 (12%)\n"
        );
    }
}
