//! What is measured: that it moves, that nothing else is shown, and that Prometheus reads it.

mod files;
mod moves;
mod prometheus;
mod stands;
