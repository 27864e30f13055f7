//! The declared paths as a tree, so that one pass over a record finds every field.
//!
//! Owns: which member of which object leads to which field. Does not own: what the values mean.

/// One object, or one value, on the way to the declared fields.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Which of the decoder's memories of member order is this object's.
    pub(super) id: usize,
    /// The fields that are this very value; two columns may be read from one place.
    pub(super) fields: Vec<usize>,
    /// The fields that stand somewhere below.
    pub(super) below: Vec<usize>,
    /// Sorted by name.
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// How it mostly begins in JSON, if its name is written there as it is.
    lead: Option<Lead>,
    node: Node,
}

/// Which member was seen at each place of an object last time. Producers repeat themselves, so that looking a member up
/// is mostly one comparison.
pub(super) type MemberOrder = Vec<usize>;

/// How many places of an object are remembered; members after them are searched for.
const PLACES_MAX: usize = 256;

impl Node {
    /// The tree of the paths that lead to the slots, and how many nodes it has. Several paths may lead to one slot, and
    /// several slots may be filled from one place.
    pub(super) fn tree<'p>(paths: impl IntoIterator<Item = (&'p [String], usize)>) -> (Self, usize) {
        let (mut root, mut nodes) = (Self::default(), 1);
        for (path, slot) in paths {
            root.plant(path, slot, &mut nodes);
        }
        (root, nodes)
    }

    fn plant(&mut self, path: &[String], field: usize, nodes: &mut usize) {
        let Some((name, rest)) = path.split_first() else {
            return self.fields.push(field);
        };
        self.below.push(field);
        self.member_or_new(name, nodes).plant(rest, field, nodes);
    }

    fn member_or_new(&mut self, name: &str, nodes: &mut usize) -> &mut Self {
        let at = match self.members.binary_search_by(|member| member.name.as_str().cmp(name)) {
            Ok(at) => at,
            Err(at) => {
                let node = Self { id: *nodes, ..Self::default() };
                self.members.insert(at, Member { name: name.to_owned(), lead: Lead::of(name), node });
                *nodes += 1;
                at
            }
        };
        &mut self.members[at].node
    }

    /// The member of this name; `None` if no field is there or below.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let at = self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
        self.members.get(at).map(|member| &member.node)
    }

    /// All members that lead to a field, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.members.iter().map(|member| (member.name.as_str(), &member.node))
    }

    /// The member that stood at this place last time, behind how it begins in JSON.
    #[inline]
    pub(super) fn expected(&self, place: usize, order: &MemberOrder) -> Option<(&Lead, &Self)> {
        let member = order.get(place).and_then(|&at| self.members.get(at))?;
        Some((member.lead.as_ref()?, &member.node))
    }

    /// The member of this name, expected where it stood last time; `None` if no field is there or below.
    #[inline]
    pub(super) fn member(&self, name: &str, place: usize, order: &mut MemberOrder) -> Option<&Self> {
        if let Some(expected) = order.get(place).and_then(|&at| self.members.get(at))
            && expected.name == name
        {
            return Some(&expected.node);
        }
        self.search(name, place, order)
    }

    fn search(&self, name: &str, place: usize, order: &mut MemberOrder) -> Option<&Self> {
        let at = self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
        if place < PLACES_MAX {
            order.resize(order.len().max(place + 1), usize::MAX);
            if let Some(slot) = order.get_mut(place) {
                *slot = at;
            }
        }
        self.members.get(at).map(|member| &member.node)
    }
}

/// A member's name, quoted, with its colon; cut into words, each with what of it counts, so that it is compared with a few
/// instructions.
#[derive(Debug)]
pub(super) struct Lead {
    words: Box<[[u64; 2]]>,
    bytes: usize,
}

impl Lead {
    fn of(name: &str) -> Option<Self> {
        let as_it_is = !name.contains(|c: char| matches!(c, '"' | '\\' | '\0'..' '));
        let bytes = [b"\"", name.as_bytes(), b"\":"].concat();
        let word = |part: &[u8]| {
            let (mut word, mut counts) = ([0; 8], [0; 8]);
            for ((to, counts), byte) in word.iter_mut().zip(&mut counts).zip(part) {
                (*to, *counts) = (*byte, u8::MAX);
            }
            [word, counts].map(u64::from_le_bytes)
        };
        as_it_is.then(|| Self { words: bytes.chunks(8).map(word).collect(), bytes: bytes.len() })
    }

    /// How many bytes it is, if these begin with it. Of a record's last few bytes it doesn't tell.
    #[inline]
    pub(super) fn leads(&self, bytes: &[u8]) -> Option<usize> {
        let (words, _) = bytes.as_chunks();
        let found = words.get(..self.words.len())?;
        let alike = |(found, [word, counts]): (&[u8; 8], &[u64; 2])| u64::from_le_bytes(*found) & counts == *word;
        found.iter().zip(&self.words).all(alike).then_some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&[&str]]) -> (Node, usize) {
        let owned = |path: &&[&str]| path.iter().map(ToString::to_string).collect();
        let paths: Vec<Vec<String>> = paths.iter().map(owned).collect();
        Node::tree(paths.iter().map(Vec::as_slice).zip(0..))
    }

    #[test]
    fn fields_are_found_along_their_paths() {
        let (root, nodes) = tree(&[&["a", "y"], &["b"], &["a", "x"], &["b"]]);
        let mut order = MemberOrder::new();
        assert_eq!(nodes, 5);
        assert_eq!(root.member("b", 0, &mut order).unwrap().fields, [1, 3]);
        let a = root.member("a", 1, &mut order).unwrap();
        assert_eq!(a.below, [0, 2]);
        assert_eq!(a.member("x", 0, &mut MemberOrder::new()).unwrap().fields, [2]);
        assert!(root.member("c", 2, &mut order).is_none());
    }

    #[test]
    fn the_order_of_members_is_learnt_and_learnt_again() {
        let (root, _) = tree(&[&["a"], &["b"]]);
        let mut order = MemberOrder::new();
        for names in [["b", "a"], ["b", "a"], ["a", "b"]] {
            for (place, name) in names.into_iter().enumerate() {
                let expected = if name == "a" { [0] } else { [1] };
                assert_eq!(root.member(name, place, &mut order).unwrap().fields, expected);
            }
        }
        assert_eq!(order, [0, 1]);
    }

    #[test]
    fn what_is_remembered_of_a_very_wide_object_is_limited() {
        let (root, _) = tree(&[&["a"]]);
        let mut order = MemberOrder::new();
        assert!(root.member("a", usize::MAX, &mut order).is_some());
        assert!(order.is_empty());
    }
}
