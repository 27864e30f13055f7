//! Text as the counts of its n-grams, each in the bucket that a hash of it names.
//!
//! Nothing is learned from the training texts, so a word that they lacked is no special case. The recipe is simple
//! enough to be written again in any language; it must never change, because weights are trained on it:
//!
//! 1. Letters are made small, and every run of white space is made one space.
//! 2. A word is a run of letters and digits, or one other character (`!`, an emoji). With `"words": 2`, every word is an
//!    n-gram, and every two neighbours with a space between them.
//! 3. With `"chars": [3, 5]`, every run of 3, 4 or 5 characters of the text with a space before and after is one too.
//! 4. Its hash is FNV-1a, 64 bits, of the byte `w` or `c` and its UTF-8 bytes; its bucket is the hash's upper half xor
//!    the lower, modulo the number of buckets.
//! 5. A bucket's float is the square root of its share of all n-grams of the text. So the squares of the floats sum to
//!    one, and a text without any n-gram is all noughts.

use serde::{Deserialize, Serialize};

/// The longest run of words that is an n-gram.
pub(super) const WORDS_MAX: usize = 4;

/// The longest run of characters that is an n-gram.
pub(super) const CHARS_MAX: usize = 8;

/// Which n-grams of a text are counted, in how many buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub buckets: usize,
    /// Runs of one word up to so many; nought for none.
    pub words: usize,
    /// Runs of so many characters, from and to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chars: Option<[usize; 2]>,
}

/// How often each bucket came up in a text, and which did.
#[derive(Debug, Default)]
pub(super) struct Counted {
    plain: String,
    /// All at nought between texts.
    counts: Vec<f32>,
    filled: Vec<usize>,
}

impl Default for Text {
    fn default() -> Self {
        Self { buckets: 1_024, words: 2, chars: None }
    }
}

impl Text {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.buckets == 0 {
            return Err("it has no buckets".to_owned());
        }
        if self.words > WORDS_MAX {
            return Err(format!("it counts runs of {} words, and the limit is {WORDS_MAX}", self.words));
        }
        match self.chars {
            None if self.words == 0 => Err("it counts neither words nor characters".to_owned()),
            Some([from, to]) if from == 0 || from > to || to > CHARS_MAX => {
                Err(format!("it counts runs of {from} to {to} characters; from 1 to {CHARS_MAX} is possible"))
            }
            _ => Ok(()),
        }
    }

    /// Gives each bucket that a text has n-grams in, once, with its float. `counted` is kept between texts for its memory.
    pub(super) fn shares(&self, text: &str, counted: &mut Counted, mut give: impl FnMut(usize, f32)) {
        let Counted { plain, counts, filled } = counted;
        counts.resize(self.buckets, 0.0);
        make_plain(text, plain);
        let mut total = 0.0;
        let mut count = |hash: Hash| {
            let at = hash.bucket(self.buckets);
            if let Some(count) = counts.get_mut(at) {
                if *count == 0.0 {
                    filled.push(at);
                }
                *count += 1.0;
                total += 1.0;
            }
        };
        self.each_run_of_words(plain, &mut count);
        self.each_run_of_chars(plain, &mut count);
        // A text fills a few dozen of the many there are.
        for at in filled.drain(..) {
            if let Some(count) = counts.get_mut(at) {
                give(at, (*count / total).sqrt());
                *count = 0.0;
            }
        }
    }

    fn each_run_of_words(&self, plain: &str, count: &mut impl FnMut(Hash)) {
        // At each word: the run of the last words, of every length there is.
        let mut runs = [Hash::START; WORDS_MAX];
        let longest = self.words.min(WORDS_MAX);
        for (before, word) in words(plain).enumerate().take_while(|_| longest > 0) {
            for length in (1..longest.min(before + 1)).rev() {
                runs[length] = runs[length - 1].with(b" ").with(word.as_bytes());
                count(runs[length]);
            }
            runs[0] = Hash::START.with(b"w").with(word.as_bytes());
            count(runs[0]);
        }
    }

    fn each_run_of_chars(&self, plain: &str, count: &mut impl FnMut(Hash)) {
        let Some([from, to]) = self.chars else { return };
        let mut rest = plain.chars();
        while !rest.as_str().is_empty() {
            let mut run = Hash::START.with(b"c");
            for (length, c) in (1..=to).zip(rest.clone()) {
                run = run.with(c.encode_utf8(&mut [0; 4]).as_bytes());
                if length >= from {
                    count(run);
                }
            }
            rest.next();
        }
    }
}

/// The text in small letters, with one space for a run of white space, and one at each end.
fn make_plain(text: &str, plain: &mut String) {
    plain.clear();
    plain.push(' ');
    for word in text.split_whitespace() {
        if word.is_ascii() {
            let start = plain.len();
            plain.push_str(word);
            plain[start..].make_ascii_lowercase();
        } else {
            plain.extend(word.chars().flat_map(char::to_lowercase));
        }
        plain.push(' ');
    }
}

fn words(plain: &str) -> impl Iterator<Item = &str> {
    let mut rest = plain;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let is_run = first.is_alphanumeric();
        let end = if is_run { rest.find(|c: char| !c.is_alphanumeric()) } else { Some(first.len_utf8()) };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(word)
    })
}

/// FNV-1a, which can be gone on with: the hash of a run is that of a shorter one with more bytes.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const START: Self = Self(0xcbf2_9ce4_8422_2325);
    const PRIME: u64 = 0x100_0000_01b3;

    fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(Self::PRIME)))
    }

    #[allow(clippy::cast_possible_truncation, reason = "the upper half is folded into the lower")]
    fn bucket(self, buckets: usize) -> usize {
        (self.0 ^ (self.0 >> 32)) as u32 as usize % buckets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(kind: &Text, text: &str) -> Vec<f32> {
        let (mut buckets, mut counted) = (vec![0.0; kind.buckets], Counted::default());
        kind.shares("left from before", &mut counted, |_, _| {});
        kind.shares(text, &mut counted, |bucket, share| buckets[bucket] = share);
        buckets
    }

    /// The n-grams by the recipe, without the running hashes.
    fn grams(kind: &Text, text: &str) -> Vec<String> {
        let mut plain = String::new();
        make_plain(text, &mut plain);
        let words: Vec<&str> = words(&plain).collect();
        let runs = (1..=kind.words).flat_map(|length| words.windows(length)).map(|run| format!("w{}", run.join(" ")));
        let chars: Vec<char> = plain.chars().collect();
        let of_chars = kind.chars.into_iter().flat_map(|[from, to]| from..=to).flat_map(|length| chars.windows(length));
        runs.chain(of_chars.map(|run| format!("c{}", run.iter().collect::<String>()))).collect()
    }

    fn both() -> Text {
        Text { buckets: 97, words: 3, chars: Some([2, 4]) }
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_and_every_other_character() {
        let words = |text: &str| {
            let mut plain = String::new();
            make_plain(text, &mut plain);
            super::words(&plain).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(words(" GET\t/Ä.php?id=1 "), ["get", "/", "ä", ".", "php", "?", "id", "=", "1"]);
        assert_eq!(words("So good!!🎉 don't"), ["so", "good", "!", "!", "🎉", "don", "'", "t"]);
        assert_eq!(words(" \n "), [""; 0]);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the reference implementation's list of test vectors.
        assert_eq!(Hash::START.with(b"").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Hash::START.with(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Hash::START.with(b"foobar").0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_text_s_buckets_are_pinned_because_weights_are_trained_on_them() {
        let kind = Text { buckets: 16, words: 2, chars: None };
        let buckets = filled(&kind, "Very  VERY good");
        let filled: Vec<_> = buckets.iter().enumerate().filter(|(_, share)| **share > 0.0).collect();
        // `good`, `very` twice, `very good`, `very very`.
        let [one, two] = [0.2_f32, 0.4].map(f32::sqrt);
        assert_eq!(filled, [(3, &one), (7, &two), (9, &one), (13, &one)]);
    }

    #[test]
    fn a_text_without_n_grams_is_all_noughts() {
        assert_eq!(filled(&Text::default(), " \t"), vec![0.0; 1024]);
        assert_eq!(filled(&Text { buckets: 8, words: 0, chars: Some([2, 3]) }, ""), vec![0.0; 8]);
    }

    #[test]
    fn n_grams_that_can_not_be_are_refused() {
        let fault = |buckets, words, chars| Text { buckets, words, chars }.check().unwrap_err();
        assert_eq!(fault(0, 1, None), "it has no buckets");
        assert_eq!(fault(8, 5, None), "it counts runs of 5 words, and the limit is 4");
        assert_eq!(fault(8, 0, None), "it counts neither words nor characters");
        for [from, to] in [[0, 3], [4, 3], [3, 9]] {
            assert!(fault(8, 0, Some([from, to])).contains("from 1 to 8 is possible"));
        }
        assert_eq!(both().check(), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_counted_by_the_recipe_and_its_squares_sum_to_one(text in any::<String>()) {
            let (kind, buckets) = (both(), filled(&both(), &text));
            let grams = grams(&kind, &text);
            let mut expected = vec![0.0_f32; kind.buckets];
            for gram in &grams {
                expected[Hash::START.with(gram.as_bytes()).bucket(kind.buckets)] += 1.0;
            }
            let total: f32 = expected.iter().sum();
            expected.iter_mut().filter(|bucket| **bucket > 0.0).for_each(|bucket| *bucket = (*bucket / total).sqrt());
            prop_assert_eq!(&buckets, &expected);
            let squares: f32 = buckets.iter().map(|bucket| bucket * bucket).sum();
            prop_assert!(grams.is_empty() || (squares - 1.0).abs() < 1e-4);
        }
    }
}
