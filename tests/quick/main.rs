//! Quick.
#![allow(warnings)]
#[path = "../it/groups/mod.rs"]
mod groups;
mod support {
    #[path = "../../it/support/admin.rs"]
    pub mod admin;
    #[path = "../../it/support/kafka.rs"]
    pub mod kafka;
    #[path = "../../it/support/parts.rs"]
    pub mod parts;
    pub mod stage {
        pub fn unique_topic() -> String {
            format!("t-{}", uuid::Uuid::new_v4().simple())
        }
    }
    use std::time::Duration;
    pub const LIMIT: Duration = Duration::from_secs(60);
    pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init()
        });
        let waited = tokio::time::timeout(LIMIT, async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited {LIMIT:?} until {what}");
    }
}
#[path = "../it/docs.rs"]
mod docs;
