//! The choices of a training, in a file: what `alluvium train` takes as flags, to be kept beside the data.

use std::path::Path;

use serde::Deserialize;

use super::Usage;

/// A file of a person's choices; a larger one is some other file.
const TRAIN_FILE_BYTES_MAX: u64 = 64 << 10;

/// Every choice that a flag makes; a flag that is given wins.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainFile {
    pub(super) label: Option<String>,
    pub(super) features: Option<Vec<String>>,
    pub(super) ignore: Option<Vec<String>>,
    pub(super) numeric: Option<Vec<String>>,
    pub(super) boolean: Option<Vec<String>>,
    pub(super) categorical: Option<Vec<String>>,
    pub(super) text: Option<Vec<String>>,
    pub(super) hidden: Option<Vec<usize>>,
    pub(super) epochs: Option<usize>,
    pub(super) patience: Option<usize>,
    pub(super) batch_size: Option<usize>,
    pub(super) learning_rate: Option<f64>,
    pub(super) weight_decay: Option<f32>,
    pub(super) dropout: Option<f64>,
    /// Written as the flag is.
    pub(super) class_weights: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) validation_share: Option<f64>,
    pub(super) test_share: Option<f64>,
    pub(super) folds: Option<usize>,
    pub(super) tune: Option<usize>,
}

impl TrainFile {
    pub(super) fn read(path: &Path) -> Result<Self, Usage> {
        let fault = |what: String| Usage(format!("{}: {what}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
        if metadata.len() > TRAIN_FILE_BYTES_MAX {
            return Err(fault(format!("it is larger than the {TRAIN_FILE_BYTES_MAX} bytes of such a file")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        Self::parse(&text).map_err(fault)
    }

    /// The error names the line.
    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            format!("line {line}: {message}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_has_a_key() {
        let file = TrainFile::parse(
            r#"
            label = "species"
            features = ["a", "b"]
            categorical = ["b"]
            hidden = [64, 64]
            epochs = 100
            batch_size = 32
            learning_rate = 0.01
            weight_decay = 0.001
            dropout = 0.1
            class_weights = "balanced"
            seed = 7
            validation_share = 0.15
            test_share = 0.2
            folds = 10
            "#,
        )
        .unwrap();
        assert_eq!(file.label.as_deref(), Some("species"));
        assert_eq!((file.hidden, file.seed, file.folds), (Some(vec![64, 64]), Some(7), Some(10)));
        assert_eq!(TrainFile::parse("").unwrap(), TrainFile::default());
    }

    #[test]
    fn each_fault_names_its_line() {
        let cases = [
            ("label = \"y\"\nhiden = [3]\n", "line 2: unknown field `hiden`, expected one of `label`"),
            ("epochs = \"many\"\n", "line 1: invalid type: string \"many\", expected usize"),
            ("\n\nseed = -1\n", "line 3: invalid value: integer `-1`, expected u64"),
            ("label = \n", "line 1: "),
            ("seed = 1\nseed = 2\n", "line 2: duplicate key"),
        ];
        for (text, want) in cases {
            let error = TrainFile::parse(text).unwrap_err();
            assert!(error.contains(want) && !error.contains('\n'), "{error}");
        }
        let error = TrainFile::read(Path::new("nowhere.toml")).unwrap_err().to_string();
        assert!(error.starts_with("nowhere.toml: No such file"), "{error}");
    }
}
