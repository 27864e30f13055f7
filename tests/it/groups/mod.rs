//! Consumer groups: members alone, and the real program's workers.

#[cfg(unix)]
mod crew;
mod hands;
#[cfg(unix)]
mod kafka;
mod member;
