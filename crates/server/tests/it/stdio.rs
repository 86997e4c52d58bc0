//! The cases of lines over pipes.

use serde_json::Value;

use crate::fixture::{call, check, endpoint_of, initialize, modern, serve_stdio, serve_stdio_with};

#[test]
fn st_02_a_broken_line_must_not_end_the_session() {
    let mut piped = serve_stdio();
    for (line, code) in [("not json", -32700), (r#"{"jsonrpc":"#, -32700), ("[]", -32600), ("\"x\"", -32600)]
    {
        let answer = piped.ask(line);
        assert_eq!(answer["error"]["code"], code, "{line}");
        assert!(answer.get("id").is_none());
    }
    assert_eq!(piped.ask(&modern("1", "tools/list", ""))["id"], 1);
}

#[test]
fn st_03_byte_order_mark_crlf_blank_lines_padding() {
    let mut piped = serve_stdio();
    piped.write(b"\xEF\xBB\xBF");
    piped.send(&modern("1", "tools/list", ""));
    let first: Value = serde_json::from_str(&piped.line()).unwrap();
    assert!(first["id"] == 1 || first["error"]["code"] == -32700);
    piped.write(b"\r\n\n   \n \t");
    piped.write(format!("{}\r\n", modern("2", "tools/list", "")).as_bytes());
    let second: Value = serde_json::from_str(&piped.line()).unwrap();
    assert_eq!(second["id"], 2);
    assert!(piped.finish().is_empty());
}

#[test]
fn st_04_characters_cut_by_the_pipe() {
    let mut piped = serve_stdio();
    let text = "\u{2014}漢😀é\n\r\u{2028}\u{0}";
    let escaped = r#"—漢😀é\n\r\u2028\u0000"#;
    let line = format!("{}\n", call("1", "echo", &format!(r#"{{"text":"{escaped}"}}"#)));
    for byte in line.as_bytes() {
        piped.write(&[*byte]);
    }
    let answer = piped.line();
    let message: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(message["result"]["content"][0]["text"], text);
    let cut = line.find('😀').unwrap() + 2;
    piped.write(&line.as_bytes()[..cut]);
    piped.write(&line.as_bytes()[cut..]);
    assert_eq!(piped.line(), answer);
}

#[test]
fn st_05_end_of_input_ends_the_server() {
    let mut piped = serve_stdio();
    assert!(piped.finish().is_empty());
    let mut piped = serve_stdio();
    piped.ask(&modern("1", "tools/list", ""));
    piped.send(&call("2", "slow", r#"{"ms":60000}"#));
    let started = std::time::Instant::now();
    assert!(piped.finish().is_empty());
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    // What was asked just before the end is still answered.
    let mut piped = serve_stdio();
    piped.send(&call("3", "echo", r#"{"text":"late","delay":100}"#));
    assert!(piped.finish().concat().contains("late"));
}

#[test]
fn st_05_a_client_that_reads_nothing_does_not_keep_the_server() {
    let mut piped = serve_stdio();
    // More answers than pipes and queues hold, then the end of the input; no more requests than go in before the server waits.
    let list = format!("{}\n", modern("1", "tools/list", ""));
    let answer = piped.ask(list.trim_end()).to_string().len();
    let count = (3 << 20) / answer;
    assert!(count * list.len() < 512 << 10, "{count} requests of {} bytes", list.len());
    let mut input = piped.input.take().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write as _;
        // The server may stop reading first.
        let _ = input.write_all(list.repeat(count).as_bytes());
    });
    let started = std::time::Instant::now();
    std::thread::spawn(move || writer.join());
    piped.thread.take().unwrap().join().unwrap().unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn st_06_size_limits_do_not_depend_on_chunking() {
    let mut piped = serve_stdio();
    let body =
        format!("{}\n", call("1", "echo", &format!(r#"{{"text":"{}"}}"#, "x".repeat(3 * 1024 * 1024))));
    piped.write(body.as_bytes());
    let whole = piped.line();
    for piece in body.as_bytes().chunks(1024) {
        piped.write(piece);
    }
    assert_eq!(whole, piped.line());
    assert!(whole.len() > 3 * 1024 * 1024);

    let mut piped = serve_stdio_with(1000);
    let fits = call("1", "echo", r#"{"text":"@"}"#);
    let fits = fits.replace('@', &"x".repeat(1000 - fits.len() + 1));
    assert_eq!((fits.len(), piped.ask(&fits)["id"].clone()), (1000, 1.into()));
    let answer = piped.ask(&fits.replace("xx", "xxx"));
    assert_eq!(answer["error"]["code"], -32600);
    assert!(answer.get("id").is_none());
    assert_eq!(piped.ask(&modern("2", "tools/list", ""))["id"], 2);
}

#[test]
fn a_changed_list_is_told_to_clients_of_a_handshake() {
    for legacy in [true, false] {
        let mut piped = serve_stdio();
        if legacy {
            let answer = piped.ask(&initialize("2025-11-25"));
            assert_eq!(
                answer["result"]["capabilities"],
                serde_json::json!({ "tools": { "listChanged": true } })
            );
        } else {
            piped.ask(&modern("1", "tools/list", ""));
        }
        // The same tools again: nothing to tell. Then one tool less.
        piped.live.store(endpoint_of(&piped.live, 5));
        piped.live.store(endpoint_of(&piped.live, 4));
        if legacy {
            let told: Value = serde_json::from_str(&piped.line()).unwrap();
            check("2025-11-25", "", &told);
            assert_eq!(told["method"], "notifications/tools/list_changed");
            let list = piped.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
            assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 4);
        }
        assert!(piped.finish().is_empty());
    }
}

#[test]
fn a_result_with_line_breaks_is_one_line() {
    let mut piped = serve_stdio();
    let answer = piped.ask(&call("1", "structured", "{}"));
    assert_eq!(answer["result"]["structuredContent"], serde_json::json!({ "rows": [1, 2] }));
}
