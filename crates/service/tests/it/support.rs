//! What the tests of the store have in common.

use std::future::Future;
use std::time::{Duration, Instant};

use trunkline_service::store::{Store, StoreConfig, StoreUrl};

/// Opens a store in a namespace of its own name.
pub(crate) fn open(url: &str) -> Store {
    open_within(url, Duration::from_millis(250))
}

/// Does so with another time for each command.
pub(crate) fn open_within(url: &str, timeout: Duration) -> Store {
    let config = StoreConfig::new(&StoreUrl::new(url)).unwrap();
    Store::open(config.namespace("test").timeout(timeout)).unwrap()
}

/// Waits until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
