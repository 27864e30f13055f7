//! What another version asks of the pipelines that use a model. Pure.

use std::collections::HashMap;

use serde::Serialize;

use crate::model::{Feature, Manifest};

/// What a person must do before a version takes another's place, and what is only good to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// One sentence each; with any of them a pipeline that ran the old version can't run the new one as it is.
    pub needed: Vec<String>,
    pub notes: Vec<String>,
}

impl Changes {
    #[must_use]
    pub fn between(old: &Manifest, new: &Manifest) -> Self {
        let mut changes = Self::default();
        changes.compare_classes(old, new);
        let before: HashMap<&str, &Feature> =
            old.features.iter().map(|feature| (feature.name.as_str(), feature)).collect();
        for feature in &new.features {
            match before.get(feature.name.as_str()) {
                Some(old) => changes.compare_feature(old, feature),
                None => changes.add_feature(feature),
            }
        }
        let still = |name: &str| new.features.iter().any(|feature| feature.name == name);
        for Feature { name, .. } in old.features.iter().filter(|feature| !still(&feature.name)) {
            changes.notes.push(format!("it no longer looks at `{name}`; the field may stay"));
        }
        changes
    }

    fn compare_classes(&mut self, old: &Manifest, new: &Manifest) {
        if old.classes != new.classes {
            let (old, new) = (old.classes.join(", "), new.classes.join(", "));
            self.needed.push(format!(
                "its classes are {new}, and were {old}: the lake's columns change, so a running stream refuses it; \
                 restart the stream, best into a new dataset"
            ));
        }
    }

    fn add_feature(&mut self, feature: &Feature) {
        let Feature { name, missing, kind } = feature;
        let (kind, wanted) = (kind.name(), kind.wanted());
        let told = format!("it needs the new field `{name}` ({kind}): declare it as {wanted}");
        let rule = if *missing { "a record may lack it" } else { "every record must have it" };
        self.needed.push(format!("{told}; {rule}"));
    }

    fn compare_feature(&mut self, old: &Feature, new: &Feature) {
        let name = &new.name;
        if old.kind.name() != new.kind.name() {
            let (was, is, wanted) = (old.kind.name(), new.kind.name(), new.kind.wanted());
            self.needed.push(format!("`{name}` was {was} and is {is} to it: the field must be {wanted}"));
        }
        match (old.missing, new.missing) {
            (true, false) => {
                self.needed.push(format!("every record must have `{name}`, which could be missing before"))
            }
            (false, true) => self.notes.push(format!("a record may lack `{name}` now")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, FeatureKind};

    fn feature(name: &str, kind: FeatureKind, missing: bool) -> Feature {
        Feature { name: name.to_owned(), missing, kind }
    }

    fn numeric() -> FeatureKind {
        FeatureKind::Numeric { mean: 0.0, std: 1.0 }
    }

    fn manifest(classes: &[&str], features: Vec<Feature>) -> Manifest {
        let classes: Vec<_> = classes.iter().map(|class| (*class).to_owned()).collect();
        let activation = Activation::Relu;
        let json = serde_json::json!({
            "format": "alluvium-model/1", "name": "m", "version": 1, "hidden": [], "activation": activation,
            "classes": classes, "features": features,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_same_features_and_classes_ask_for_nothing() {
        let one = manifest(&["a", "b"], vec![feature("x", numeric(), false)]);
        let other = manifest(&["a", "b"], vec![feature("x", FeatureKind::Numeric { mean: 9.0, std: 2.0 }, false)]);
        assert_eq!(Changes::between(&one, &other), Changes::default());
    }

    #[test]
    fn each_change_is_a_sentence_that_says_what_to_do() {
        let old =
            vec![feature("x", numeric(), false), feature("y", numeric(), true), feature("gone", numeric(), false)];
        let new = vec![
            feature("x", FeatureKind::Boolean, true),
            feature("y", numeric(), false),
            feature("fresh", numeric(), false),
            feature("rare", FeatureKind::Boolean, true),
        ];
        let changes = Changes::between(&manifest(&["a", "b"], old), &manifest(&["b", "a"], new));
        let needed = [
            "its classes are b, a, and were a, b: the lake's columns change",
            "`x` was numeric and is boolean to it: the field must be bool",
            "every record must have `y`, which could be missing before",
            "it needs the new field `fresh` (numeric): declare it as int32, int64, float32, float64 or bool; every record must",
            "it needs the new field `rare` (boolean): declare it as bool; a record may lack it",
        ];
        assert_eq!(changes.needed.len(), needed.len());
        for (told, want) in changes.needed.iter().zip(needed) {
            assert!(told.starts_with(want), "{told}");
        }
        assert_eq!(changes.notes, ["a record may lack `x` now", "it no longer looks at `gone`; the field may stay"]);
    }
}
