//! The model in use, and the watch for a newly promoted one.
//!
//! Owns: what makes a version fit for these fields, and for taking over from another. Does not own: what makes a version
//! sound ([`crate::model`]), nor when a partition changes over ([`crate::lane`]).

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{PipelineError, Settings};
use crate::{
    decode::{DecodeSettings, Decoder},
    lake::{LakeSettings, Layout},
    lane::{Works, Writers},
    model::{self, Model, ModelSettings},
    record::ModelRef,
    registry::Registry,
    telemetry::chain,
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
        })
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
                tell(refusal, &self.in_use());
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
        let works = self.successor(version).await;
        let works = works.map_err(|error| Refusal { version: Some(version), why: chain(&error) })?;
        let (from, to) = (self.in_use(), works.layout.model().clone());
        tracing::info!(%from, %to, "a version was promoted; each partition changes over with its next segment");
        self.current.send_replace(Arc::new(works));
        Ok(())
    }

    async fn successor(&self, version: u32) -> Result<Works, PipelineError> {
        let model = Model::load(&ModelSettings { version: Some(version), ..self.model.clone() }).await?;
        if model.classes() != self.classes {
            let (found, expected) = (model.classes().join(", "), self.classes.join(", "));
            return Err(PipelineError::Classes { found, of: self.in_use().to_string(), expected });
        }
        bind(&self.decode, self.registry.clone(), &self.lake, &model)
    }

    fn in_use(&self) -> ModelRef {
        self.current.borrow().layout.model().clone()
    }
}

fn tell(Refusal { version, why }: &Refusal, in_use: &ModelRef) {
    match version {
        None => tracing::warn!("can't tell which version is promoted, so {in_use} goes on: {why}"),
        Some(version) => {
            tracing::error!("version {version} was promoted and can't be used, so {in_use} goes on: {why}");
            metrics::counter!("alluvium_model_refusals_total").increment(1);
        }
    }
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
