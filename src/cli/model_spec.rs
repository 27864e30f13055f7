//! A model as a person names it on the command line: `models/iris`, `models/iris@3`, `s3://bucket/models/iris@3`.

use std::{num::NonZero, str::FromStr};

/// The version that `NAME@champion` and a plain `NAME` stand for.
const CHAMPION: &str = "champion";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelSpec {
    /// The folder of all versions, or only its last part.
    pub name: String,
    /// `None` is the champion.
    pub version: Option<u32>,
}

impl ModelSpec {
    /// The folder of all versions; a bare name means the one beside `other`.
    pub fn beside(&self, other: &str) -> String {
        match other.trim_end_matches('/').rsplit_once('/') {
            Some((folder, _)) if !self.name.contains('/') => format!("{folder}/{}", self.name),
            _ => self.name.clone(),
        }
    }
}

impl FromStr for ModelSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A bucket's or a folder's name further up may hold an `@` too.
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) if !version.contains('/') => (name, version),
            _ => (text, CHAMPION),
        };
        if name.trim_end_matches('/').is_empty() {
            return Err("name a model: its folder, or its folder@version".to_owned());
        }
        let version = match version {
            CHAMPION => None,
            number => Some(
                number
                    .parse::<NonZero<u32>>()
                    .map_err(|_| format!("`{number}` is no version; write a number from 1, or `{CHAMPION}`"))?
                    .get(),
            ),
        };
        Ok(Self { name: name.trim_end_matches('/').to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_the_last_at_sign_of_the_name() {
        let spec = |name: &str, version| Ok(ModelSpec { name: name.to_owned(), version });
        assert_eq!("models/iris".parse(), spec("models/iris", None));
        assert_eq!("models/iris/@champion".parse(), spec("models/iris", None));
        assert_eq!("iris@12".parse(), spec("iris", Some(12)));
        assert_eq!("s3://b@c/models/iris@3".parse(), spec("s3://b@c/models/iris", Some(3)));
        assert_eq!("s3://b@c/models/iris".parse(), spec("s3://b@c/models/iris", None));
        for wrong in ["", "@3", "iris@0", "iris@", "iris@three", "iris@-1"] {
            assert!(wrong.parse::<ModelSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_name_stands_beside_the_pipeline_s_model() {
        let beside = |text: &str, other| text.parse::<ModelSpec>().unwrap().beside(other);
        assert_eq!(beside("iris@2", "models/iris"), "models/iris");
        assert_eq!(beside("other", "s3://bucket/models/iris/"), "s3://bucket/models/other");
        assert_eq!(beside("elsewhere/iris", "models/iris"), "elsewhere/iris");
        assert_eq!(beside("iris", "iris"), "iris");
    }
}
