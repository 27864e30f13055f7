//! The threads that decode, score and encode: as many as may work at once, for all lanes together.
//!
//! Owns: the threads. Does not own: what they do. They are not the runtime's: of those there are many, for files, and they
//! come and go; an allocator keeps for each thread what it has freed, and batches and segments are large.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Handed to every lane; the threads end with the last one.
#[derive(Clone, Debug)]
pub struct Cpu {
    jobs: Sender<Job>,
}

/// The work ended without an answer: it panicked, and the panic's own text has been told.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the thread that did it panicked")]
pub struct Cut;

impl Cpu {
    /// At least one thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads.max(1) {
            let waiting = waiting.clone();
            thread::Builder::new().name(format!("cpu-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// Does it on one of the threads, when one is free.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Cut> {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            // Nobody may be waiting any more.
            let _ = answer.send(work());
        };
        self.jobs.send(Box::new(job)).map_err(|_| Cut)?;
        answered.await.map_err(|_| Cut)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // What it broke is dropped with it: the answer never comes.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_threads_of_their_own_and_no_more_than_there_are() {
        let cpu = Cpu::new(2).unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let names = futures::future::join_all((0..50).map(|_| cpu.run(name))).await;
        let names: std::collections::BTreeSet<_> = names.into_iter().map(|name| name.unwrap().unwrap()).collect();
        assert!(names.iter().all(|name| name == "cpu-0" || name == "cpu-1"), "{names:?}");
    }

    #[tokio::test]
    async fn a_lane_that_always_has_work_lets_each_other_in_after_one_piece() {
        let cpu = Cpu::new(1).unwrap();
        let done = Arc::new(Mutex::new(vec![]));
        let piece = |lane: &'static str| {
            let done = done.clone();
            cpu.run(move || done.lock().unwrap().push(lane))
        };
        let large = async { while piece("large").await.is_ok() {} };
        let small = async {
            for _ in 0..100 {
                let before = done.lock().unwrap().len();
                piece("small").await.unwrap();
                let waited = done.lock().unwrap().iter().skip(before).take_while(|lane| **lane == "large").count();
                assert!(waited <= 1, "{waited} pieces of the large one came first");
            }
        };
        tokio::select! {
            () = large => panic!("it has work without end"),
            () = small => {}
        }
        assert!(done.lock().unwrap().contains(&"large"));
    }

    #[tokio::test]
    async fn a_panic_cuts_its_own_work_short_and_no_other() {
        let cpu = Cpu::new(1).unwrap();
        assert!(cpu.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(cpu.run(|| 7).await.unwrap(), 7);
    }
}
