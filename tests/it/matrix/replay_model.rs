//! Every order of steps there is, of two replays, a late publisher of the claim itself, and an expiry, with crashes and lost
//! answers: a model of `lake::revise`, searched through as a whole. To be changed first if the protocol changes.

use std::collections::{HashSet, VecDeque};

/// Records of the claim that are rejects: 0 and 1 in its first file of rejects, 2 in its second.
const FILES: [u8; 2] = [0b011, 0b100];
const ATTEMPTS: u8 = 2;
const CRASHES: u8 = 1;
/// Which records may pass: one of two, all of a file, both of these, all that there are.
const PASS: [u8; 4] = [0b001, 0b100, 0b101, 0b111];
/// The attempt that made the claim.
const CLAIM: u8 = 0;

/// Of a revision: which records became rows, and what each file holds now; unless it was left alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Revision {
    attempt: u8,
    rows: u8,
    files: [Option<u8>; 2],
}

/// What is staged, by attempt: rows, and what is to stand in the place of each file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Staged {
    rows: Option<u8>,
    files: [Option<u8>; 2],
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Idle,
    /// Knows so many revisions, and works through the steps of settling what they name.
    Settling {
        known: usize,
        step: u8,
    },
    /// What it read, file by file.
    Reading {
        known: usize,
        read: [Option<u8>; 2],
        next: usize,
    },
    Staged {
        known: usize,
        revision: Revision,
    },
    Unknown {
        known: usize,
        revision: Revision,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    revisions: Vec<Revision>,
    staged: Vec<Staged>,
    /// Files of rejects that readers see.
    visible: [Option<u8>; 2],
    /// Rows that readers see, by the attempt that made them.
    rows: Vec<(u8, u8)>,
    /// Whether the first file was deleted by policy.
    expired: bool,
    crashes: u8,
    replays: [Phase; 2],
    /// A writer that publishes the claim, wherever it stands: two steps for each file.
    opener: u8,
}

impl State {
    fn first() -> Self {
        let claim = Staged { rows: None, files: [Some(FILES[0]), Some(FILES[1])] };
        Self {
            revisions: vec![],
            staged: vec![claim],
            visible: [None, None],
            rows: vec![],
            expired: false,
            crashes: CRASHES,
            replays: [Phase::Idle, Phase::Idle],
            opener: 0,
        }
    }

    /// What a file holds by the claim and the first so many revisions; none if it is gone.
    fn held(&self, known: usize, file: usize) -> u8 {
        let mut words = self.revisions[..known].iter().filter_map(|revision| revision.files[file]);
        words.next_back().unwrap_or(FILES[file])
    }

    /// One step of publishing what an attempt staged for a file: the copy, then the delete of what is staged.
    fn publish(&mut self, attempt: u8, file: usize, half: u8) {
        let staged = &mut self.staged[usize::from(attempt)].files[file];
        match (half, *staged) {
            (0, Some(content)) => self.visible[file] = Some(content),
            (1, _) => *staged = None,
            _ => {}
        }
    }

    /// The steps of settling, in their order: rows by copy and delete, then each file by replacing or deleting it.
    fn settle(&mut self, known: usize, step: u8) -> bool {
        let Some(&revision) = known.checked_sub(1).and_then(|newest| self.revisions.get(newest)) else {
            self.publish(CLAIM, usize::from(step / 2), step % 2);
            return step == 3;
        };
        let at = usize::from(revision.attempt);
        match step {
            0 => {
                if let Some(rows) = self.staged[at].rows
                    && !self.rows.contains(&(revision.attempt, rows))
                {
                    self.rows.push((revision.attempt, rows));
                    self.rows.sort_unstable();
                }
            }
            1 => self.staged[at].rows = None,
            step => {
                let (file, half) = (usize::from(step / 2 - 1), step % 2);
                match revision.files[file] {
                    Some(0) => self.visible[file] = None,
                    Some(_) => self.publish(revision.attempt, file, half),
                    None => {}
                }
            }
        }
        step == 5
    }

    fn with(&self, replay: usize, phase: Phase) -> Self {
        let mut next = self.clone();
        next.replays[replay] = phase;
        next
    }

    /// Every state that may follow.
    fn next(&self) -> Vec<Self> {
        let mut all = vec![];
        for replay in 0..2 {
            self.step(replay, &mut all);
            if self.replays[replay] != Phase::Idle && self.crashes > 0 {
                all.push(Self { crashes: self.crashes - 1, ..self.with(replay, Phase::Idle) });
            }
        }
        if self.opener < 4 {
            let mut next = self.clone();
            next.publish(CLAIM, usize::from(self.opener / 2), self.opener % 2);
            next.opener += 1;
            all.push(next);
        }
        // An expiry first publishes the claim, as the opener does.
        if !self.expired && self.staged[0] == Staged::default() && self.visible[0].is_some() {
            let mut next = Self { expired: true, ..self.clone() };
            next.visible[0] = None;
            all.push(next);
        }
        all
    }

    fn step(&self, replay: usize, all: &mut Vec<Self>) {
        match self.replays[replay].clone() {
            Phase::Idle => all.push(self.with(replay, Phase::Settling { known: self.revisions.len(), step: 0 })),
            Phase::Settling { known, step } => {
                let mut next = self.clone();
                let over = next.settle(known, step);
                let reading = Phase::Reading { known, read: [None, None], next: 0 };
                next.replays[replay] = if over { reading } else { Phase::Settling { known, step: step + 1 } };
                all.push(next);
            }
            Phase::Reading { known, read, next } if next < 2 => {
                let expected = self.held(known, next);
                // Only what has the checksum that the ledger knows is taken; what is gone by policy is stepped over.
                let found = self.visible[next].filter(|found| *found == expected);
                let replaced = found.is_none() && expected != 0 && self.revisions.len() > known;
                if replaced {
                    return all.push(self.with(replay, Phase::Idle));
                }
                let mut read = read;
                read[next] = found;
                all.push(self.with(replay, Phase::Reading { known, read, next: next + 1 }));
            }
            Phase::Reading { known, read, .. } => self.stage(replay, known, read, all),
            Phase::Staged { known, revision } => {
                if self.revisions.len() > known {
                    let mut next = self.with(replay, Phase::Idle);
                    next.staged[usize::from(revision.attempt)] = Staged::default();
                    return all.push(next);
                }
                let mut won = self.with(replay, Phase::Settling { known: known + 1, step: 0 });
                won.revisions.push(revision);
                let unknown = Phase::Unknown { known, revision };
                all.push(Self { revisions: won.revisions.clone(), ..self.with(replay, unknown.clone()) });
                all.push(self.with(replay, unknown));
                all.push(won);
            }
            Phase::Unknown { known, revision } => match self.revisions.get(known) {
                Some(standing) if standing.attempt == revision.attempt => {
                    all.push(self.with(replay, Phase::Settling { known: known + 1, step: 0 }));
                }
                _ => all.push(self.with(replay, Phase::Staged { known, revision })),
            },
        }
    }

    /// What passes is another matter for each replay.
    fn stage(&self, replay: usize, known: usize, read: [Option<u8>; 2], all: &mut Vec<Self>) {
        let rejects = read[0].unwrap_or(0) | read[1].unwrap_or(0);
        let attempt = u8::try_from(self.staged.len()).unwrap();
        let passes: HashSet<u8> = PASS.map(|pass| pass & rejects).into();
        for rows in passes.into_iter().filter(|rows| *rows != 0 && attempt <= ATTEMPTS) {
            let left = |file: usize| read[file].filter(|read| read & rows != 0).map(|read| read & !rows);
            let revision = Revision { attempt, rows, files: [left(0), left(1)] };
            let mut next = self.with(replay, Phase::Staged { known, revision });
            let files = revision.files.map(|left| left.filter(|left| *left != 0));
            next.staged.push(Staged { rows: Some(rows), files });
            all.push(next);
        }
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = 0;
        for (attempt, rows) in &self.rows {
            if seen & rows != 0 {
                return Err("a row is there twice".into());
            }
            if !self.revisions.iter().any(|revision| revision.attempt == *attempt) {
                return Err("a row is visible before its revision".into());
            }
            seen |= rows;
        }
        // The claim's own publishing is another's law; from then on every record is somewhere.
        let published = self.staged[0] == Staged::default();
        let rejects = self.visible.iter().flatten().fold(0, |all, file| all | file);
        let gone = if self.expired { FILES[0] } else { 0 };
        if published && (seen | rejects | gone) != FILES[0] | FILES[1] {
            return Err("a record is nowhere".into());
        }
        for (number, revision) in (1..).zip(&self.revisions) {
            let staged = self.staged[usize::from(revision.attempt)];
            let rows = self.rows.contains(&(revision.attempt, revision.rows));
            if !rows && staged.rows.is_none() {
                return Err(format!("the rows of revision {number} are lost"));
            }
            let newest = number == self.revisions.len();
            if !newest && (staged != Staged::default() || !rows) {
                return Err(format!("revision {number} is not published, and not the newest"));
            }
        }
        self.check_files()
    }

    /// A file holds what the newest revision says; or, until that is published, what the one before it said.
    fn check_files(&self) -> Result<(), String> {
        let known = self.revisions.len();
        for file in 0..2 {
            let Some(visible) = self.visible[file] else { continue };
            let before = known.checked_sub(1).map(|before| self.held(before, file));
            let fits = visible == self.held(known, file) || Some(visible) == before;
            if !fits {
                return Err(format!("file {file} holds {visible:03b}, which nobody says: {:?}", self.revisions));
            }
            let pending = self.revisions.last().is_some_and(|newest| {
                newest.files[file] == Some(0) || self.staged[usize::from(newest.attempt)].files[file].is_some()
            });
            if visible != self.held(known, file) && !pending && !self.expired {
                return Err(format!("file {file} holds {visible:03b} for good, and not what the newest revision says"));
            }
        }
        Ok(())
    }
}

#[test]
fn no_order_of_steps_of_replays_loses_or_doubles_a_record() {
    let first = State::first();
    let (mut seen, mut waiting) = (HashSet::from([first.clone()]), VecDeque::from([first]));
    let (mut second_revisions, mut expired) = (0, 0);
    while let Some(state) = waiting.pop_front() {
        state.check().unwrap_or_else(|why| panic!("{why}: {state:?}"));
        second_revisions += usize::from(state.revisions.len() == 2);
        expired += usize::from(state.expired);
        for next in state.next() {
            if seen.insert(next.clone()) {
                waiting.push_back(next);
            }
        }
    }
    assert!(seen.len() > 10_000 && second_revisions > 0 && expired > 0, "{} states", seen.len());
}
