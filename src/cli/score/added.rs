//! What scoring adds to a row: its columns in a table, its members in a line of JSON.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, Float32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
};

use crate::record::Scores;

const PREDICTION: &str = "prediction";
const CONFIDENCE: &str = "confidence";

#[derive(Debug)]
pub(super) struct Added {
    classes: Vec<String>,
    /// The same as they stand in JSON.
    classes_in_json: Vec<String>,
    fields: Vec<FieldRef>,
    /// `"prediction":`, `"confidence":`, and one for each class.
    members: Vec<String>,
}

impl Added {
    pub fn new(classes: &[String]) -> Self {
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let probabilities = classes.iter().map(|class| format!("p_{class}"));
        let names: Vec<String> = [PREDICTION.into(), CONFIDENCE.into()].into_iter().chain(probabilities).collect();
        let kind = |name: &str| if name == PREDICTION { DataType::Utf8 } else { DataType::Float32 };
        Self {
            classes: classes.to_vec(),
            classes_in_json: classes.iter().map(|class| json(class)).collect(),
            fields: names.iter().map(|name| Arc::new(Field::new(name, kind(name), false))).collect(),
            members: names.iter().map(|name| json(name) + ":").collect(),
        }
    }

    /// Whether a column or member of this name would be there twice.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name() == name)
    }

    /// Whether one of the names may stand in a text of JSON.
    pub fn may_stand_in(&self, json: &str) -> bool {
        self.members.iter().filter_map(|member| member.strip_suffix(':')).any(|name| json.contains(name))
    }

    pub fn schema(&self, of_rows: &Schema) -> SchemaRef {
        Arc::new(Schema::new(of_rows.fields().iter().chain(&self.fields).cloned().collect::<Vec<_>>()))
    }

    pub fn to_rows(&self, rows: &RecordBatch, scores: Scores) -> Result<RecordBatch, ArrowError> {
        let predictions = scores.class.iter().map(|&class| self.classes.get(usize::from(class)));
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(predictions.collect::<StringArray>()));
        columns.push(Arc::new(Float32Array::from(scores.confidence)));
        columns.extend(scores.probabilities.into_iter().map(|column| Arc::new(Float32Array::from(column)) as ArrayRef));
        RecordBatch::try_new(self.schema(rows.schema_ref()), columns)
    }

    /// Writes the members of a row, the first of them after a comma if there is something before it.
    pub fn write_members(&self, out: &mut impl Write, mut comma: bool, scores: &Scores, row: usize) -> io::Result<()> {
        let class = scores.class.get(row).and_then(|&class| self.classes_in_json.get(usize::from(class)));
        let prediction = class.map_or("null", String::as_str);
        let numbers = [&scores.confidence].into_iter().chain(&scores.probabilities);
        let numbers = numbers.map(|column| column.get(row).copied());
        let mut members = self.members.iter();
        for member in members.by_ref().take(1) {
            write!(out, "{}{member}{prediction}", if comma { "," } else { "" })?;
            comma = true;
        }
        for (member, number) in members.zip(numbers) {
            write!(out, ",{member}")?;
            // The shortest text from which the same bits come back.
            serde_json::to_writer(&mut *out, &number)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sound_json_whatever_the_classes_are_called() {
        let added = Added::new(&["a".into(), "b \"c\"".into()]);
        let scores = Scores {
            class: vec![1],
            confidence: vec![0.7],
            probabilities: vec![vec![0.1 + 0.2], vec![f32::MIN_POSITIVE]],
        };
        let mut json = b"{".to_vec();
        added.write_members(&mut json, false, &scores, 0).unwrap();
        json.push(b'}');
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(read["prediction"], "b \"c\"");
        let number = |name: &str| serde_json::from_value::<f32>(read[name].clone()).unwrap().to_bits();
        assert_eq!(number("confidence"), 0.7_f32.to_bits());
        assert_eq!(number("p_a"), (0.1_f32 + 0.2).to_bits());
        assert_eq!(number("p_b \"c\""), f32::MIN_POSITIVE.to_bits());
    }
}
