//! Which columns to learn from, and as what: what a person asked for, and what the survey suggests for the rest.

use super::{Column, ColumnKind};
use crate::{
    model::features::did_you_mean,
    table::{self, ColumnSurvey, DISTINCT_MAX, Found, Holds, Survey},
};

/// Different words of a categorical column; one with more says too little about any of them.
const VOCABULARY_MAX: usize = DISTINCT_MAX;

/// Words in a row's text, on average, from which on it is text and no mere name.
const TEXT_WORDS_MIN: f64 = 3.0;

/// In so few rows, whole numbers may all be different by chance.
const UNIQUE_ROWS_MIN: u64 = 20;

/// What a person asks of the columns. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub label: String,
    /// Learn from these alone.
    pub features: Vec<String>,
    pub ignore: Vec<String>,
    pub numeric: Vec<String>,
    pub boolean: Vec<String>,
    pub categorical: Vec<String>,
    pub text: Vec<String>,
}

/// The columns that a survey is to look at, as indices into the table's.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) label: usize,
    pub(super) label_name: String,
    pub(super) surveyed: Vec<usize>,
    /// Of these, the ones that hold words, whatever they look like.
    pub(super) as_words: Vec<usize>,
    /// The others, and why they are left out.
    refused: Vec<(usize, String)>,
}

/// What became of the columns.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) columns: Vec<Column>,
    pub(super) features: Vec<(String, ColumnKind, bool)>,
    pub(super) wanted: Vec<usize>,
}

impl Columns {
    /// Sorts out what needs no look at the rows. The error is about what was asked.
    pub(super) fn candidates(&self, columns: &[table::Column]) -> Result<Candidates, String> {
        let label = find(columns, &self.label, "the label column")?;
        self.check(columns)?;
        let is_scored = columns.iter().any(|column| column.name == "_offset");
        let mut candidates = Candidates {
            label,
            label_name: self.label.clone(),
            surveyed: Vec::new(),
            as_words: Vec::new(),
            refused: Vec::new(),
        };
        for (index, column) in columns.iter().enumerate().filter(|(index, _)| *index != label) {
            if let Some(why) = self.refusal(column, is_scored)? {
                candidates.refused.push((index, why));
                continue;
            }
            candidates.surveyed.push(index);
            if matches!(self.kind_asked(&column.name), Some(ColumnKind::Categorical | ColumnKind::Text)) {
                candidates.as_words.push(index);
            }
        }
        match columns.get(label).map(|column| &column.holds) {
            Some(Holds::Other(what)) => Err(format!("the label column `{}` is {what}, and no class", self.label)),
            _ => Ok(candidates),
        }
    }

    /// Every column that is named is there, and nothing is asked of one that can't be.
    fn check(&self, columns: &[table::Column]) -> Result<(), String> {
        let kinds = [&self.numeric, &self.boolean, &self.categorical, &self.text];
        let learned = self.features.iter().chain(kinds.into_iter().flatten());
        for name in learned.clone().chain(&self.ignore) {
            find(columns, name, "the column")?;
        }
        for name in learned {
            if *name == self.label {
                return Err(format!("the column `{name}` is the label, and can't be learned from as well"));
            }
            if self.ignore.contains(name) {
                return Err(format!("the column `{name}` is to be ignored, and to be learned from as well"));
            }
            if kinds.iter().filter(|names| names.contains(name)).count() > 1 {
                return Err(format!("the column `{name}` is asked for as two kinds"));
            }
        }
        Ok(())
    }

    /// Why a column is left out whatever it holds.
    fn refusal(&self, column: &table::Column, is_scored: bool) -> Result<Option<String>, String> {
        let name = &column.name;
        if self.ignore.contains(name) || !(self.features.is_empty() || self.features.contains(name)) {
            return Ok(Some("as asked".to_owned()));
        }
        let is_asked = self.asks_for(name);
        if is_scored && is_the_lakes_own(name) && !is_asked {
            return Ok(Some("the lake's own; --features asks for it".to_owned()));
        }
        match &column.holds {
            Holds::Other(what) if is_asked => {
                Err(format!("the column `{name}` is {what}, which can't be learned from"))
            }
            Holds::Other(what) => Ok(Some(format!("{what}, which can't be learned from"))),
            Holds::Cells | Holds::Typed(_) if name.is_empty() => Ok(Some("it has no name".to_owned())),
            Holds::Cells | Holds::Typed(_) => Ok(None),
        }
    }

    fn asks_for(&self, name: &String) -> bool {
        self.features.contains(name) || self.kind_asked(name).is_some()
    }

    fn kind_asked(&self, name: &str) -> Option<ColumnKind> {
        let kinds = [
            (&self.numeric, ColumnKind::Numeric),
            (&self.boolean, ColumnKind::Boolean),
            (&self.categorical, ColumnKind::Categorical),
            (&self.text, ColumnKind::Text),
        ];
        kinds.into_iter().find(|(names, _)| names.iter().any(|asked| asked == name)).map(|(_, kind)| kind)
    }

    /// Makes of each column what was asked for, or else what the survey suggests.
    pub(super) fn settle(
        &self,
        columns: &[table::Column],
        candidates: Candidates,
        survey: &Survey,
    ) -> Result<Settled, String> {
        let mut outcomes: Vec<_> = candidates.refused.into_iter().map(|(index, why)| (index, Err(why))).collect();
        for (&index, found) in candidates.surveyed.iter().zip(survey.columns()) {
            let Some(column) = columns.get(index) else { continue };
            outcomes.push((index, self.outcome(&column.name, found, survey.rows())?.map(|kind| (kind, found))));
        }
        outcomes.sort_by_key(|(index, _)| *index);
        let mut settled = Settled::default();
        for (index, outcome) in outcomes {
            let Some(table::Column { name, .. }) = columns.get(index) else { continue };
            let (told, used) = match outcome {
                Ok((kind, found)) => {
                    settled.features.push((name.clone(), kind, found.missing() > 0));
                    settled.wanted.push(index);
                    (told(kind, found), true)
                }
                Err(why) => (format!("left out: {why}"), false),
            };
            settled.columns.push(Column { name: name.clone(), told, used });
        }
        Ok(settled)
    }

    /// The outer error is about what was asked; the inner says why a column is of no use.
    fn outcome(&self, name: &String, found: &ColumnSurvey, rows: u64) -> Result<Result<ColumnKind, String>, String> {
        if let Some(kind) = self.kind_asked(name) {
            let fit = fits(kind, found)
                .map_err(|fault| format!("the column `{name}` is asked for as {}, and {fault}", kind.name()));
            fit?;
        }
        if found.found() == Found::Nothing {
            return Ok(Err("it is empty".to_owned()));
        }
        if found.distinct().is_some_and(|count| count < 2) {
            return Ok(Err("every row is alike".to_owned()));
        }
        if let Some(kind) = self.kind_asked(name) {
            return Ok(Ok(kind));
        }
        Ok(inferred(found, rows, self.features.contains(name)))
    }
}

/// What a column is taken for that nobody named a kind for.
fn inferred(found: &ColumnSurvey, rows: u64, is_wanted: bool) -> Result<ColumnKind, String> {
    match found.found() {
        Found::Booleans => Ok(ColumnKind::Boolean),
        Found::Words => words(found, rows, is_wanted),
        Found::Nothing | Found::Numbers => {
            if let Some(row) = found.infinite() {
                return Err(format!("{row} is infinite"));
            }
            if !is_wanted && found.counts_up() {
                return Err("it numbers the rows".to_owned());
            }
            if !is_wanted && rows >= UNIQUE_ROWS_MIN && found.is_unique() {
                return Err("whole numbers, and every row's is different; --numeric asks for it".to_owned());
            }
            Ok(ColumnKind::Numeric)
        }
    }
}

fn words(found: &ColumnSurvey, rows: u64, is_wanted: bool) -> Result<ColumnKind, String> {
    let spoiler = found.spoiler().map_or_else(String::new, |spoiler| format!("; {spoiler}"));
    let repeats_little = found.distinct().is_none_or(|count| 2 * count as u64 > rows);
    if repeats_little && found.words_mean() >= TEXT_WORDS_MIN {
        return Ok(ColumnKind::Text);
    }
    match found.distinct() {
        _ if found.is_unique() && !is_wanted => Err(format!("text, and every row's is different{spoiler}")),
        None => Err(format!("text of more than {VOCABULARY_MAX} different values; --text asks for it{spoiler}")),
        Some(_) => Ok(ColumnKind::Categorical),
    }
}

/// What keeps a column from being what was asked.
fn fits(kind: ColumnKind, found: &ColumnSurvey) -> Result<(), String> {
    let spoiler = || found.spoiler().unwrap_or("it holds words").to_owned();
    match (kind, found.found()) {
        (ColumnKind::Numeric | ColumnKind::Boolean, Found::Words) => Err(spoiler()),
        (ColumnKind::Numeric, Found::Booleans) => Err("it holds true and false".to_owned()),
        (ColumnKind::Boolean, Found::Numbers) => Err("it holds numbers; true and false are wanted".to_owned()),
        (ColumnKind::Numeric, _) => found.infinite().map_or(Ok(()), |row| Err(format!("{row} is infinite"))),
        (ColumnKind::Categorical, _) if found.distinct().is_none() => {
            Err(format!("it has more than {VOCABULARY_MAX} different values; --text makes something of these too"))
        }
        _ => Ok(()),
    }
}

fn told(kind: ColumnKind, found: &ColumnSurvey) -> String {
    let missing = match found.missing() {
        0 => String::new(),
        missing => format!(", {missing} missing"),
    };
    let more = match (kind, found.distinct()) {
        (ColumnKind::Categorical, Some(count)) => format!(", {count} words"),
        (ColumnKind::Text, _) => format!(", {:.1} words on average", found.words_mean()),
        _ => String::new(),
    };
    let spoiler = found.spoiler().map_or_else(String::new, |spoiler| format!("; {spoiler}"));
    format!("{}{missing}{more}{spoiler}", kind.name())
}

/// The columns that a scored row has beside its own.
fn is_the_lakes_own(name: &str) -> bool {
    name.starts_with('_') || name.starts_with("p_") || name == "prediction" || name == "confidence"
}

fn find(columns: &[table::Column], name: &str, what: &str) -> Result<usize, String> {
    columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let names = || columns.iter().map(|column| column.name.as_str());
        let hint = did_you_mean(name, names());
        format!("{what} `{name}` is not in the table, which has {}{hint}", names().collect::<Vec<_>>().join(", "))
    })
}
