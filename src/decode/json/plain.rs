//! The quick way through a record: JSON as most producers write most of it, in one pass over its bytes.
//!
//! Owns: speed, and nothing else. A record that it doesn't take is left to the parser as a whole, and so is what is wrong
//! with one. Invariant: a record that it takes is read as the parser would have read it.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Node, Slot, ValueOf, Values};

/// Declared paths go hardly deeper; the parser has a limit of its own.
const DEPTH_MAX: usize = 64;
/// So many digits always fit into a `u64`.
const DIGITS_MAX: usize = 19;
/// Up to here every whole number is an `f64`.
const EXACT_MAX: u64 = 1 << 53;
/// A one in each byte of a word, and the highest bit of each.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHEST: u64 = ONES << 7;
/// More than nine and this together have the highest bit of a byte.
const BEYOND_NINE: u8 = 0x80 - 10;
/// The powers of ten that are an `f64`. One of them times or through an exact number is rounded once, and so rightly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads the whole of a record into the slots, or tells that it didn't; then they hold nothing of meaning.
#[inline]
pub(super) fn read<'a>(root: &Node, json: &'a str, values: &mut Values<'a>) -> bool {
    Plain { json, at: 0, values }.record(root).is_some()
}

struct Plain<'v, 'a> {
    json: &'a str,
    at: usize,
    values: &'v mut Values<'a>,
}

/// Whether a field is read from a member, or from below it.
enum Member<'n> {
    Needed(&'n Node),
    Unneeded,
}

/// What the bits of a number are. Both go from function to function in registers: a slot would go through memory, in
/// pieces of other sizes than it is read in, which is slow.
#[derive(Clone, Copy)]
enum Written {
    Int,
    Huge,
    Float,
}

impl<'a> Plain<'_, 'a> {
    #[inline]
    fn record(&mut self, root: &Node) -> Option<()> {
        self.space();
        self.object(root, DEPTH_MAX)?;
        self.space();
        (self.at == self.json.len()).then_some(())
    }

    fn object(&mut self, node: &Node, depth: usize) -> Option<()> {
        let deeper = depth.checked_sub(1)?;
        self.take(b'{')?;
        self.values.put_all(&node.fields, &Slot::Object);
        self.values.clear(&node.below);
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        for place in 0.. {
            let member = self.member(node, place)?;
            self.space();
            match member {
                Member::Needed(node) => self.value(node, deeper)?,
                Member::Unneeded => self.skip()?,
            }
            self.space();
            if self.take(b',').is_none() {
                break;
            }
            self.space();
        }
        self.take(b'}')
    }

    /// The name of a member, and the colon behind it.
    #[inline]
    fn member<'n>(&mut self, node: &'n Node, place: usize) -> Option<Member<'n>> {
        let rest = self.json.as_bytes().get(self.at..)?;
        if let Some((lead, member)) = node.expected(place, self.values.orders.get(node.id)?)
            && let Some(bytes) = lead.leads(rest)
        {
            self.at += bytes;
            return Some(Member::Needed(member));
        }
        self.named(node, place)
    }

    fn named<'n>(&mut self, node: &'n Node, place: usize) -> Option<Member<'n>> {
        self.take(b'"')?;
        let rest = self.json.as_bytes().get(self.at..)?;
        let name = self.json.get(self.at..self.at + plain_len(rest))?;
        self.at += name.len();
        self.take(b'"')?;
        self.space();
        self.take(b':')?;
        let member = node.member(name, place, self.values.orders.get_mut(node.id)?);
        Some(member.map_or(Member::Unneeded, Member::Needed))
    }

    /// A value that fields are read from, or lie below of.
    #[inline]
    fn value(&mut self, node: &Node, depth: usize) -> Option<()> {
        match self.next()? {
            b'{' => self.object(node, depth)?,
            b'"' => {
                let text = self.text()?;
                self.leaf(node, Slot::Text(text));
            }
            b'-' | b'0'..=b'9' => match self.number()? {
                (Written::Float, bits) => self.leaf(node, Slot::Float(f64::from_bits(bits))),
                (Written::Int, bits) => self.leaf(node, Slot::Int(bits.cast_signed())),
                (Written::Huge, bits) => self.leaf(node, Slot::Huge(bits)),
            },
            b't' => self.word("true").map(|()| self.leaf(node, Slot::Bool(true)))?,
            b'f' => self.word("false").map(|()| self.leaf(node, Slot::Bool(false)))?,
            b'n' => self.word("null").map(|()| self.leaf(node, Slot::Null))?,
            b'[' => self.parsed::<IgnoredAny>().map(|_| self.leaf(node, Slot::Array))?,
            _ => return None,
        }
        Some(())
    }

    /// Puts a value that is no object where it belongs.
    #[expect(clippy::inline_always, reason = "so that each value is made in its slot, and not copied there")]
    #[inline(always)]
    fn leaf(&mut self, node: &Node, value: Slot<'a>) {
        if let ([field], []) = (node.fields.as_slice(), node.below.as_slice())
            && let Some(slot) = self.values.slots.get_mut(*field)
        {
            *slot = value;
        } else {
            ValueOf { node, values: &mut *self.values }.leaf(value);
        }
    }

    /// Steps over a value that no field needs.
    #[inline]
    fn skip(&mut self) -> Option<()> {
        match self.next()? {
            b'"' if self.plain_text().is_some() => Some(()),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => self.parsed::<IgnoredAny>().map(drop),
        }
    }

    #[inline]
    fn text(&mut self) -> Option<Cow<'a, str>> {
        match self.plain_text() {
            Some(text) => Some(Cow::Borrowed(text)),
            None => self.parsed::<String>().map(Cow::Owned),
        }
    }

    /// A text without anything that is written otherwise than it is; what else it may be stays where it is.
    #[inline]
    fn plain_text(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        let end = start + plain_len(self.json.as_bytes().get(start..)?);
        if self.json.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.json.get(start..end)
    }

    /// A value as the parser reads it.
    #[cold]
    fn parsed<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(self.json.get(self.at..)?).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }

    #[inline]
    fn number(&mut self) -> Option<(Written, u64)> {
        let start = self.at;
        let negative = self.take(b'-').is_some();
        let ahead = self.json.as_bytes().get(self.at..)?.first_chunk();
        if let Some(short) = ahead.and_then(|word| Short::read(u64::from_le_bytes(*word))) {
            self.at += short.bytes;
            return short.value(negative);
        }
        let zero_first = self.next() == Some(b'0');
        let mut mantissa = 0;
        let whole = self.digits(&mut mantissa);
        let fraction = if self.take(b'.').is_some() { Some(self.digits(&mut mantissa)) } else { None };
        if whole == 0 || (zero_first && whole > 1) || fraction == Some(0) {
            return None;
        }
        let exponent = if matches!(self.next(), Some(b'e' | b'E')) { Some(self.exponent()?) } else { None };
        let decimals = fraction.unwrap_or(0);
        let mantissa = Some(mantissa).filter(|_| whole + decimals <= DIGITS_MAX);
        if (fraction, exponent) == (None, None) {
            return integer(mantissa?, negative);
        }
        let scale = exponent.unwrap_or(0) - i32::try_from(decimals).ok()?;
        let float = match mantissa.and_then(|mantissa| exact(mantissa, scale)) {
            Some(float) if negative => -float,
            Some(float) => float,
            None => self.json.get(start..self.at)?.parse::<f64>().ok()?,
        };
        float.is_finite().then_some((Written::Float, float.to_bits()))
    }

    /// Adds digits to a number, and tells how many. Beyond [`DIGITS_MAX`] the number means nothing.
    #[inline]
    fn digits(&mut self, number: &mut u64) -> usize {
        let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
        let (mut digits, mut value) = (0, *number);
        for digit in rest.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            digits += 1;
        }
        *number = value;
        self.at += digits;
        digits
    }

    fn exponent(&mut self) -> Option<i32> {
        self.at += 1;
        let negative = self.take(b'-').is_some();
        if !negative {
            let _ = self.take(b'+');
        }
        let mut exponent = 0;
        // No exponent that long means anything.
        let exponent = (1..=4).contains(&self.digits(&mut exponent)).then_some(exponent)?;
        let exponent = i32::try_from(exponent).ok()?;
        Some(if negative { -exponent } else { exponent })
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let here = self.json.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        here.then_some(())
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.next() {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        let here = self.next() == Some(byte);
        self.at += usize::from(here);
        here.then_some(())
    }

    #[inline]
    fn next(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }
}

/// A number of a few digits, perhaps with a point among them, which is taken out of one word at once.
struct Short {
    bytes: usize,
    digits: u64,
    /// How many stand behind the point; zero if there is none.
    decimals: usize,
}

impl Short {
    /// Nothing if the word has no such number, or the number goes on beyond it.
    #[inline]
    fn read(word: u64) -> Option<Self> {
        let values = word ^ (ONES * u64::from(b'0'));
        // The highest bit of each byte that is no digit.
        let others = (((values & !HIGHEST) + ONES * u64::from(BEYOND_NINE)) | values) & HIGHEST;
        let byte = |at: usize| word.wrapping_shr(8 * u32::try_from(at).unwrap_or_default()).to_le_bytes()[0];
        let (whole, later) = first(others)?;
        let (bytes, digits, decimals) = if byte(whole) == b'.' {
            let (end, _) = first(later)?;
            let before = below(whole);
            (end, (values & before) | ((values >> 8) & !before & below(end - 1)), end - whole - 1)
        } else {
            (whole, values & below(whole), 0)
        };
        let point = usize::from(bytes > whole);
        let zero_first = whole > 1 && byte(0) == b'0';
        if whole == 0 || zero_first || decimals < point || matches!(byte(bytes), b'e' | b'E') {
            return None;
        }
        // Zeros in front, then pairs of digits, of pairs, and of those: each time the left one counts so much more.
        let digits = digits << (8 * (8 - (bytes - point)));
        let pairs = (digits.wrapping_mul(10 << 8 | 1) >> 8) & (u64::MAX / 0x101);
        let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & (u64::MAX / 0x1_0001);
        let digits = fours.wrapping_mul(10_000 << 32 | 1) >> 32;
        Some(Self { bytes, digits, decimals })
    }

    #[inline]
    fn value(&self, negative: bool) -> Option<(Written, u64)> {
        if self.decimals == 0 {
            return integer(self.digits, negative);
        }
        let float = exact(self.digits, -i32::try_from(self.decimals).ok()?)?;
        Some((Written::Float, if negative { -float } else { float }.to_bits()))
    }
}

/// At which byte the first of some marks is, and those after it.
#[inline]
fn first(marks: u64) -> Option<(usize, u64)> {
    let later = marks & marks.checked_sub(1)?;
    Some((marks.trailing_zeros() as usize / 8, later))
}

/// The bytes of a word that stand before one of them.
#[inline]
fn below(byte: usize) -> u64 {
    (1 << (8 * byte)) - 1
}

/// The parser takes `-0` for a float, and so what is beyond an `i64`.
#[inline]
fn integer(mantissa: u64, negative: bool) -> Option<(Written, u64)> {
    match (i64::try_from(mantissa), negative) {
        (Ok(0) | Err(_), true) => None,
        (Ok(number), true) => Some((Written::Int, (-number).cast_unsigned())),
        (Ok(_), false) => Some((Written::Int, mantissa)),
        (Err(_), false) => Some((Written::Huge, mantissa)),
    }
}

#[inline]
#[expect(clippy::cast_precision_loss, reason = "not below the limit")]
fn exact(mantissa: u64, scale: i32) -> Option<f64> {
    let power = POWERS.get(usize::try_from(scale.unsigned_abs()).ok()?).filter(|_| mantissa <= EXACT_MAX)?;
    Some(if scale < 0 { mantissa as f64 / power } else { mantissa as f64 * power })
}

/// How much stands before the first quotation mark, backslash or control character, or to the end.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += size_of_val(word);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' ')).unwrap_or(rest.len())
}

/// The highest bit of the first byte that is a quotation mark, a backslash or a control character, if one is; bits above it
/// mean nothing.
#[inline]
fn special(word: u64) -> u64 {
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (is(b'"') | is(b'\\') | below(word, b' ')) & HIGHEST
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::{json::Shape, plan::Plan};

    /// What both ways make of a record, the quick one first; nothing where it is no object or no JSON.
    fn both(paths: &[&str], json: &str) -> [Option<String>; 2] {
        let plan = Plan::of_paths(paths);
        let (root, nodes) = Node::tree(plan.paths());
        let mut values = Values::new(plan.slots(), nodes);
        // Twice, since the second time the order of the members is known.
        let [_, quick] = [(); 2].map(|()| read(&root, json, &mut values).then(|| format!("{:?}", values.slots)));
        let mut values = Values::new(plan.slots(), nodes);
        let parsed = matches!(values.parse(&root, json), Ok(Shape::Object)).then(|| format!("{:?}", values.slots));
        [quick, parsed]
    }

    const PATHS: &[&str] = &["a", "b", "o.a", "o", "o.p.a"];

    #[test]
    fn plain_records_are_taken_and_read_as_the_parser_reads_them() {
        for json in [
            "{}",
            r#" { "a" : 1 , "b" : "x" } "#,
            r#"{"a":-9223372036854775807,"b":9223372036854775808,"o":null}"#,
            r#"{"a":5.1,"b":-0.0,"o":{"a":1e22,"p":{"a":-1.5E-3}}}"#,
            r#"{"a":0.1234567890123456789012345,"b":4.9e-324,"o":[1,{"a":[]}]}"#,
            r#"{"a":true,"b":false,"o":{"a":null,"p":1}}"#,
            r#"{"x":"skipped \ud800","y":[1,{"z":{}}],"z":-1e5,"w":null,"b":"é\n\u00e9"}"#,
            r#"{"o":{"a":1,"p":{"a":2}},"o":{"p":3},"a":1,"a":2}"#,
            "{\"b\":\"a longer text, é\u{7f}, of more than a word\",\r\n\t\"a\":1}",
        ] {
            let [quick, parsed] = both(PATHS, json);
            assert!(quick.is_some(), "{json}");
            assert_eq!(quick, parsed, "{json}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_parser() {
        let deep = ["{\"a\":", "}"].map(|half| half.repeat(DEPTH_MAX + 1)).concat();
        for json in [
            "",
            "{",
            "[]",
            r#"{"a":01}"#,
            r#"{"a":-0}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":1e999}"#,
            r#"{"a":1e99999}"#,
            r#"{"a":12345678901234567890}"#,
            r#"{"a":-9223372036854775808}"#,
            r#"{"a":tru}"#,
            r#"{"a":1,}"#,
            r#"{"a":1}x"#,
            r#"{"a" 1}"#,
            r#"{"\u0061":1}"#,
            r#"{"b":"\ud800"}"#,
            "{\"b\":\"\n\"}",
            "{\"b\":\"line\u{1}\"}",
            r#"{"b":"open"#,
            r#"{"x":[1}"#,
            r#"{"x":nul}"#,
            &deep,
        ] {
            assert_eq!(both(PATHS, json)[0], None, "{json}");
        }
        let path = ["a"; DEPTH_MAX + 1].join(".");
        assert_eq!(both(&[&path], &deep)[0], None);
    }

    #[test]
    fn a_name_with_something_to_escape_is_not_taken_for_another() {
        for path in ["a\"", "a\\", "a\n"] {
            for json in [r#"{"a":1}"#, r#"{"a\"":1}"#, r#"{"a\\":1}"#, "{\"a\n\":1}", r#"{"a\"":1,"a":2}"#] {
                let [quick, parsed] = both(&[path], json);
                assert!(quick.is_none() || quick == parsed, "{path}: {json}");
            }
        }
    }

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for special in [b'"', b'\\', b'\n', 0, 0x1f] {
            for (len, at) in (0..20).flat_map(|len| (0..=len).map(move |at| (len, at))) {
                let mut bytes = vec![b' '; len];
                bytes.iter_mut().skip(at).for_each(|byte| *byte = special);
                assert_eq!(plain_len(&bytes), at, "{special} at {at} of {len}");
            }
        }
        assert_eq!(plain_len(&[0x80, 0xff, 0x7f, b'!', b'#', b'[', b']', b' ', 0xa2]), 9);
    }

    #[test]
    fn short_numbers_are_all_taken_wherever_their_point_is() {
        for (decimals, digits) in
            (0..=7).flat_map(|decimals| (0..10_000_000_u32).step_by(9_973).map(move |d| (decimals, d)))
        {
            let digits = format!("{digits:0width$}", width = decimals + 1);
            let (whole, fraction) = digits.split_at(digits.len() - decimals);
            let number = if fraction.is_empty() { whole.into() } else { format!("{whole}.{fraction}") };
            let ahead = format!("{number},       ");
            let word = ahead.as_bytes().first_chunk().map(|word| u64::from_le_bytes(*word)).unwrap();
            assert_eq!(
                Short::read(word).map(|short| short.bytes),
                (number.len() < 8).then_some(number.len()),
                "{number}"
            );
            for end in ["}", ",\"b\":1}", "        }"] {
                let json = format!("{{\"a\":{number}{end}");
                let [quick, parsed] = both(&["a"], &json);
                assert!(quick.is_some(), "{json}");
                assert_eq!(quick, parsed, "{json}");
            }
        }
    }

    fn number() -> impl Strategy<Value = String> {
        let written = "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?";
        let short = "-?[0-9]{0,7}(\\.[0-9]{0,6})?([eE]?|[eE][+-]?[0-9]|[.:-])";
        prop_oneof![
            written,
            short,
            any::<f64>().prop_map(|x| format!("{x:e}")),
            any::<i64>().prop_map(|x| x.to_string()),
            any::<f32>().prop_map(|x| x.to_string()),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            ".{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
            r#""([a-zé ]|\\[u"n\\]|\\u[0-9a-fD]{4}){0,4}""#,
        ];
        let leaf = prop_oneof![3 => number(), 2 => text, 1 => "true|false|null|NaN"];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let member = ("[abopx]", inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
            prop_oneof![
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
                prop::collection::vec(inner, 0..3).prop_map(|values| format!("[{}]", values.join(" , "))),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_read_as_the_parser_reads_it(
            members in prop::collection::vec(("[abopx]", value()), 0..5),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<char>())),
        ) {
            let members: Vec<_> = members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            let mut json = format!("{{{}}}", members.join(","));
            if let Some((at, other)) = damage {
                let place = at.index(json.chars().count());
                json = json.chars().enumerate().map(|(here, c)| if here == place { other } else { c }).collect();
            }
            let [quick, parsed] = both(PATHS, &json);
            prop_assert!(quick.is_none() || quick == parsed, "{json}: {quick:?}, {parsed:?}");
        }

        #[test]
        fn numbers_are_the_parsers_to_the_last_bit(number in number()) {
            // A short one is taken at once if there is enough behind it.
            for end in ["}", "        }", ",\"b\":1234567}"] {
                let [quick, parsed] = both(&["a"], &format!("{{\"a\":{number}{end}"));
                prop_assert!(quick.is_none() || quick == parsed, "{number}{end}: {quick:?}, {parsed:?}");
            }
        }
    }
}
