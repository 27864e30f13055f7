//! The flags of a training, and how they and a file come to one plan. A flag wins over the file, the file over the default.

use std::str::FromStr;

use clap::Args;

use super::file::TrainFile;
use crate::{
    cli::Usage,
    model::{ClassWeights, Columns, Plan, TrainSettings},
};

/// Which columns to learn from, and as what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Columns")]
pub(super) struct ColumnFlags {
    /// The column to predict.
    #[arg(long, value_name = "COLUMN", required_unless_present = "config")]
    label: Option<String>,
    /// Learn from these columns only.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    features: Vec<String>,
    /// Learn from all columns but these.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "features")]
    ignore: Vec<String>,
    /// Take these columns as numbers, whatever they look like.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    numeric: Vec<String>,
    /// Take these as true or false.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    boolean: Vec<String>,
    /// Take these as one of a few words.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    categorical: Vec<String>,
    /// Take these as text, whose words and pairs of words count.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    text: Vec<String>,
}

/// How to train.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
pub(super) struct TrainingFlags {
    /// Units of each hidden layer, such as 64,32; `none` is a logistic regression [default: 16].
    #[arg(long, value_name = "UNITS,…")]
    hidden: Option<Hidden>,
    /// The most times to go through the rows; fewer if the result no longer gets better [default: 200].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// End after so many epochs without a better validation loss [default: 40].
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// Rows a step [default: by the number of rows, 8 to 1024].
    #[arg(long, value_name = "ROWS")]
    batch_size: Option<usize>,
    /// Where the learning rate begins; it falls to nought [default: 0.01].
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// How strongly weights are drawn towards nought [default: by the number of rows, 0.001 to 0.3].
    #[arg(long, value_name = "DECAY")]
    weight_decay: Option<f32>,
    /// The share of hidden units that each step leaves out [default: 0].
    #[arg(long, value_name = "SHARE")]
    dropout: Option<f64>,
    /// What a row of each class weighs: auto, none, balanced, or CLASS=WEIGHT,… [default: auto].
    #[arg(long, value_name = "WEIGHTS")]
    class_weights: Option<ClassWeights>,
    /// Where all that is random begins [default: 42].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The share of the rows that say when to stop [default: 0.15].
    #[arg(long, value_name = "SHARE")]
    validation_share: Option<f64>,
    /// The share of the rows that are held out for the verdict [default: 0.2].
    #[arg(long, value_name = "SHARE")]
    test_share: Option<f64>,
    /// Rows beyond so many MiB lie in a temporary file while training [default: 1024].
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Cross-validate as well, with so many folds: is the result luck?
    #[arg(long, value_name = "N")]
    folds: Option<u8>,
    /// Try so many hidden layers and learning rates first, and take those that do best on the validation rows.
    #[arg(long, value_name = "N")]
    tune: Option<usize>,
}

/// The units of the hidden layers.
#[derive(Clone, Debug, PartialEq)]
struct Hidden(Vec<usize>);

impl FromStr for Hidden {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(vec![]));
        }
        let units = text.split(',').map(|units| units.trim().parse());
        units
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|_| "units with commas between them are wanted, or none".to_owned())
    }
}

impl ColumnFlags {
    pub(super) fn columns(self, file: &TrainFile) -> Result<Columns, Usage> {
        let label = self.label.or_else(|| file.label.clone());
        let label = label.ok_or_else(|| Usage("no column to predict is named; --label names it".to_owned()))?;
        let either = |flag: Vec<String>, filed: &Option<Vec<String>>| match filed {
            Some(filed) if flag.is_empty() => filed.clone(),
            _ => flag,
        };
        Ok(Columns {
            label,
            features: either(self.features, &file.features),
            ignore: either(self.ignore, &file.ignore),
            numeric: either(self.numeric, &file.numeric),
            boolean: either(self.boolean, &file.boolean),
            categorical: either(self.categorical, &file.categorical),
            text: either(self.text, &file.text),
        })
    }
}

impl TrainingFlags {
    pub(super) fn plan(self, file: TrainFile) -> Result<Plan, Usage> {
        let default = TrainSettings::default();
        let filed = file.class_weights.map(|weights| weights.parse()).transpose().map_err(Usage)?;
        let settings = TrainSettings {
            seed: self.seed.or(file.seed).unwrap_or(default.seed),
            hidden: self.hidden.map(|hidden| hidden.0).or(file.hidden).unwrap_or(default.hidden),
            activation: default.activation,
            epochs_max: self.epochs.or(file.epochs).unwrap_or(default.epochs_max),
            patience: self.patience.or(file.patience).unwrap_or(default.patience),
            batch_size: self.batch_size.or(file.batch_size),
            learning_rate: self.learning_rate.or(file.learning_rate).unwrap_or(default.learning_rate),
            weight_decay: self.weight_decay.or(file.weight_decay),
            dropout: self.dropout.or(file.dropout).unwrap_or(default.dropout),
            class_weights: self.class_weights.or(filed).unwrap_or(default.class_weights),
            validation_share: self.validation_share.or(file.validation_share).unwrap_or(default.validation_share),
            test_share: self.test_share.or(file.test_share).unwrap_or(default.test_share),
            memory_bytes_max: self.memory.map_or(default.memory_bytes_max, |mib| mib.saturating_mul(1 << 20)),
        };
        Ok(Plan { settings, folds: self.folds.or(file.folds), trials: self.tune.or(file.tune) })
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        training: TrainingFlags,
    }

    fn plan(line: &[&str], file: &str) -> Plan {
        let flags = Line::parse_from([&["train"], line].concat()).training;
        flags.plan(toml::from_str(file).unwrap()).unwrap()
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "hidden = [8]\nseed = 7\nfolds = 5\nclass_weights = \"none\"";
        let plan = plan(&["--hidden", "64,32", "--tune", "3"], file);
        assert_eq!((plan.settings.hidden, plan.settings.seed), (vec![64, 32], 7));
        assert_eq!((plan.folds, plan.trials), (Some(5), Some(3)));
        assert_eq!(plan.settings.class_weights, ClassWeights::None);
        assert_eq!(plan.settings.epochs_max, TrainSettings::default().epochs_max);
        assert!(self::plan(&["--hidden", "none"], "").settings.hidden.is_empty());
    }

    #[test]
    fn the_help_tells_the_defaults_as_they_are() {
        assert_eq!(plan(&[], "").settings, TrainSettings::default());
        let help = Line::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = |flag: &str| {
            let (_, after) = help.split_once(flag).unwrap();
            let (_, after) = after.split_once("[default: ").unwrap();
            after.split_once(']').unwrap().0.to_owned()
        };
        let default = TrainSettings::default();
        for (flag, value) in [
            ("--hidden", default.hidden[0].to_string()),
            ("--epochs", default.epochs_max.to_string()),
            ("--patience", default.patience.to_string()),
            ("--learning-rate", default.learning_rate.to_string()),
            ("--dropout", default.dropout.to_string()),
            ("--class-weights", default.class_weights.to_string()),
            ("--seed", default.seed.to_string()),
            ("--validation-share", default.validation_share.to_string()),
            ("--test-share", default.test_share.to_string()),
            ("--memory", (default.memory_bytes_max >> 20).to_string()),
        ] {
            assert_eq!(told(flag), value, "{flag}");
        }
    }
}
