//! Opens thousands of `subscriptions/listen` streams against one server and tells what they cost: memory of the server per
//! stream, how long a change takes to reach all of them, and what is left once they are closed and the server works on.
//!
//! `bench-listen URL PID [STREAMS]`: the server must have a tool `touch` that announces a change of the tools. Prints one line
//! of JSON. Connections are made anew in a second round: memory that grows from round to round would be a leak.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
/// Connections made at a time, within what the kernel lets wait to be accepted.
const AT_A_TIME: usize = 64;
/// How long anything may take before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn request(id: usize, method: &str, name: &str, params: &str) -> Vec<u8> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params},{META}}}}}"#);
    let name = if name.is_empty() { String::new() } else { format!("Mcp-Name: {name}\r\n") };
    format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads until `text` has come.
async fn until(stream: &mut TcpStream, text: &str) -> anyhow::Result<()> {
    let mut seen = Vec::with_capacity(1024);
    while !seen.windows(text.len()).any(|window| window == text.as_bytes()) {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await?;
        ensure!(read > 0, "closed before `{text}` came: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
    Ok(())
}

async fn listen(address: SocketAddr, id: usize) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let filter = r#""notifications":{"toolsListChanged":true}"#;
    stream.write_all(&request(id, "subscriptions/listen", "", filter)).await?;
    until(&mut stream, "notifications/subscriptions/acknowledged").await?;
    Ok(stream)
}

async fn open(address: SocketAddr, streams: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut opened = Vec::with_capacity(streams);
    let mut tasks = JoinSet::new();
    for id in 1..=streams {
        if tasks.len() == AT_A_TIME
            && let Some(stream) = tasks.join_next().await
        {
            opened.push(stream??);
        }
        tasks.spawn(listen(address, id));
    }
    while let Some(stream) = tasks.join_next().await {
        opened.push(stream??);
    }
    Ok(opened)
}

/// Announces a change and returns how long it took until the last stream had it.
async fn change(address: SocketAddr, streams: Vec<TcpStream>) -> anyhow::Result<(Duration, Vec<TcpStream>)> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        tasks.spawn(async move {
            until(&mut stream, "notifications/tools/list_changed").await?;
            anyhow::Ok(stream)
        });
    }
    let mut caller = TcpStream::connect(address).await?;
    caller.write_all(&request(1, "tools/call", "touch", r#""name":"touch","arguments":{}"#)).await?;
    until(&mut caller, "\"result\"").await?;
    let mut streams = Vec::new();
    while let Some(stream) = tasks.join_next().await {
        streams.push(stream??);
    }
    Ok((started.elapsed(), streams))
}

/// Resident memory of a process in KiB, and its open files.
fn usage(pid: u32) -> anyhow::Result<(u64, usize)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let resident = line.trim().trim_end_matches(" kB").parse()?;
    Ok((resident, std::fs::read_dir(format!("/proc/{pid}/fd"))?.count()))
}

/// Waits until the server has closed the connections that we closed.
async fn settled(pid: u32, files: usize) -> anyhow::Result<u64> {
    let started = Instant::now();
    loop {
        let (resident, open) = usage(pid)?;
        if open <= files + 2 {
            return Ok(resident);
        }
        if started.elapsed() > PATIENCE {
            bail!("{} connections are still open", open - files);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Calls a tool for a while on several connections: an allocator gives memory back while it works, not while it rests.
async fn work(address: SocketAddr) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(2) {
                let arguments = r#""name":"echo","arguments":{"message":"x"}"#;
                stream.write_all(&request(1, "tools/call", "echo", arguments)).await?;
                until(&mut stream, "\"result\"").await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn run() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().context("bench-listen ADDRESS PID [STREAMS]")?.parse()?;
    let pid: u32 = arguments.next().context("the server's process id is missing")?.parse()?;
    let streams = arguments.next().map_or(Ok(10_000), |count| count.parse())?;
    drop(listen(address, 1).await?);
    let (before, files) = usage(pid)?;
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let opened =
            tokio::time::timeout(PATIENCE * 4, open(address, streams)).await.context("opening")??;
        let (full, _) = usage(pid)?;
        let (reached, opened) = tokio::time::timeout(PATIENCE, change(address, opened))
            .await
            .context("a change did not reach all")??;
        drop(opened);
        settled(pid, files).await?;
        work(address).await?;
        rounds.push((full, reached, settled(pid, files).await?));
    }
    let [(first, reached, after), (second, reached_again, after_again)] = rounds[..] else {
        bail!("two rounds")
    };
    let per_stream = |full: u64| (full.saturating_sub(before)) as f64 / streams as f64;
    let result = serde_json::json!({
            "name": "listen", "streams": streams, "kib_per_stream": (per_stream(first) * 100.0).round() / 100.0,
            "kib_per_stream_again": (per_stream(second) * 100.0).round() / 100.0,
            "reached_all_ms": reached.max(reached_again).as_millis(),
            "idle_kib": before, "after_kib": after, "after_again_kib": after_again,
    });
    tokio::io::stdout().write_all(format!("{result}\n").as_bytes()).await?;
    Ok(tokio::io::stdout().flush().await?)
}

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}
