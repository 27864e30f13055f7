//! `alluvium expire`

use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::Context;
use chrono::{DateTime, DurationRound, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;

use super::{Exit, Usage, flows, run, who};
use crate::{
    lake::{self, Expired, PartitionBy, Store},
    pipeline::Settings,
    telemetry::progress::{bytes, count},
};

const HOUR: &str = "%Y-%m-%dT%H";

/// Delete old data of a lake, by whole hours, and note it in the ledger
///
/// Deletes the scored and the rejected files of every hour (or day, where the lake has days) that ends before the date,
/// in all generations. A note in the ledger is made first: by it `alluvium audit` tells what was deleted by policy from
/// what was lost. The ledger itself stays, and a stream may run meanwhile. What is cut short, the next run finishes.
/// Dates are UTC, and are those of the folders: the time of the records. Rejects that have no time of their own are as old
/// as their commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  alluvium expire pipelines/iris.toml --before 90d --dry-run\n  \
        alluvium expire pipelines/iris.toml --before 2026-11-01 --reason \"kept for 90 days\"\n  \
        alluvium expire pipelines/iris.toml --before 90d --declare --reason \"the bucket's lifecycle rule\"")]
pub(super) struct Expire {
    /// The pipeline file that says where the lake is
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// A day (2026-11-01), an hour (2026-11-01T07), or an age (30d, 36h)
    #[arg(long, value_name = "DATE")]
    before: Before,
    /// One dataset alone: of the pipeline, or another of its lake, such as one that `alluvium rescore` wrote
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// Why; it is kept for ever
    #[arg(long, value_name = "TEXT", default_value = "old data")]
    reason: String,
    /// Only show what there is to delete
    #[arg(long, conflicts_with = "declare")]
    dry_run: bool,
    /// Delete nothing: note that the files are gone, or will go, by a lifecycle rule of the bucket
    #[arg(long)]
    declare: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Up to when, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Time(DateTime<Utc>),
    Age(TimeDelta),
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    dataset: String,
    before: DateTime<Utc>,
    did: Did,
    hours: usize,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    #[serde(flatten)]
    expired: Expired,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Did {
    Nothing,
    Deleted,
    Declared,
}

impl Expire {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        let before = self.before(&settings)?;
        let store = Store::open(&settings.lake.url).context("open the lake")?;
        let several = settings.flows.are_many() && self.dataset.is_none();
        let (mut reports, mut exit) = (vec![], Exit::Done);
        for flow in flows::chosen(&settings, &store, self.dataset.as_deref()).await? {
            let report = self.expire(&store, &flow.dataset, before).await?;
            if !report.expired.found.kept.is_empty() {
                exit = Exit::Failed;
            }
            if !self.json {
                let heading = if several { flows::heading(&settings, &flow) } else { String::new() };
                print!("{heading}{report}{}", if several { "\n" } else { "" });
            }
            reports.push(report);
        }
        flows::close(&reports, several, self.json)?;
        Ok(exit)
    }

    async fn expire(&self, store: &Store, dataset: &str, before: DateTime<Utc>) -> anyhow::Result<Report> {
        let writer = who();
        let expire = lake::Expire { store, dataset, before, reason: &self.reason, writer: &writer };
        let (did, expired) = match (self.dry_run, self.declare) {
            (true, _) => (Did::Nothing, expire.survey().await?),
            (_, true) => (Did::Declared, expire.declare().await?),
            _ => (Did::Deleted, expire.delete().await?),
        };
        let hours = &expired.found.hours;
        let (first, last) = (hours.first().copied(), hours.last().copied());
        Ok(Report { dataset: dataset.into(), before, did, hours: hours.len(), first, last, expired })
    }

    /// A whole hour, or a whole day where the lake has days; what is not over yet is refused.
    fn before(&self, settings: &Settings) -> anyhow::Result<DateTime<Utc>> {
        let now = Utc::now();
        let asked = match self.before {
            Before::Time(time) => time,
            Before::Age(age) => {
                now.checked_sub_signed(age).ok_or_else(|| Usage("--before lies before all time".into()))?
            }
        };
        if asked > now {
            return Err(Usage(format!("--before {} lies in the future", asked.format(HOUR))).into());
        }
        let whole = match settings.lake.partition_by {
            PartitionBy::Hour => TimeDelta::hours(1),
            PartitionBy::Day => TimeDelta::days(1),
            PartitionBy::None => {
                let told = "the lake has `partition_by = \"none\"`: its files lie in no folders of dates, and so can't be told \
                            old from young";
                return Err(Usage(told.into()).into());
            }
        };
        asked.duration_trunc(whole).map_err(|error| Usage(format!("--before: {error}")).into())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.expired.found;
        if let Some((first, last)) = self.first.zip(self.last) {
            let (first, last) = (first.format(HOUR), last.format(HOUR));
            writeln!(f, "hours        {}, from {first} to {last}", count(self.hours as u64))?;
        }
        writeln!(f, "files        {}, {}", count(found.files), bytes(found.bytes))?;
        writeln!(f, "rows         {} scored, {} rejected", count(found.scored), count(found.rejected))?;
        if let Some(note) = &self.expired.note {
            writeln!(f, "note         {note}")?;
        }
        for kept in &found.kept {
            writeln!(f, "kept         {kept}")?;
        }
        let before = self.before.format(HOUR);
        match (self.did, self.expired.finished, found.files) {
            (Did::Nothing, 0, _) => writeln!(f, "nothing is deleted yet of what is before {before} (UTC)"),
            (Did::Nothing, ..) => {
                writeln!(
                    f,
                    "nothing is deleted yet of what is before {before} (UTC), or of what an earlier run had left undone"
                )
            }
            (Did::Declared, _, 0) => writeln!(f, "declared as gone: everything before {before} (UTC)"),
            (Did::Declared, ..) => {
                writeln!(f, "declared as gone: everything before {before} (UTC); the files above are still there")
            }
            (Did::Deleted, 0, 0) => writeln!(f, "there is nothing before {before} (UTC)"),
            (Did::Deleted, 0, _) => writeln!(f, "deleted: everything before {before} (UTC)"),
            (Did::Deleted, ..) => {
                writeln!(f, "deleted: everything before {before} (UTC), and what an earlier run had left undone")
            }
        }
    }
}

impl FromStr for Before {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let age = |suffix, hours| {
            let number: u32 = text.strip_suffix(suffix)?.parse().ok().filter(|&number| number > 0)?;
            TimeDelta::try_hours(i64::from(number) * hours)
        };
        let day = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
        let hour = || NaiveDateTime::parse_from_str(&format!("{text}:00"), "%Y-%m-%dT%H:%M").ok();
        let time = |time: NaiveDateTime| Self::Time(time.and_utc());
        age("d", 24)
            .or_else(|| age("h", 1))
            .map(Self::Age)
            .or_else(|| day().or_else(hour).map(time))
            .ok_or("write a day such as 2026-11-01, an hour such as 2026-11-01T07, or an age such as 30d or 36h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_an_hour_or_an_age() {
        let at = |text: &str| Before::Time(text.parse().unwrap());
        assert_eq!("2026-11-01".parse(), Ok(at("2026-11-01T00:00:00Z")));
        assert_eq!("2026-11-01T07".parse(), Ok(at("2026-11-01T07:00:00Z")));
        assert_eq!("30d".parse(), Ok(Before::Age(TimeDelta::days(30))));
        assert_eq!("36h".parse(), Ok(Before::Age(TimeDelta::hours(36))));
        for wrong in
            ["", "d", "0d", "-3d", "30", "30m", "2026-13-01", "2026-11-01T24", "2026-11-01T07:30", "99999999999d"]
        {
            assert!(wrong.parse::<Before>().is_err(), "{wrong}");
        }
    }
}
