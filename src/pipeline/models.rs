//! The model in use, and the watch for a newly promoted one.
//!
//! Owns: what makes a version fit for these fields, and for taking over from another. Does not own: what makes a version
//! sound ([`crate::model`]), nor when a partition changes over ([`crate::lane`]).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{PipelineError, Settings};
use crate::{
    decode::{DecodeSettings, Decoder},
    lake::{LakeSettings, Layout},
    lane::{Journal, Works, Writers},
    model::{self, Model, ModelSettings},
    record::ModelRef,
    registry::Registry,
    telemetry::{chain, status},
};

/// Where the lanes get their works from.
#[derive(Debug)]
pub(super) struct Models {
    decode: DecodeSettings,
    /// What all versions' works ask for schemas, so that it remembers across them.
    registry: Option<Arc<Registry>>,
    lake: LakeSettings,
    model: ModelSettings,
    /// Every version that takes over must tell these apart, in this order.
    classes: Vec<String>,
    current: watch::Sender<Arc<Works>>,
    /// What is told of the version in use.
    told: Mutex<status::Model>,
    /// Who is told of a change.
    journal: Option<Arc<Journal>>,
}

/// Why no version takes over. Told once, however often the same is found again.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    /// Unknown if the champion's number could not be read.
    version: Option<u32>,
    why: String,
}

impl Models {
    /// Loads the version that the settings name.
    pub async fn load(settings: &Settings) -> Result<Self, PipelineError> {
        let model = Model::load(&settings.model).await?;
        let registry = settings.registry.as_ref().map(Registry::open).transpose()?.map(Arc::new);
        let works = bind(&settings.decode, registry.clone(), &settings.lake, &model)?;
        Ok(Self {
            decode: settings.decode.clone(),
            registry,
            lake: settings.lake.clone(),
            model: settings.model.clone(),
            classes: model.classes().to_vec(),
            current: watch::Sender::new(Arc::new(works)),
            told: Mutex::new(described(&settings.model, &model)),
            journal: None,
        })
    }

    /// The same, which tells of changes.
    pub fn telling(self, journal: Arc<Journal>) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// What is told of the version in use.
    pub fn told(&self) -> status::Model {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn registry(&self) -> Option<Arc<Registry>> {
        self.registry.clone()
    }

    /// What every version tells apart.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The works of the model in use; they change when another takes over.
    pub fn works(&self) -> watch::Receiver<Arc<Works>> {
        self.current.subscribe()
    }

    /// Looks for a newly promoted version now and then, for ever.
    pub async fn follow(&self, every: Duration) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        let mut told = None;
        loop {
            tick.tick().await;
            let refusal = self.look().await.err();
            if let Some(refusal) = refusal.as_ref().filter(|&refusal| told.as_ref() != Some(refusal)) {
                self.tell(refusal);
            }
            told = refusal;
        }
    }

    /// Lets the champion take over, if it is another version than the one in use.
    async fn look(&self) -> Result<(), Refusal> {
        let champion = model::champion(&self.model).await;
        let version = champion.map_err(|error| Refusal { version: None, why: chain(&error) })?;
        if version == self.in_use().version {
            return Ok(());
        }
        let successor = self.successor(version).await;
        let (works, told) = successor.map_err(|error| Refusal { version: Some(version), why: chain(&error) })?;
        let (from, to) = (self.in_use(), works.layout.model().clone());
        tracing::info!(%from, %to, "a version was promoted; each partition changes over with its next segment");
        self.journal.iter().for_each(|journal| journal.tell("swap", &format!("{to} was promoted; {from} was in use")));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        self.current.send_replace(Arc::new(works));
        Ok(())
    }

    async fn successor(&self, version: u32) -> Result<(Works, status::Model), PipelineError> {
        let model = Model::load(&ModelSettings { version: Some(version), ..self.model.clone() }).await?;
        if model.classes() != self.classes {
            let (found, expected) = (model.classes().join(", "), self.classes.join(", "));
            return Err(PipelineError::Classes { found, of: self.in_use().to_string(), expected });
        }
        let works = bind(&self.decode, self.registry.clone(), &self.lake, &model)?;
        Ok((works, described(&self.model, &model)))
    }

    fn in_use(&self) -> ModelRef {
        self.current.borrow().layout.model().clone()
    }

    fn tell(&self, Refusal { version, why }: &Refusal) {
        let in_use = self.in_use();
        let told = match version {
            None => {
                tracing::warn!("can't tell which version is promoted, so {in_use} goes on: {why}");
                format!("can't tell which version is promoted: {why}")
            }
            Some(version) => {
                tracing::error!("version {version} was promoted and can't be used, so {in_use} goes on: {why}");
                metrics::counter!("alluvium_model_refusals_total").increment(1);
                format!("version {version} was promoted and can't be used: {why}")
            }
        };
        self.journal.iter().for_each(|journal| journal.tell("swap", &told));
    }
}

/// What is told of a version: how it did on the rows that its training never saw, and what holds it against another.
fn described(settings: &ModelSettings, model: &Model) -> status::Model {
    let ModelRef { name, version, .. } = model.reference();
    let held_out = model.manifest().training.as_ref().map(|training| &training.held_out);
    let metrics = held_out.map(|held_out| {
        let known = [
            ("accuracy", Some(held_out.accuracy)),
            ("macro F1", Some(held_out.macro_f1())),
            ("log loss", held_out.log_loss),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    });
    let url = &settings.url;
    let next = match version {
        0 | 1 => format!("alluvium models list {url}"),
        _ => format!("alluvium models compare {url}@{} {url}@{version} TABLE", version - 1),
    };
    status::Model { name, version, metrics: metrics.unwrap_or_default(), next }
}

/// Binds decoder, model and columns to each other. What the model can't do without, a record must have.
fn bind(
    decode: &DecodeSettings,
    registry: Option<Arc<Registry>>,
    lake: &LakeSettings,
    model: &Model,
) -> Result<Works, PipelineError> {
    let faults = model.check_fields(&decode.fields);
    if !faults.is_empty() {
        return Err(PipelineError::Fields(faults.join("; ")));
    }
    let mut decode = decode.clone();
    for required in model.required_fields() {
        for field in decode.fields.iter_mut().filter(|field| field.name == required) {
            field.nullable = false;
        }
    }
    let decoder = Decoder::new(&decode);
    let scorer = model.scorer(&decoder.schema())?;
    let layout = Layout::new(lake, &decoder.schema(), decoder.is_numbered(), model.classes(), model.reference())?;
    Ok(Works { decoder, writers: Writers::new(registry), scorer, layout: Arc::new(layout) })
}
