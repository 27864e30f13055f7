//! One reject, for people and for programs. Nothing of it reaches a terminal that a terminal would obey.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::DateTime;
use serde::Serialize;

use crate::lake::{Place, Rejected};

/// Of a key or a value, this much is shown to people.
const SHOWN_BYTES_MAX: usize = 400;
/// Bytes in hex on one line.
const HEX_BYTES_MAX: usize = 64;

/// A reject with all that there is of it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    generation: u32,
    partition: i32,
    offset: i64,
    timestamp: String,
    reason: String,
    detail: String,
    /// Base64, as are `value` and the headers' values.
    key: Option<String>,
    value: Option<String>,
    headers: Vec<Header>,
    #[serde(skip)]
    key_bytes: Option<Vec<u8>>,
    #[serde(skip)]
    value_bytes: Option<Vec<u8>>,
}

#[derive(Debug, Serialize)]
struct Header {
    key: String,
    value: String,
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Shown {
    pub(super) fn of((generation, partition, _): Place, rejected: &Rejected, row: usize) -> Option<Self> {
        let record = rejected.records.get(row)?;
        let time = DateTime::from_timestamp_millis(record.timestamp_ms);
        let headers = record.headers.iter().map(|(key, bytes)| Header {
            key: key.clone(),
            value: BASE64_STANDARD.encode(bytes),
            bytes: bytes.clone(),
        });
        Some(Self {
            generation,
            partition,
            offset: record.offset,
            timestamp: time.map_or_else(|| record.timestamp_ms.to_string(), |time| time.to_rfc3339()),
            reason: rejected.reason(row).to_owned(),
            detail: rejected.detail(row).to_owned(),
            key: record.key.as_ref().map(|key| BASE64_STANDARD.encode(key)),
            value: record.value.as_ref().map(|value| BASE64_STANDARD.encode(value)),
            headers: headers.collect(),
            key_bytes: record.key.clone(),
            value_bytes: record.value.clone(),
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "partition {}, offset {}, {}", self.partition, self.offset, self.timestamp)?;
        writeln!(f, "  {:<8} {}", self.reason, readable(self.detail.as_bytes()))?;
        for header in &self.headers {
            writeln!(f, "  header   {}: {}", readable(header.key.as_bytes()), readable(&header.bytes))?;
        }
        if let Some(key) = &self.key_bytes {
            writeln!(f, "  key      {}", readable(key))?;
        }
        let value = self.value_bytes.as_ref().map_or_else(|| "none".into(), |value| readable(value));
        writeln!(f, "  value    {value}")
    }
}

/// Text as text, with escapes for what can't be seen; other bytes in hex. What is long is cut, and says so.
fn readable(bytes: &[u8]) -> String {
    let Ok(text) = str::from_utf8(bytes) else {
        let hex: Vec<_> = bytes.iter().take(HEX_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect();
        let more = if bytes.len() > HEX_BYTES_MAX { "…" } else { "" };
        return format!("{}{more} ({} bytes)", hex.join(" "), bytes.len());
    };
    let end = text.char_indices().map(|(at, _)| at).find(|&at| at >= SHOWN_BYTES_MAX);
    let shown = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    let shown: String = shown.chars().flat_map(escaped).collect();
    if end.is_some() { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

/// Quotes stay as they are: there is nothing around the text that they could end.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = matches!(c, '"' | '\'');
    plain.then_some(c).into_iter().chain(c.escape_debug().filter(move |_| !plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_text_and_other_bytes_in_hex() {
        assert_eq!(readable(br#"{"id": "x"}"#), r#"{"id": "x"}"#);
        assert_eq!(readable("naïve\n\u{1b}[31m".as_bytes()), "naïve\\n\\u{1b}[31m");
        assert_eq!(readable(&[0xff, 0x00, 0x41]), "ff 00 41 (3 bytes)");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let long = "é".repeat(1000);
        let shown = readable(long.as_bytes());
        assert!(shown.ends_with("… (2000 bytes)") && shown.starts_with(&"é".repeat(200)), "{shown}");
        assert!(readable(&[0xff; 1000]).ends_with("ff… (1000 bytes)"));
    }
}
