//! Opens the lanes, joins them, stops them.

use crate::{broker, decode, lake, lane, model};

/// Everything a run needs to know, checked: what a pipeline file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub source: broker::SourceSettings,
    pub broker: broker::BrokerLimits,
    pub decode: decode::DecodeSettings,
    pub model: model::ModelSettings,
    pub lake: lake::LakeSettings,
    pub limits: lane::Limits,
    /// Where `/metrics` is served; nowhere by default.
    pub metrics: Option<std::net::SocketAddr>,
}
