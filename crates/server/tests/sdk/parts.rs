//! Streams of parts: told while they run, kept up to a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use serde_json::json;
use trunkline_server::sdk::{Context, DynTool, Image, Parts, Server, ToolError};

use crate::peer::Peer;
use crate::support::{message, streaming, text};

#[tokio::test]
async fn parts_leave_as_progress_and_the_whole_is_the_result() {
    let tool = DynTool::new("t").handler(|_: Context| async { Parts(stream::iter(["a", "b", "c"])) });
    let service = Server::new("t", "1").tool(tool).into_service().unwrap();
    let (request, mut events) = streaming("tools/call", json!({ "name": "t" }), 16);
    let reply = service.call(request).await.unwrap();
    let mut last = 0.0;
    for part in ["a", "b", "c"] {
        let event = message(&events.recv().await.unwrap());
        assert_eq!(
            (&event["method"], &event["params"]["message"]),
            (&json!("notifications/progress"), &json!(part))
        );
        let progress = event["params"]["progress"].as_f64().unwrap();
        assert!(progress > last);
        last = progress;
    }
    assert!(events.try_recv().is_err());
    let result: serde_json::Value =
        serde_json::from_str(&format!("{{{}}}", String::from_utf8_lossy(reply.members()))).unwrap();
    assert_eq!(result["content"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn without_a_token_there_is_only_the_result() {
    let tool = DynTool::new("t").handler(|_: Context| async {
        Parts(stream::iter([
            Ok("a".to_owned()),
            Err(ToolError::new("then it broke")),
            Ok("never".to_owned()),
        ]))
    });
    let result = Peer::new(Server::new("t", "1").tool(tool)).call("t", json!({})).await;
    assert_eq!(result["isError"], true);
    assert_eq!(text(&result), "a");
    assert_eq!(result["content"][1]["text"], "then it broke");
    assert_eq!(result["content"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn past_the_bound_the_result_says_how_much_was_left_out() {
    let tool = DynTool::new("t")
        .handler(|_: Context| async { Parts(stream::iter((0..100).map(|number| format!("{number:0100}")))) });
    let result = Peer::new(Server::new("t", "1").tool(tool).max_result(1000)).call("t", json!({})).await;
    let content = result["content"].as_array().unwrap();
    assert_eq!(content.len(), 8);
    let mark = content.last().unwrap()["text"].as_str().unwrap();
    assert!(
        mark.starts_with("[93 more parts (") && mark.ends_with("a result holds at most 1000 bytes]"),
        "{mark}"
    );
    assert_eq!(result["isError"], false);
}

#[tokio::test]
async fn a_picture_is_told_in_words() {
    let tool = DynTool::new("t")
        .handler(|_: Context| async { Parts(stream::iter([Image::new(vec![0_u8; 10], "image/png")])) });
    let service = Server::new("t", "1").tool(tool).into_service().unwrap();
    let (request, mut events) = streaming("tools/call", json!({ "name": "t" }), 16);
    service.call(request).await.unwrap();
    assert_eq!(message(&events.recv().await.unwrap())["params"]["message"], "[image, image/png, 10 bytes]");
}

#[tokio::test]
async fn a_slow_reader_slows_the_stream_and_only_that() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let tool = DynTool::new("t").handler(move |_: Context| {
        let counter = Arc::clone(&counter);
        async move {
            Parts(stream::iter((0..1000).map(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
                "part"
            })))
        }
    });
    let service = Server::new("t", "1").tool(tool).into_service().unwrap();
    let (request, mut events) = streaming("tools/call", json!({ "name": "t" }), 4);
    let mut call = service.call(request);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut call).await.is_err());
    assert!(made.load(Ordering::SeqCst) <= 6, "{made:?}");
    let (reply, seen) = tokio::join!(call, async {
        let mut seen = 0;
        while seen < 1000 {
            events.recv().await.unwrap();
            seen += 1;
        }
        seen
    });
    assert_eq!((reply.unwrap().is_error(), seen), (false, 1000));
}

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn memory_stays_flat_while_a_gibibyte_is_streamed_to_a_slow_reader() {
    const PARTS: usize = 1024;
    const PART: usize = 1 << 20;
    let tool = DynTool::new("t").handler(|_: Context| async {
        let part: std::borrow::Cow<'static, str> = "x".repeat(PART).leak().to_owned().into();
        Parts(stream::iter((0..PARTS).map(move |_| part.clone())))
    });
    let service = Server::new("t", "1").tool(tool).deadline(None).into_service().unwrap();
    let (request, mut events) = streaming("tools/call", json!({ "name": "t" }), 4);
    let before = resident();
    let mut most = before;
    let reading = async {
        let (mut seen, mut bytes) = (0, 0);
        while seen < PARTS {
            let Some(trunkline_service::Event::Message(message)) = events.recv().await else {
                panic!("{seen}")
            };
            (seen, bytes) = (seen + 1, bytes + message.len());
            if seen % 32 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                most = most.max(resident());
            }
        }
        bytes
    };
    let (reply, bytes) = tokio::join!(service.call(request), reading);
    let reply = reply.unwrap();
    assert!(bytes > 1 << 30, "{bytes}");
    assert!(reply.members().len() < (1 << 20) + 1024, "{}", reply.members().len());
    assert!(most - before < 32 * 1024, "{before} KiB before, {most} KiB at most");
}
