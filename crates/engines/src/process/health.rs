//! Tries once whether a workload is up.
//!
//! Each observation is one try: whoever observes again and again counts for himself, and a single
//! command has nothing to count with.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::exec;
use super::images::Images;
use super::launch::{Launch, Probe};

/// Whether the health check of a workload that runs passes; `true` where it has none.
pub(crate) async fn passes(launch: &Launch, images: &Images) -> bool {
    let Some(health) = &launch.health else {
        return true;
    };
    let tried = async {
        match &health.probe {
            Probe::Tcp(port) => {
                let address = SocketAddr::new(launch.ip, *port);
                TcpStream::connect(address).await.is_ok()
            }
            Probe::Exec(words) => run(launch, words, images).await,
        }
    };
    let limit = Duration::from_millis(health.timeout_ms);
    timeout(limit, tried).await.unwrap_or(false)
}

async fn run(launch: &Launch, words: &[String], images: &Images) -> bool {
    let Ok(mut command) = exec::command(launch, words, None, images) else {
        return false;
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // One that takes too long is dropped, and must not stay behind.
        .kill_on_drop(true);
    command.status().await.is_ok_and(|status| status.success())
}
