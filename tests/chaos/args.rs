//! What the user typed: which rounds, with which program.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::plan::{Name, Place, Share};

/// Play rounds of kills, stops and outages against the real program
///
/// In each round one to three workers score the same topic into the same lake, while the schedule of its seed befalls
/// them: kill -9, SIGSTOP until others have done their work, SIGTERM, a broker that dies, hangs, or whose answers are
/// cut off or lost, a store that refuses, resets or never answers. Then one worker runs to the end, and the audit, a
/// reader of our own and DuckDB (if there is one) hold the lake against what was sent and acknowledged: none lost, none
/// doubled, none unexplained, rejects byte for byte. Readers that looked all the while must have seen no offset twice
/// and nothing that was gone later.
///
/// In rounds of a group, the workers share the topic by a consumer group instead, and come and go more often.
///
/// Exits with 1 if a round fails; its folder stays, and the line that plays it again is printed.
#[derive(Debug, Parser)]
#[command(
    name = "chaos",
    max_term_width = 110,
    after_help = "\
Examples:
  cargo test --test chaos -- --local 20 --s3 10
  cargo test --test chaos -- --groups 5
  cargo test --test chaos -- --round s3-5eed
  cargo test --test chaos -- --soak 1h --program target/release/alluvium
  cargo test --test chaos -- --seed 7 --rounds 300 --program target/release/alluvium --report chaos.json"
)]
pub struct Args {
    /// From which all rounds' own seeds are drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many rounds have their lake in a local folder; without any such number, there are two, one on S3 and one of
    /// a group
    #[arg(long, value_name = "N")]
    local: Option<usize>,
    /// How many rounds have their lake on S3
    #[arg(long, value_name = "N")]
    s3: Option<usize>,
    /// How many rounds have workers that share the topic by a consumer group; their lake is in a local folder
    #[arg(long, value_name = "N")]
    groups: Option<usize>,
    /// How many rounds have workers with fixed shares of the topic; their lake is in a local folder
    #[arg(long, value_name = "N")]
    fixed: Option<usize>,
    /// How many rounds in all, two thirds of them local
    #[arg(long, value_name = "N", conflicts_with_all = ["local", "s3", "groups", "fixed"])]
    rounds: Option<usize>,
    /// Play this round alone, by the name that its line begins with; may be given several times
    #[arg(long, value_name = "NAME")]
    round: Vec<Name>,
    /// Play no rounds but one long one: two rivals under a steady load, one of them killed every minute, and what the
    /// other one takes of memory and file descriptors, such as `1h`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub soak: Option<Duration>,
    /// Another build of the program
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// A broker that runs already; it is neither killed nor cut off
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Write the figures there, as JSON
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Where the rounds have their folders; the system's temporary folder if not given
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
    /// Leave every round's folder where it is, and not only those of rounds that failed
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    libtest: Libtest,
}

/// What `cargo test` may hand to every test program.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "they are libtest's")]
struct Libtest {
    #[arg(hide = true)]
    filters: Vec<String>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    color: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
}

impl Args {
    /// Whether `cargo test` was asked for other tests.
    pub fn is_left_out(&self) -> bool {
        let libtest = &self.libtest;
        let meant = |filter: &String| "chaos".contains(filter.as_str());
        libtest.list
            || libtest.ignored
            || libtest.skip.iter().any(meant)
            || !(libtest.filters.is_empty() || libtest.filters.iter().any(meant))
    }

    /// The rounds to play; places take turns, so that a campaign cut short has some of each.
    pub fn names(&self) -> Vec<Name> {
        if !self.round.is_empty() {
            return self.round.clone();
        }
        let [local, s3, groups, fixed] = self.counts();
        let mut dice = ChaCha8Rng::seed_from_u64(self.seed);
        let mut all: Vec<_> = (1..=local + s3)
            .map(|n| {
                let on_s3 = n * s3 / (local + s3) > (n - 1) * s3 / (local + s3);
                drawn(&mut dice, if on_s3 { Place::S3 } else { Place::Local }, Share::All)
            })
            .collect();
        for (stream, count, share) in [(1, groups, Share::Group), (2, fixed, Share::Worker)] {
            // Dice of their own: the same rounds, whatever else is played.
            let mut dice = ChaCha8Rng::seed_from_u64(self.seed);
            dice.set_stream(stream);
            all.extend((0..count).map(|_| drawn(&mut dice, Place::Local, share)));
        }
        all
    }

    /// How many rounds with a local lake, on S3, of groups, and of fixed shares.
    fn counts(&self) -> [usize; 4] {
        let given = [self.local, self.s3, self.groups, self.fixed];
        match self.rounds {
            Some(rounds) => [rounds - rounds / 3, rounds / 3, 0, 0],
            None if given == [None; 4] => [2, 1, 1, 0],
            None => given.map(Option::unwrap_or_default),
        }
    }

    pub fn program(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_alluvium").into())
    }

    /// A new folder for the rounds.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        let within = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix("alluvium-chaos-").tempdir_in(&within);
        Ok(made.with_context(|| format!("make a folder in {}", within.display()))?.keep())
    }
}

fn drawn(dice: &mut ChaCha8Rng, place: Place, share: Share) -> Name {
    Name { place, share, seed: u64::from(dice.random::<u32>()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = [("h", 3600), ("m", 60), ("s", 1)].into_iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(seconds)
    });
    seconds.map(Duration::from_secs).ok_or_else(|| "write it as 90s, 10m or 1h".into())
}
