//! Groups: workers that share a topic, on the embedded broker and on Apache Kafka.

#[cfg(unix)]
mod crew;
#[cfg(unix)]
mod kafka;
