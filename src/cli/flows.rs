//! Which of a pipeline file's datasets a command is about.

use anyhow::Context;
use serde::Serialize;

use super::Usage;
use crate::{
    lake::{Store, names::is_dataset},
    pipeline::{Flow, Flows, Settings},
    record::name::quoted,
};

/// The one that was asked for, or else all that the file names and the lake has.
pub(super) async fn chosen(settings: &Settings, store: &Store, asked: Option<&str>) -> anyhow::Result<Vec<Flow>> {
    match asked {
        None => settings.flows.in_lake(store).await.context("look for datasets in the lake"),
        Some(dataset) => Ok(vec![asked_for(settings, store, dataset).await?]),
    }
}

/// Of the file, or another of its lake, such as one that records were scored again into.
async fn asked_for(settings: &Settings, store: &Store, dataset: &str) -> anyhow::Result<Flow> {
    if !is_dataset(dataset) {
        return Err(Usage(format!("{} can't be a dataset's name", quoted(dataset))).into());
    }
    let topic = match &settings.flows {
        Flows::One(flow) => Some(flow.topic.to_string()),
        Flows::Many { .. } => {
            let begun = store.topic_of(dataset).await.context("look for the dataset in the lake")?;
            begun.or_else(|| settings.flows.of_dataset(dataset).map(|flow| flow.topic.to_string()))
        }
    };
    let Some(topic) = topic else {
        let told = format!("the dataset `{dataset}` is not in the lake, and none of `topics` would have it");
        return Err(Usage(told).into());
    };
    Ok(Flow { topic: topic.into(), dataset: dataset.into() })
}

/// A heading for one of several; nothing for the only one.
pub(super) fn heading(settings: &Settings, flow: &Flow) -> String {
    if settings.flows.are_many() { format!("dataset {}, topic {}\n", flow.dataset, flow.topic) } else { String::new() }
}

/// What a command prints after all datasets: their reports if JSON is asked for, or that there are none.
pub(super) fn close<R: Serialize>(reports: &[R], several: bool, json: bool) -> anyhow::Result<()> {
    match reports {
        [only] if !several && json => println!("{}", serde_json::to_string_pretty(only)?),
        all if json => println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "datasets": all }))?),
        [] => println!("there is nothing yet of this pipeline in this lake"),
        _ => {}
    }
    Ok(())
}
