//! The terminal, taken for a while and given back as it was.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Read, Write},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc::{Receiver, channel};

/// Where it is no terminal: nothing is cut off there.
const SIZE: (usize, usize) = (1_000, 40);
/// A page of its own, no cursor, no line goes on in the next.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const GIVE_BACK: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Keys that wait to be looked at.
const KEYS_MAX: usize = 16;

pub(super) struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Keys come one by one, without Enter.
    pub(super) fn open() -> io::Result<(Self, Receiver<u8>)> {
        let (keys, pressed) = channel(KEYS_MAX);
        let before = io::stdin().is_terminal().then(|| tcgetattr(io::stdin())).transpose()?;
        if let Some(before) = &before {
            let mut single = before.clone();
            single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // To be stopped with the terminal taken would leave it taken.
            single.special_codes[SpecialCodeIndex::VSUSP] = 0;
            tcsetattr(io::stdin(), OptionalActions::Flush, &single)?;
        }
        let mut screen = Self { before };
        screen.write(TAKE)?;
        if screen.before.is_some() {
            // Ends with the process: nothing can wake a thread that waits for a key.
            thread::spawn(move || {
                for key in io::stdin().lock().bytes().map_while(Result::ok) {
                    if keys.blocking_send(key).is_err() {
                        break;
                    }
                }
            });
        } else {
            thread::spawn(move || {
                let _kept = keys;
                thread::park();
            });
        }
        Ok((screen, pressed))
    }

    pub(super) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let mut shown = String::new();
        for (i, line) in lines.iter().enumerate() {
            let _infallible = write!(shown, "\x1b[{};1H{line}\x1b[K", i + 1);
        }
        self.write(&(shown + "\x1b[J"))
    }

    #[expect(clippy::unused_self, reason = "only who has the screen may write on it")]
    fn write(&mut self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.write(GIVE_BACK);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Columns and rows.
pub(super) fn size() -> (usize, usize) {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(SIZE, |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
}
