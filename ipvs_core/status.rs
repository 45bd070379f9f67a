// SPDX-License-Identifier: GPL-2.0

//! The text of `/proc/net/ip_vs_status`: the load of the hash tables (C: `ip_vs_status_show()`).

use core::fmt::{
    self,
    Write, //
};

/// The number of chain lengths that are counted: 0 to 7. The last one stands for longer chains,
/// too.
pub const LENGTHS: usize = 8;

/// The load of a hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStatus {
    /// The name of the entries in the file: "Conn" or "Service".
    pub name: &'static str,
    /// The number of entries.
    pub entries: usize,
    /// The number of buckets. If several tables are summed up, the sum of theirs.
    pub buckets: usize,
    /// The binary logarithm of the entries per bucket above which the table grows.
    pub lfactor: i32,
    /// The number of buckets with chains of each length.
    pub lengths: [usize; LENGTHS],
}

impl TableStatus {
    /// Writes the table's lines.
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
