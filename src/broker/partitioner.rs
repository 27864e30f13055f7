//! Which partition of its topic a record goes to: as Kafka's own clients choose, so that a key is where they would put it.

/// By the key; without one, as `otherwise` says.
#[must_use]
pub fn partition(key: Option<&[u8]>, otherwise: usize, partitions: usize) -> usize {
    key.map_or(otherwise, murmur2) % partitions.max(1)
}

/// The hash of Kafka's default partitioner, its sign bit cut off as there.
fn murmur2(key: &[u8]) -> usize {
    (hash(key) & 0x7fff_ffff) as usize
}

fn hash(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    #[expect(clippy::cast_possible_truncation, reason = "a hash")]
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_s_hash_is_kafka_s() {
        // From the tests of Kafka's clients.
        for (key, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(hash(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn what_has_no_key_goes_where_it_is_told() {
        assert_eq!([0, 1, 2, 3].map(|from| partition(None, from, 3)), [0, 1, 2, 0]);
        assert!(partition(Some(b"x"), 7, 5) < 5);
        assert_eq!(partition(Some(b"x"), 1, 5), partition(Some(b"x"), 2, 5));
    }
}
