//! The registry that gives Avro's schemas their numbers: Confluent's wire format in place of single-object encoding.

use std::{env, path::PathBuf, time::Duration};

use clap::Args;

use super::Usage;
use crate::{
    record::SchemaKind,
    registry::{Registry, RegistrySettings, Secret},
    simulate::encoding::Format,
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// It registers two schemas, and looks none up.
const SCHEMAS: usize = 2;
const PASSWORD: &str = "ALLUVIUM_REGISTRY_PASSWORD";
const USER: &str = "Who asks; the password is read from the environment variable ALLUVIUM_REGISTRY_PASSWORD";

#[derive(Debug, Args)]
#[command(next_help_heading = "Schema registry")]
pub(super) struct RegistryArgs {
    /// Register the Avro schema here, under `TOPIC-value`, and write records in Confluent's wire format
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    #[arg(long, value_name = "USER", help = USER, requires = "registry")]
    registry_user: Option<String>,
    /// A file of certificates in PEM that are trusted in place of the system's
    #[arg(long, value_name = "FILE", requires = "registry")]
    registry_ca: Option<PathBuf>,
}

impl RegistryArgs {
    /// The registry, if there is to be one.
    pub(super) fn open(&self, format: Format) -> anyhow::Result<Option<Registry>> {
        let Some(url) = &self.registry else { return Ok(None) };
        if format != Format::Avro {
            return Err(Usage("--registry goes with --format avro".to_owned()).into());
        }
        let password = env::var(PASSWORD).ok().filter(|_| self.registry_user.is_some());
        let settings = RegistrySettings {
            urls: vec![url.clone()],
            user: self.registry_user.clone(),
            password: password.map(Secret::new),
            ca: self.registry_ca.clone(),
            timeout: TIMEOUT,
            schemas_max: SCHEMAS,
        };
        Ok(Some(Registry::open(&settings)?))
    }
}

/// The number of the schema of a topic's values.
pub(super) async fn register(registry: &Registry, topic: &str, schema: &str) -> anyhow::Result<u32> {
    Ok(registry.register(&format!("{topic}-value"), SchemaKind::Avro, schema, &[]).await?)
}
