//! `where`: which scored rows are sent. A small language of comparisons.
//!
//! ```text
//! prediction = "fraud" and confidence >= 0.9
//! prediction in ("fraud", "doubt") or not (amount < 1000)
//! country is not null and `a name` != "x"
//! ```
//!
//! Owns: reading it, with the place of what is wrong, and asking it of rows. As in SQL, a comparison with null is neither
//! true nor false, and only what is true is sent.

use std::fmt;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Datum, Float32Array, Float64Array, Int64Array, RecordBatch, Scalar, StringArray,
    },
    compute::{and_kleene, cast, filter_record_batch, is_not_null, is_null, kernels::cmp, not, or_kleene},
    datatypes::DataType,
    error::ArrowError,
};

use crate::record::{Field, FieldKind};

/// Of a condition, in characters and in parentheses inside each other.
const CONDITION_CHARS_MAX: usize = 2000;
const CONDITION_DEPTH_MAX: usize = 32;

/// A condition that was read against the columns that there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    term: Term,
}

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// In bytes, from the text's begin.
    pub at: usize,
    pub reason: String,
    /// A name that may be meant.
    pub meant: Option<String>,
}

/// What columns there are.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub fields: &'a [Field],
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Any(Vec<Term>),
    All(Vec<Term>),
    Not(Box<Term>),
    Compare { column: String, how: Comparison, value: Literal },
    Null { column: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Other,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
}

/// What a column can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    Time,
}

impl Condition {
    pub fn parse(text: &str, known: Known<'_>) -> Result<Self, Misread> {
        if text.chars().count() > CONDITION_CHARS_MAX {
            return Err(Misread::new(0, format!("it is longer than {CONDITION_CHARS_MAX} characters")));
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, end: text.len(), known, depth: 0 };
        let term = parser.any()?;
        match parser.peek() {
            None => Ok(Self { text: text.to_owned(), term }),
            Some((at, token)) => Err(Misread::new(*at, format!("`and` or `or` is missing before {token}"))),
        }
    }

    /// Those of the rows of which it is true.
    pub fn select(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        filter_record_batch(rows, &self.term.ask(rows)?)
    }

    /// The first class that it names and the model does not know.
    #[must_use]
    pub fn unknown_class(&self, classes: &[String]) -> Option<String> {
        self.term.unknown_class(classes)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Misread {
    fn new(at: usize, reason: impl Into<String>) -> Self {
        Self { at, reason: reason.into(), meant: None }
    }
}

impl Term {
    fn ask(&self, rows: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let all = |terms: &[Self], join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, ArrowError>| {
            let mut asked = terms.iter().map(|term| term.ask(rows));
            let first = asked.next().unwrap_or_else(|| Ok(BooleanArray::new_null(rows.num_rows())))?;
            asked.try_fold(first, |joined, next| join(&joined, &next?))
        };
        match self {
            Self::Any(terms) => all(terms, or_kleene),
            Self::All(terms) => all(terms, and_kleene),
            Self::Not(term) => not(&term.ask(rows)?),
            // An older file may lack the column.
            Self::Null { column } => match rows.column_by_name(column) {
                Some(values) => is_null(values),
                None => not(&is_not_null(&BooleanArray::new_null(rows.num_rows()))?),
            },
            Self::Compare { column, how, value } => match rows.column_by_name(column) {
                Some(values) => value.compare(values, *how),
                None => Ok(BooleanArray::new_null(rows.num_rows())),
            },
        }
    }

    fn unknown_class(&self, classes: &[String]) -> Option<String> {
        match self {
            Self::Any(terms) | Self::All(terms) => terms.iter().find_map(|term| term.unknown_class(classes)),
            Self::Not(term) => term.unknown_class(classes),
            Self::Compare { column, value: Literal::Text(class), .. } if column == "prediction" => {
                (!classes.contains(class)).then(|| class.clone())
            }
            Self::Compare { column, .. } | Self::Null { column } => {
                let class = column.strip_prefix("p_")?;
                (!classes.iter().any(|known| known == class)).then(|| class.to_owned())
            }
        }
    }
}

impl Literal {
    fn compare(&self, values: &ArrayRef, how: Comparison) -> Result<BooleanArray, ArrowError> {
        let ask = |values: &dyn Datum, literal: &dyn Datum| match how {
            Comparison::Equal => cmp::eq(values, literal),
            Comparison::Other => cmp::neq(values, literal),
            Comparison::Less => cmp::lt(values, literal),
            Comparison::LessOrEqual => cmp::lt_eq(values, literal),
            Comparison::More => cmp::gt(values, literal),
            Comparison::MoreOrEqual => cmp::gt_eq(values, literal),
        };
        let to = |kind: &DataType| cast(values, kind);
        match (self, values.data_type()) {
            (Self::Text(text), _) => ask(&to(&DataType::Utf8)?, &Scalar::new(StringArray::from(vec![text.as_str()]))),
            (Self::Flag(flag), _) => ask(&to(&DataType::Boolean)?, &Scalar::new(BooleanArray::from(vec![*flag]))),
            (Self::Whole(number), DataType::Int32 | DataType::Int64) => {
                ask(&to(&DataType::Int64)?, &Scalar::new(Int64Array::from(vec![*number])))
            }
            // So that 0.9 is the column's own 0.9.
            (Self::Whole(_) | Self::Number(_), DataType::Float32) => {
                #[expect(clippy::cast_possible_truncation, reason = "to the column's own precision")]
                let number = self.number() as f32;
                ask(values, &Scalar::new(Float32Array::from(vec![number])))
            }
            (Self::Whole(_) | Self::Number(_), _) => {
                ask(&to(&DataType::Float64)?, &Scalar::new(Float64Array::from(vec![self.number()])))
            }
        }
    }

    fn number(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "compared with floats")]
            Self::Whole(number) => *number as f64,
            Self::Number(number) => *number,
            Self::Text(_) | Self::Flag(_) => f64::NAN,
        }
    }

    fn fits(&self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (Self::Text(_), Kind::Text)
                | (Self::Flag(_), Kind::Flag)
                | (Self::Whole(_) | Self::Number(_), Kind::Number)
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text in quotes",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Time => "nothing: a time can only be null or not",
        })
    }
}

impl Known<'_> {
    fn kind(&self, name: &str) -> Option<Kind> {
        if name == "prediction" {
            return Some(Kind::Text);
        }
        if name == "confidence" || name.starts_with("p_") {
            return Some(Kind::Number);
        }
        let field = self.fields.iter().find(|field| field.name == name)?;
        Some(match field.kind {
            FieldKind::Int32 | FieldKind::Int64 | FieldKind::Float32 | FieldKind::Float64 => Kind::Number,
            FieldKind::Bool => Kind::Flag,
            FieldKind::String => Kind::Text,
            FieldKind::Timestamp(_) | FieldKind::Date => Kind::Time,
        })
    }

    fn closest(&self, name: &str) -> Option<String> {
        let names = self.fields.iter().map(|field| field.name.as_str()).chain(["prediction", "confidence"]);
        let alike = names.map(|known| (strsim::jaro_winkler(name, known), known)).filter(|(alike, _)| *alike > 0.8);
        alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known.to_owned())
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    /// In backticks: a column, whatever it is called.
    Column(String),
    Value(Literal),
    Sign(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Column(name) => write!(f, "the column {name:?}"),
            Self::Value(Literal::Text(text)) => write!(f, "{text:?}"),
            Self::Value(Literal::Whole(number)) => write!(f, "{number}"),
            Self::Value(Literal::Number(number)) => write!(f, "{number}"),
            Self::Value(Literal::Flag(flag)) => write!(f, "{flag}"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
        }
    }
}

const SIGNS: [&str; 11] = ["<=", ">=", "!=", "<>", "==", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Misread> {
    let (mut read, mut rest) = (vec![], text);
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(read) };
        let (token, length) = if matches!(first, '"' | '\'' | '`') {
            let inside = rest.get(1..).unwrap_or_default();
            let end = inside.find(first).ok_or_else(|| Misread::new(at, format!("{first} has no second one")))?;
            let inside = inside.get(..end).unwrap_or_default().to_owned();
            let token = if first == '`' { Token::Column(inside) } else { Token::Value(Literal::Text(inside)) };
            (token, end + 2)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "\"'`<>=!(),".contains(c)).unwrap_or(rest.len());
            let word = rest.get(..end).filter(|word| !word.is_empty());
            let word = word.ok_or_else(|| Misread::new(at, format!("{first:?} means nothing here")))?;
            (self::word(at, word)?, end)
        };
        read.push((at, token));
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn word(at: usize, word: &str) -> Result<Token, Misread> {
    let numeric = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if !numeric {
        return Ok(match word.to_lowercase().as_str() {
            "true" => Token::Value(Literal::Flag(true)),
            "false" => Token::Value(Literal::Flag(false)),
            _ => Token::Name(word.to_owned()),
        });
    }
    let digits = word.replace('_', "");
    if let Ok(whole) = digits.parse() {
        return Ok(Token::Value(Literal::Whole(whole)));
    }
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Token::Value(Literal::Number(number))),
        _ => Err(Misread::new(at, format!("{word:?} is not a number"))),
    }
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    end: usize,
    known: Known<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a (usize, Token)> {
        self.tokens.get(self.at)
    }

    fn place(&self) -> usize {
        self.peek().map_or(self.end, |(at, _)| *at)
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some((_, Token::Name(name))) if name.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some((_, Token::Sign(found))) if *found == sign);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Term, Misread> {
        let mut terms = vec![self.all()?];
        while self.takes_word("or") {
            terms.push(self.all()?);
        }
        Ok(one_or(terms, Term::Any))
    }

    fn all(&mut self) -> Result<Term, Misread> {
        let mut terms = vec![self.single()?];
        while self.takes_word("and") {
            terms.push(self.single()?);
        }
        Ok(one_or(terms, Term::All))
    }

    fn single(&mut self) -> Result<Term, Misread> {
        let at = self.place();
        self.depth += 1;
        if self.depth > CONDITION_DEPTH_MAX {
            return Err(Misread::new(at, "too many parentheses inside each other"));
        }
        let term = if self.takes_word("not") {
            Term::Not(Box::new(self.single()?))
        } else if self.takes_sign("(") {
            let inside = self.any()?;
            if !self.takes_sign(")") {
                return Err(Misread::new(self.place(), "a \")\" is missing"));
            }
            inside
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(term)
    }

    fn comparison(&mut self) -> Result<Term, Misread> {
        let (at, column) = self.column()?;
        let Some(kind) = self.known.kind(&column) else {
            let meant = self.known.closest(&column);
            return Err(Misread { meant, ..Misread::new(at, format!("there is no column {column:?}")) });
        };
        if self.takes_word("is") {
            let not = self.takes_word("not");
            if !self.takes_word("null") {
                return Err(Misread::new(self.place(), "`null` is missing after `is`"));
            }
            let null = Term::Null { column };
            return Ok(if not { Term::Not(Box::new(null)) } else { null });
        }
        let not = self.takes_word("not");
        if self.takes_word("in") {
            let among = self.among(&column, kind)?;
            return Ok(if not { Term::Not(Box::new(among)) } else { among });
        }
        let how = if not { None } else { self.sign() };
        let Some(how) = how else {
            return Err(Misread::new(self.place(), format!("=, !=, <, <=, >, >=, in or is is missing after {column}")));
        };
        let value = self.value(&column, kind)?;
        Ok(Term::Compare { column, how, value })
    }

    fn column(&mut self) -> Result<(usize, String), Misread> {
        let at = self.place();
        let name = match self.peek() {
            Some((_, Token::Name(name) | Token::Column(name))) => name.clone(),
            Some((_, token)) => return Err(Misread::new(at, format!("a column's name is missing before {token}"))),
            None => return Err(Misread::new(at, "a column's name is missing")),
        };
        self.at += 1;
        Ok((at, name))
    }

    fn sign(&mut self) -> Option<Comparison> {
        let Some((_, Token::Sign(sign))) = self.peek() else { return None };
        let how = match *sign {
            "=" | "==" => Comparison::Equal,
            "!=" | "<>" => Comparison::Other,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::More,
            ">=" => Comparison::MoreOrEqual,
            _ => return None,
        };
        self.at += 1;
        Some(how)
    }

    fn among(&mut self, column: &str, kind: Kind) -> Result<Term, Misread> {
        if !self.takes_sign("(") {
            return Err(Misread::new(self.place(), "a \"(\" is missing after `in`"));
        }
        let mut terms = vec![];
        loop {
            let value = self.value(column, kind)?;
            terms.push(Term::Compare { column: column.to_owned(), how: Comparison::Equal, value });
            if self.takes_sign(")") {
                return Ok(one_or(terms, Term::Any));
            }
            if !self.takes_sign(",") {
                return Err(Misread::new(self.place(), "a \",\" or a \")\" is missing"));
            }
        }
    }

    fn value(&mut self, column: &str, kind: Kind) -> Result<Literal, Misread> {
        let at = self.place();
        let takes = || Misread::new(at, format!("{column} is compared with {kind}"));
        let Some((_, Token::Value(value))) = self.peek() else { return Err(takes()) };
        if !value.fits(kind) {
            return Err(takes());
        }
        self.at += 1;
        Ok(value.clone())
    }
}

fn one_or(mut terms: Vec<Term>, several: impl Fn(Vec<Term>) -> Term) -> Term {
    if terms.len() == 1 { terms.swap_remove(0) } else { several(terms) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::AsArray, datatypes::Int64Type};
    use proptest::prelude::*;

    use super::*;

    fn fields() -> Vec<Field> {
        let field = |name: &str, kind| Field { name: name.into(), kind, nullable: true, path: vec![name.into()] };
        vec![
            field("id", FieldKind::Int64),
            field("amount", FieldKind::Float64),
            field("country", FieldKind::String),
            field("is it", FieldKind::Bool),
            field("day", FieldKind::Date),
        ]
    }

    fn rows() -> RecordBatch {
        let columns: [(&str, ArrayRef); 6] = [
            ("id", Arc::new(Int64Array::from(vec![0, 1, 2, 3]))),
            ("amount", Arc::new(Float64Array::from(vec![Some(5.0), Some(1500.5), None, Some(-1.0)]))),
            ("country", Arc::new(StringArray::from(vec![Some("CH"), None, Some("AT"), Some("CH")]))),
            ("is it", Arc::new(BooleanArray::from(vec![true, false, true, false]))),
            ("prediction", Arc::new(StringArray::from(vec!["fraud", "fraud", "genuine", "doubt"]))),
            ("confidence", Arc::new(Float32Array::from(vec![0.9, 0.5, 0.99, 0.4]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn selected(text: &str) -> Vec<i64> {
        let fields = fields();
        let condition = Condition::parse(text, Known { fields: &fields }).unwrap_or_else(|error| panic!("{error:?}"));
        let selected = condition.select(&rows()).unwrap();
        selected.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn a_condition_selects_the_rows_of_which_it_is_true() {
        for (text, expected) in [
            ("prediction = \"fraud\" and confidence >= 0.9", vec![0]),
            ("prediction = 'fraud' or confidence < 0.45", vec![0, 1, 3]),
            ("not prediction in ('fraud', 'doubt')", vec![2]),
            ("prediction not in ('fraud', 'doubt')", vec![2]),
            ("amount > 1_000", vec![1]),
            ("not amount > 1000", vec![0, 3]),
            ("amount is null", vec![2]),
            ("country is not null and (id >= 2 or amount = 5)", vec![0, 2, 3]),
            ("id != 2.0 and id <= 2.5", vec![0, 1]),
            ("`is it` = true", vec![0, 2]),
            ("day is null", vec![0, 1, 2, 3]),
            ("p_fraud > 0.5", vec![]),
        ] {
            assert_eq!(selected(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, at, told) in [
            ("", 0, "a column's name is missing"),
            ("confidense > 1", 0, "there is no column"),
            ("confidence >", 12, "confidence is compared with a number"),
            ("confidence > \"x\"", 13, "confidence is compared with a number"),
            ("confidence 0.9", 11, "is missing after confidence"),
            ("id = 1 country = 'CH'", 7, "`and` or `or` is missing before `country`"),
            ("(id = 1", 7, "a \")\" is missing"),
            ("id = 1 and", 10, "a column's name is missing"),
            ("country = 'CH", 10, "' has no second one"),
            ("day = '2026-01-01'", 6, "a time can only be null or not"),
            ("id in 1", 6, "a \"(\" is missing after `in`"),
            ("id = 1e999", 5, "is not a number"),
            ("id = 1 ! 2", 7, "'!' means nothing here"),
        ] {
            let fields = fields();
            let error = Condition::parse(text, Known { fields: &fields }).unwrap_err();
            assert!(error.at == at && error.reason.contains(told), "{text}: {error:?}");
        }
        let fields = fields();
        let meant = Condition::parse("confidense > 1", Known { fields: &fields }).unwrap_err().meant;
        assert_eq!(meant.as_deref(), Some("confidence"));
    }

    #[test]
    fn a_class_that_the_model_does_not_know_is_found() {
        let fields = fields();
        let condition = |text| Condition::parse(text, Known { fields: &fields }).unwrap();
        let classes = ["fraud".to_owned(), "genuine".to_owned()];
        let unknown = |text| condition(text).unknown_class(&classes);
        assert_eq!(unknown("not (prediction = 'fraud' and p_genuine > 0)"), None);
        assert_eq!(unknown("id = 1 or prediction in ('fraud', 'frode')").as_deref(), Some("frode"));
        assert_eq!(unknown("p_x > 0").as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_a_fault_in_it(
            text in "\\PC*|((id|amount|country|and|or|not|in|is|null|\\(|\\)|=|<=|'x'|1|0.5|,) ?){0,40}|[(]{0,200}"
        ) {
            let fields = fields();
            match Condition::parse(&text, Known { fields: &fields }) {
                Ok(condition) => prop_assert!(condition.select(&rows()).is_ok()),
                Err(error) => prop_assert!(error.at <= text.len() && text.is_char_boundary(error.at)),
            }
        }
    }
}
