//! The merge that shows whether a row is in two files, and whether a record's rows are all there. Pure.

use std::{cmp::Reverse, collections::BinaryHeap};

/// The rows of a file, ascending: their offsets, and which of its record's rows each is, if the file says so.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) offsets: Vec<i64>,
    /// As many, or none at all.
    pub(super) rows: Vec<i32>,
}

/// What the files of a claim hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Different offsets.
    pub(super) records: u64,
    /// How many rows are met again, and the first offset of one.
    pub(super) doubled: Option<(u64, i64)>,
    /// The first offset whose rows are not numbered from 0 on.
    pub(super) misnumbered: Option<i64>,
}

impl Places {
    fn get(&self, at: usize) -> Option<(i64, i32)> {
        Some((*self.offsets.get(at)?, self.rows.get(at).copied().unwrap_or(0)))
    }
}

pub(super) fn merge(files: &[Places]) -> Merged {
    let first = |(file, places): (usize, &Places)| Some(Reverse((places.get(0)?, file, 0)));
    let mut heads: BinaryHeap<_> = files.iter().enumerate().filter_map(first).collect();
    let (mut merged, mut last) = (Merged::default(), None);
    while let Some(Reverse((place, file, at))) = heads.pop() {
        merged.take(last, place);
        last = Some(place);
        if let Some(next) = files.get(file).and_then(|places| places.get(at + 1)) {
            heads.push(Reverse((next, file, at + 1)));
        }
    }
    merged
}

impl Merged {
    fn take(&mut self, last: Option<(i64, i32)>, place: (i64, i32)) {
        let (offset, row) = place;
        let before = last.filter(|(last, _)| *last == offset).map(|(_, row)| row);
        self.records += u64::from(before.is_none());
        if last == Some(place) {
            self.doubled = Some(self.doubled.map_or((1, offset), |(count, first)| (count + 1, first)));
        } else if row != before.map_or(0, |row| row.saturating_add(1)) {
            self.misnumbered = self.misnumbered.or(Some(offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbered(places: &[(i64, i32)]) -> Places {
        let (offsets, rows) = places.iter().copied().unzip();
        Places { offsets, rows }
    }

    #[test]
    fn the_rows_of_a_record_are_numbered_from_0_across_files() {
        let merged = merge(&[numbered(&[(5, 0), (5, 2), (7, 0)]), numbered(&[(5, 1), (6, 0)])]);
        assert_eq!(merged, Merged { records: 3, ..Merged::default() });
        for (files, offset) in [
            (vec![numbered(&[(5, 1)])], 5),
            (vec![numbered(&[(5, 0), (6, 0), (6, 2)])], 6),
            (vec![numbered(&[(5, 0), (5, 1)]), numbered(&[(5, 3), (6, 0)])], 5),
            (vec![numbered(&[(5, -1), (5, 0)])], 5),
        ] {
            assert_eq!(merge(&files).misnumbered, Some(offset), "{files:?}");
        }
        assert_eq!(merge(&[numbered(&[(5, 0), (5, 1)]), numbered(&[(5, 1)])]).doubled, Some((1, 5)));
    }

    proptest! {
        #[test]
        fn an_offset_in_two_files_is_always_seen(files in prop::collection::vec(prop::collection::btree_set(0_i64..40, 0..20), 0..5)) {
            let all: usize = files.iter().map(BTreeSet::len).sum();
            let distinct = files.iter().flatten().collect::<BTreeSet<_>>();
            let seen = |offset: &i64| files.iter().filter(|file| file.contains(offset)).count() > 1;
            let first = distinct.iter().copied().find(|offset| seen(offset));
            let places = |file: &BTreeSet<i64>| Places { offsets: file.iter().copied().collect(), rows: vec![] };
            let merged = merge(&files.iter().map(places).collect::<Vec<_>>());
            prop_assert_eq!(merged.doubled, first.map(|first| ((all - distinct.len()) as u64, *first)));
            prop_assert_eq!((merged.records, merged.misnumbered), (distinct.len() as u64, None));
        }
    }
}
