//! Records that arrive broken, each in one of seven ways, so that a pipeline's rejects can be tried.
//!
//! Owns: which records these are, by the seed, and what is done to their bytes. Does not own: what a reader says to it;
//! tests hold each kind against the decoder's reason.

use std::str::FromStr;

use rand::RngExt;

use super::{
    Source,
    dice::{Dice, Purpose, dice_for},
    encoding::{Encoding, Format},
    fields::{self, Field, Kind},
    share::Share,
    spans::{Span, spans},
};

/// How long a record of `Oversized` is made; a reader takes a mebibyte if it is not told otherwise.
const OVERSIZED_BYTES: usize = 1_100_000;
/// What came in place of a record.
const NO_RECORD: &str = "<html><body><h1>502 Bad Gateway</h1></body></html>";
const WORD: &str = "unknown";

/// How a record is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoiled {
    /// Its end is missing.
    Truncated,
    /// A word stands where a number should, or a number where a word should.
    WrongType,
    /// A field is left out.
    MissingField,
    /// It is something else altogether.
    NotJson,
    /// A number is NaN.
    Nan,
    /// It is longer than a mebibyte.
    Oversized,
    /// It has no bytes.
    Empty,
}

impl Spoiled {
    pub const ALL: [Self; 7] =
        [Self::Truncated, Self::WrongType, Self::MissingField, Self::NotJson, Self::Nan, Self::Oversized, Self::Empty];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::WrongType => "wrong_type",
            Self::MissingField => "missing_field",
            Self::NotJson => "not_json",
            Self::Nan => "nan",
            Self::Oversized => "oversized",
            Self::Empty => "empty",
        }
    }

    /// Whether it may happen to this field. In CSV any word is a text, and in Avro only a number can be wrong.
    fn may_hit(self, field: &Field, format: Format) -> bool {
        let fits = match (self, format) {
            (Self::Nan, Format::Csv | Format::Avro) => field.kind == Kind::Decimal,
            (Self::WrongType, Format::Csv) => field.kind != Kind::Text,
            (Self::WrongType | Self::MissingField, Format::Avro) => false,
            _ => true,
        };
        field.observed && fits
    }

    fn needs_a_field(self) -> bool {
        matches!(self, Self::WrongType | Self::MissingField | Self::Nan)
    }

    /// Whether such a record can be made of a source's.
    fn is_possible(self, fields: &[Field], format: Format) -> bool {
        !self.needs_a_field() || fields.iter().any(|field| self.may_hit(field, format))
    }
}

/// Which share of the records is broken, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Corruption {
    #[default]
    None,
    /// So many altogether, of every kind that there is for the source and the format.
    Evenly(Share),
    /// In the order of [`Spoiled::ALL`].
    ByKind([Share; Spoiled::ALL.len()]),
}

impl Corruption {
    /// The share of each kind, in the order of [`Spoiled::ALL`]; what can't be is refused.
    pub fn shares(self, source: Source, format: Format) -> Result<[Share; Spoiled::ALL.len()], String> {
        let fields = fields::of_records(source, false);
        let possible = Spoiled::ALL.map(|kind| kind.is_possible(&fields, format));
        match self {
            Self::None => Ok([Share::default(); Spoiled::ALL.len()]),
            Self::Evenly(share) => {
                let each = share.split(possible.iter().filter(|is| **is).count());
                Ok(possible.map(|is| if is { each } else { Share::default() }))
            }
            Self::ByKind(shares) => {
                let asked = Spoiled::ALL.iter().zip(&shares).zip(possible);
                match asked.into_iter().find(|((_, share), possible)| !share.is_none() && !possible) {
                    None => Ok(shares),
                    Some(((kind, _), _)) => Err(impossible(*kind, source, format)),
                }
            }
        }
    }
}

fn impossible(kind: Spoiled, source: Source, format: Format) -> String {
    let (kind, source) = (kind.name(), source.name());
    match format {
        Format::Avro => {
            format!("`{kind}` can't be with --format avro and {source}: leave it out, or use --format json")
        }
        _ => format!("`{kind}` can't be with --format csv and {source}, which is all text: use --format json"),
    }
}

impl FromStr for Corruption {
    type Err = String;

    /// `1%`, or `truncated=1%,nan=0.5%`
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return text.parse().map(Self::Evenly);
        }
        let mut shares = [Share::default(); Spoiled::ALL.len()];
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or_else(|| unknown(part))?;
            let named = Spoiled::ALL.iter().zip(&mut shares).find(|(kind, _)| kind.name() == name.trim());
            let (_, place) = named.ok_or_else(|| unknown(name))?;
            *place = share.parse()?;
        }
        if shares.iter().map(|share| share.of()).sum::<f64>() > 1.0 + 1e-9 {
            return Err("the shares are more than 100% together; a record is broken in one way".to_owned());
        }
        Ok(Self::ByKind(shares))
    }
}

fn unknown(kind: &str) -> String {
    let kinds = Spoiled::ALL.map(Spoiled::name).join(", ");
    format!("`{kind}` is no kind: write `1%`, or some of {kinds}, such as `truncated=1%,nan=0.5%`")
}

/// Breaks some of a partition's records.
#[derive(Debug)]
pub(super) struct Corrupter {
    shares: [Share; Spoiled::ALL.len()],
    dice: Dice,
    format: Format,
    fields: Vec<Field>,
    prefix: usize,
}

impl Corrupter {
    pub(super) fn new(
        shares: [Share; Spoiled::ALL.len()],
        source: Source,
        encoding: &Encoding,
        seed: u64,
        partition: i32,
    ) -> Self {
        Self {
            shares,
            dice: dice_for(seed, partition, Purpose::Corruption),
            format: encoding.format,
            fields: fields::of_records(source, encoding.with_truth),
            prefix: encoding.prefix_bytes(),
        }
    }

    /// Breaks the record, if its turn has come.
    pub(super) fn pass(&mut self, value: &mut Vec<u8>) -> Option<Spoiled> {
        let mut lot: f64 = self.dice.random();
        for (kind, share) in Spoiled::ALL.into_iter().zip(self.shares) {
            if lot < share.of() {
                self.spoil(kind, value);
                return Some(kind);
            }
            lot -= share.of();
        }
        None
    }

    pub(super) fn spoil(&mut self, kind: Spoiled, value: &mut Vec<u8>) {
        match kind {
            Spoiled::Empty => value.clear(),
            Spoiled::NotJson => {
                value.clear();
                value.extend_from_slice(NO_RECORD.as_bytes());
            }
            Spoiled::Truncated => self.truncate(value),
            Spoiled::Oversized => self.lengthen(value),
            Spoiled::WrongType | Spoiled::MissingField | Spoiled::Nan => self.hit(kind, value),
        }
    }

    /// Some bytes stay, and what is missing is missed: of a line of CSV, a cell at least.
    fn truncate(&mut self, value: &mut Vec<u8>) {
        let end = match self.format {
            Format::Json | Format::Avro => value.len(),
            Format::Csv => self.spans(value).last().map_or(value.len(), |last| last.whole.start),
        };
        value.truncate(self.dice.random_range(1..end.max(2)));
    }

    fn lengthen(&self, value: &mut Vec<u8>) {
        let missing = OVERSIZED_BYTES.saturating_sub(value.len());
        match self.format {
            Format::Json => {
                value.pop();
                value.extend_from_slice(b",\"padding\":\"");
                value.resize(value.len() + missing, b'.');
                value.extend_from_slice(b"\"}");
            }
            Format::Csv | Format::Avro => value.resize(value.len() + missing, b'.'),
        }
    }

    fn hit(&mut self, kind: Spoiled, value: &mut Vec<u8>) {
        let spans = self.spans(value);
        let fields = self.fields.iter().zip(spans);
        let targets: Vec<_> = fields.filter(|(field, _)| kind.may_hit(field, self.format)).collect();
        // Shares of what can't be were refused.
        if targets.is_empty() {
            return;
        }
        let (field, Span { whole, value: at }) = &targets[self.dice.random_range(0..targets.len())];
        match (kind, self.format) {
            // With the comma before it: the first member is the id, which is never hit.
            (Spoiled::MissingField, Format::Json) => drop(value.drain(whole.start - 1..whole.end)),
            (Spoiled::MissingField, _) => drop(value.drain(at.clone())),
            (Spoiled::Nan, Format::Avro) => drop(value.splice(at.clone(), f64::NAN.to_le_bytes())),
            (Spoiled::Nan, _) => drop(value.splice(at.clone(), *b"NaN")),
            (_, Format::Json) if field.kind != Kind::Text => {
                drop(value.splice(at.clone(), format!("\"{WORD}\"").into_bytes()));
            }
            (_, Format::Json) => drop(value.splice(at.clone(), *b"404")),
            (_, _) => drop(value.splice(at.clone(), WORD.bytes())),
        }
    }

    fn spans(&self, value: &[u8]) -> Vec<Span> {
        spans(self.format, &self.fields, self.prefix, value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn corrupter(corruption: &str, source: Source, encoding: &Encoding) -> Corrupter {
        let shares = corruption.parse::<Corruption>().unwrap().shares(source, encoding.format).unwrap();
        Corrupter::new(shares, source, encoding, 11, 0)
    }

    #[test]
    fn shares_are_given_for_all_or_by_kind() {
        let even = "7%".parse::<Corruption>().unwrap().shares(Source::Iris, Format::Json).unwrap();
        assert!(even.iter().all(|share| (share.of() - 0.01).abs() < 1e-12), "{even:?}");
        let some = "nan=1%, empty=0.5%".parse::<Corruption>().unwrap().shares(Source::Iris, Format::Json).unwrap();
        assert_eq!(some.map(|share| share.to_string()), ["0%", "0%", "0%", "0%", "1%", "0%", "0.5%"]);
        for (text, told) in [
            ("2", "no share"),
            ("broken=1%", "truncated, wrong_type"),
            ("nan=1%,empty", "no kind"),
            ("nan=60%,empty=50%", "more than 100%"),
            ("nan=x", "no share"),
        ] {
            let refused = text.parse::<Corruption>().unwrap_err();
            assert!(refused.contains(told), "{text}: {refused}");
        }
    }

    #[test]
    fn what_a_format_can_not_be_is_refused_or_left_out() {
        let refused =
            |text: &str, source, format| text.parse::<Corruption>().unwrap().shares(source, format).unwrap_err();
        assert!(refused("missing_field=1%", Source::Sensors, Format::Avro).contains("--format json"));
        assert!(refused("nan=1%", Source::Posts, Format::Csv).contains("all text"));
        let even = "4%".parse::<Corruption>().unwrap().shares(Source::Posts, Format::Avro).unwrap();
        assert_eq!(even.map(|share| share.to_string()), ["1%", "0%", "0%", "1%", "0%", "1%", "1%"]);
    }

    /// Within a tenth, of 200,000 records.
    #[test]
    fn the_shares_hold() {
        let text = "truncated=1%,wrong_type=2%,missing_field=1.5%,not_json=1%,nan=0.5%,empty=3%";
        let (source, encoding) = (Source::Iris, Encoding::json(false));
        let mut corrupter = corrupter(text, source, &encoding);
        let mut counts = BTreeMap::<&str, f64>::new();
        let mut record = vec![];
        encoding.push(&mut source.stream(1, 0), &mut record);
        for _ in 0..200_000 {
            if let Some(kind) = corrupter.pass(&mut record.clone()) {
                *counts.entry(kind.name()).or_default() += 1.0 / 2_000.0;
            }
        }
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap();
            let wanted: f64 = share.trim_end_matches('%').parse().unwrap();
            assert!((counts[name] - wanted).abs() < 0.1 * wanted, "{name}: {counts:?}");
        }
        assert_eq!(counts.len(), 6);
    }

    #[test]
    fn a_broken_record_is_broken_in_every_format() {
        for source in Source::ALL {
            for encoding in [Encoding::json(true), Encoding::csv(true), Encoding::avro(source, true).unwrap()] {
                let fields = fields::of_records(source, true);
                let mut corrupter = corrupter("0%", source, &encoding);
                let mut stream = source.stream(1, 0);
                for kind in Spoiled::ALL.into_iter().filter(|kind| kind.is_possible(&fields, encoding.format)) {
                    let mut sound = vec![];
                    encoding.push(&mut stream, &mut sound);
                    let mut broken = sound.clone();
                    corrupter.spoil(kind, &mut broken);
                    assert_ne!(broken, sound, "{} {kind:?}", source.name());
                    assert_eq!(broken.is_empty(), kind == Spoiled::Empty);
                    assert_eq!(broken.len() > 1 << 20, kind == Spoiled::Oversized);
                    if kind == Spoiled::Truncated {
                        assert!(sound.starts_with(&broken) && broken.len() < sound.len());
                    }
                }
            }
        }
    }
}
