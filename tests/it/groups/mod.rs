//! Consumer groups: members alone, without a pipeline behind them.

mod hands;
mod member;
