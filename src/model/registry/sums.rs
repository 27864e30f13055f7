//! `SHA256SUMS`: the digest of each file of a version, as the program `sha256sum` writes and checks it.

use sha2::{Digest, Sha256};

/// Name and digest in hex, in the order of the file.
#[derive(Debug)]
pub(super) struct Sums(Vec<(String, String)>);

impl Sums {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let sums = lines.map(|(index, line)| {
            entry(line).ok_or_else(|| format!("line {} is not a digest and the name of a file beside it", index + 1))
        });
        sums.collect::<Result<_, _>>().map(Self)
    }

    /// The text of the file, for these files.
    pub(super) fn text<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
        let lines: Vec<_> = files.map(|(name, bytes)| format!("{:x}  {name}\n", Sha256::digest(bytes))).collect();
        lines.concat()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Refuses a file that is not what it was when the version was made.
    pub(super) fn check(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let Some((_, told)) = self.0.iter().find(|(known, _)| known == name) else {
            return Err("SHA256SUMS does not tell of it".to_owned());
        };
        let found = format!("{:x}", Sha256::digest(bytes));
        if *told == found {
            return Ok(());
        }
        let (told, found) = (short(told), short(&found));
        Err(format!("the file was changed or damaged: its SHA-256 begins with {found}, and SHA256SUMS says {told}"))
    }
}

/// `digest  name` or `digest *name`; the name is one of a file in the same folder.
fn entry(line: &str) -> Option<(String, String)> {
    let (digest, name) = line.trim_end().split_once(' ')?;
    let name = name.strip_prefix([' ', '*'])?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_plain = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
    (is_digest && is_plain).then(|| (name.to_owned(), digest.to_ascii_lowercase()))
}

/// Enough of a digest for a person to tell it from others.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn it_is_written_as_sha256sum_writes_it() {
        assert_eq!(Sums::text([("a", b"".as_slice())].into_iter()), format!("{EMPTY}  a\n"));
    }

    #[test]
    fn what_was_written_is_read_and_a_changed_file_is_told() {
        let text = Sums::text([("a", b"one".as_slice()), ("b", b"two")].into_iter());
        let sums = Sums::parse(text.as_bytes()).unwrap();
        assert_eq!(sums.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(sums.check("a", b"one"), Ok(()));
        let told = sums.check("b", b"too").unwrap_err();
        assert!(told.contains("changed or damaged") && told.contains("3fc4ccfe7458"), "{told}");
        assert_eq!(sums.check("c", b"").unwrap_err(), "SHA256SUMS does not tell of it");
    }

    #[test]
    fn binary_mode_and_capital_digits_are_understood() {
        let sums = Sums::parse(format!("{} *a\n\n", EMPTY.to_uppercase()).as_bytes()).unwrap();
        assert_eq!(sums.check("a", b""), Ok(()));
    }

    #[test]
    fn what_is_no_list_of_digests_is_refused() {
        let digests = ["short  a", &format!("{EMPTY}  ../a"), &format!("{EMPTY} a"), &format!("{EMPTY}  "), EMPTY];
        for text in digests {
            assert!(Sums::parse(text.as_bytes()).unwrap_err().starts_with("line 1 is not a digest"), "{text}");
        }
        assert_eq!(Sums::parse(b"\xff").unwrap_err(), "it is not text");
    }
}
