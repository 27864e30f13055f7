//! The merge that shows whether an offset is in two files. Pure.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Of some ascending lists: how many offsets are met again, and the first of them.
pub(super) fn doubled(files: &[Vec<i64>]) -> Option<(u64, i64)> {
    let mut rest: Vec<_> = files.iter().map(|offsets| offsets.iter().copied()).collect();
    let firsts = rest.iter_mut().enumerate().filter_map(|(file, offsets)| Some(Reverse((offsets.next()?, file))));
    let mut heads: BinaryHeap<_> = firsts.collect();
    let mut last = None;
    let mut doubled: Option<(u64, i64)> = None;
    while let Some(Reverse((offset, file))) = heads.pop() {
        if last.replace(offset) == Some(offset) {
            doubled = Some(doubled.map_or((1, offset), |(count, first)| (count + 1, first)));
        }
        if let Some(next) = rest.get_mut(file).and_then(Iterator::next) {
            heads.push(Reverse((next, file)));
        }
    }
    doubled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_offset_in_two_files_is_always_seen(files in prop::collection::vec(prop::collection::btree_set(0_i64..40, 0..20), 0..5)) {
            let all: usize = files.iter().map(BTreeSet::len).sum();
            let distinct = files.iter().flatten().collect::<BTreeSet<_>>();
            let seen = |offset: &i64| files.iter().filter(|file| file.contains(offset)).count() > 1;
            let first = distinct.iter().copied().find(|offset| seen(offset));
            let lists: Vec<Vec<i64>> = files.iter().map(|file| file.iter().copied().collect()).collect();
            prop_assert_eq!(doubled(&lists), first.map(|first| ((all - distinct.len()) as u64, *first)));
        }
    }
}
