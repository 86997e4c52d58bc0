//! What the trait `Shared` promises, asked of both who keep it: in memory and in Redis. Two nodes always; in memory they are one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_protocol::LogLevel;
use trunkline_service::seal::{Sealer, now, now_ms};
use trunkline_service::shared::{
    Cell, Follow, Followed, InMemory, InRedis, Keep, NoRoom, PutError, SettingsChange, Shared, Space, Topic,
    session_number,
};
use trunkline_service::{Caller, Change};
use trunkline_testkit::redis::Server;

use crate::support::{open, until};

const KEEP: Keep =
    Keep { messages: 4, bytes: 1000, closed_for: Duration::from_secs(60), at_most: Duration::from_secs(60) };

/// Two nodes that share, and what has to live as long.
struct Nodes {
    one: Arc<dyn Shared>,
    other: Arc<dyn Shared>,
    _redis: Option<Server>,
}

fn in_memory() -> Nodes {
    let one: Arc<dyn Shared> = Arc::new(InMemory::default());
    Nodes { other: Arc::clone(&one), one, _redis: None }
}

async fn in_redis() -> Nodes {
    let redis = Server::start().await;
    let (one, other) = (node(&redis).await, node(&redis).await);
    Nodes { one, other, _redis: Some(redis) }
}

/// Opens a node that has read what there is.
pub(crate) async fn node(redis: &Server) -> Arc<InRedis> {
    let sealer = Arc::new(Sealer::new(&[[7; 32]]).unwrap());
    let node = Arc::new(InRedis::open(open(&redis.url()), sealer));
    node.until_current().await;
    node
}

/// Makes of each promise one test for each who keeps it.
macro_rules! promises {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::in_memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(super::in_redis().await).await; })*
        }
    };
}

promises! {
    a_session_that_was_ended_is_ended_on_every_node_and_only_once
    what_a_session_sets_is_known_on_every_node_until_it_ends
    settings_changed_on_two_nodes_at_once_are_all_kept
    subscriptions_of_a_session_are_bounded
    changes_are_heard_in_order_on_every_node_and_taken_up_again_on_another
    cancels_and_tasks_are_heard_on_every_node_by_who_follows_them
    a_topic_takes_messages_only_while_it_is_open_and_is_read_on_every_node
    a_reader_is_woken_by_what_comes_and_ends_with_the_topic
    a_topic_keeps_the_last_messages_and_says_what_is_missing
    a_topic_keeps_no_more_bytes_than_it_may_but_the_last_message_always
    topics_of_a_session_are_bounded_and_closing_makes_room
    topics_of_one_caller_are_bounded_in_number_and_bytes_and_room_comes_back
    a_topic_that_is_not_kept_after_its_close_is_gone
    a_cell_is_written_only_from_its_last_version_on_whatever_node
    a_cell_that_was_removed_or_expired_is_gone_and_its_version_never_comes_back
    of_many_writers_of_one_cell_each_wins_once
}

/// The next thing a reader comes upon, which must come soon.
async fn next(reader: &mut Box<dyn Follow>) -> Followed {
    tokio::time::timeout(Duration::from_secs(20), reader.next()).await.expect("nothing came")
}

/// The next change a reader comes upon.
async fn change(reader: &mut Box<dyn Follow>) -> Option<Change> {
    match next(reader).await {
        Followed::Message(_, bytes) => Change::from_bytes(&bytes),
        other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn cell(id: u8) -> Cell {
    Cell { space: Space::Task, id: [id].into() }
}

/// The number of a session of that caller; of the local user for nobody.
fn session(caller: Option<&str>, own: u64) -> u128 {
    let known = |name: &str| Caller { issuer: Some("i".into()), subject: name.into(), ..Caller::default() };
    session_number(&caller.map_or_else(|| (*Caller::local()).clone(), known), own)
}

async fn a_session_that_was_ended_is_ended_on_every_node_and_only_once(nodes: Nodes) {
    let expires = now() + 600;
    let mut changes = nodes.other.session_changes(7);
    assert_eq!(nodes.one.end_session(7, expires).await, Ok(true));
    assert!(nodes.one.is_ended(7), "at once where it was ended");
    until("the other knows", async || nodes.other.is_ended(7)).await;
    assert_eq!(nodes.other.end_session(7, expires).await, Ok(false));
    assert!(!nodes.one.is_ended(8) && !nodes.other.is_ended(8));
    assert!(matches!(change(&mut changes).await, Some(Change::Session(7, _))));
    assert!(nodes.other.vouches_for(now()));
}

async fn what_a_session_sets_is_known_on_every_node_until_it_ends(nodes: Nodes) {
    let expires = now() + 600;
    let mut changes = nodes.other.session_changes(7);
    assert_eq!(nodes.one.settings(7), None);
    nodes.one.change_settings(7, expires, SettingsChange::Level(LogLevel::Error)).await.unwrap();
    assert_eq!(nodes.one.settings(7).unwrap().level, Some(LogLevel::Error), "at once where it was set");
    assert!(matches!(change(&mut changes).await, Some(Change::Session(7, _))));
    nodes.other.change_settings(7, expires, SettingsChange::Subscribe("a".into())).await.unwrap();
    nodes.one.change_settings(7, expires, SettingsChange::Subscribe("b".into())).await.unwrap();
    nodes.other.change_settings(7, expires, SettingsChange::Unsubscribe("a".into())).await.unwrap();
    for node in [&nodes.one, &nodes.other] {
        until("the node knows all of it", async || {
            node.settings(7).is_some_and(|settings| {
                settings.level == Some(LogLevel::Error) && settings.subscriptions.iter().eq([&"b".into()])
            })
        })
        .await;
    }
    nodes.one.end_session(7, expires).await.unwrap();
    until("they are gone", async || nodes.other.settings(7).is_none() && nodes.one.settings(7).is_none())
        .await;
}

async fn settings_changed_on_two_nodes_at_once_are_all_kept(nodes: Nodes) {
    let subscribe = |node: &Arc<dyn Shared>, uri: u32| {
        let node = Arc::clone(node);
        async move {
            node.change_settings(7, now() + 600, SettingsChange::Subscribe(uri.to_string().into())).await
        }
    };
    let all = (0..5).flat_map(|uri| [subscribe(&nodes.one, uri), subscribe(&nodes.other, uri + 5)]);
    for done in futures_util::future::join_all(all).await {
        done.unwrap();
    }
    for node in [&nodes.one, &nodes.other] {
        until("all are there", async || {
            node.settings(7).is_some_and(|settings| settings.subscriptions.len() == 10)
        })
        .await;
    }
}

async fn subscriptions_of_a_session_are_bounded(nodes: Nodes) {
    let mut taken = 0;
    for uri in 0..260 {
        let change = SettingsChange::Subscribe(format!("file:///{uri}").into());
        taken += usize::from(nodes.one.change_settings(7, now() + 600, change).await.is_ok());
    }
    assert_eq!(taken, 256);
    let long = SettingsChange::Subscribe("x".repeat(3000).into());
    assert_eq!(nodes.other.change_settings(8, now() + 600, long).await, Err(NoRoom::OfCaller));
}

async fn changes_are_heard_in_order_on_every_node_and_taken_up_again_on_another(nodes: Nodes) {
    let mut readers = [nodes.one.changes(None), nodes.other.changes(None)];
    let all = [Change::Tools, Change::Resource("file:///a".into()), Change::Prompts, Change::Resources];
    all.iter().for_each(|change| nodes.one.announce(change.clone()));
    let mut second = Vec::new();
    for reader in &mut readers {
        for (index, expected) in all.iter().enumerate() {
            let Followed::Message(position, bytes) = next(reader).await else { panic!("lagged") };
            assert_eq!(Change::from_bytes(&bytes).as_ref(), Some(expected));
            if index == 1 {
                second.push(position);
            }
        }
    }
    assert_eq!(second[0], second[1], "positions are the same on every node");
    let mut again = nodes.other.changes(Some(second[0]));
    assert_eq!(change(&mut again).await, Some(Change::Prompts));
    assert_eq!(change(&mut again).await, Some(Change::Resources));
}

async fn cancels_and_tasks_are_heard_on_every_node_by_who_follows_them(nodes: Nodes) {
    let mut readers = [nodes.one.session_changes(7), nodes.other.session_changes(7)];
    let mut tasks = [nodes.one.task_changes(), nodes.other.task_changes()];
    nodes.one.announce(Change::Cancel(7, "\"1\"".into()));
    nodes.one.announce(Change::Task("t".into()));
    for reader in &mut readers {
        assert_eq!(change(reader).await, Some(Change::Cancel(7, "\"1\"".into())));
    }
    for reader in &mut tasks {
        assert_eq!(change(reader).await, Some(Change::Task("t".into())));
    }
}

async fn a_topic_takes_messages_only_while_it_is_open_and_is_read_on_every_node(nodes: Nodes) {
    let topic = Topic::Answer(1, 2);
    assert_eq!(nodes.one.append(topic, text("x")).await, Ok(None), "nobody opened it");
    assert!(nodes.one.follow(topic, None).await.unwrap().is_none());
    nodes.one.open(topic, KEEP).await.unwrap();
    nodes.other.open(topic, KEEP).await.unwrap();
    assert_eq!(nodes.other.append(topic, text("x")).await, Ok(Some(1)));
    assert_eq!(nodes.one.append(topic, text("")).await, Ok(Some(2)));
    nodes.other.close(topic);
    until("it is closed", async || nodes.one.append(topic, text("y")).await == Ok(None)).await;
    for node in [&nodes.one, &nodes.other] {
        let mut reader = node.follow(topic, Some(0)).await.unwrap().unwrap();
        assert_eq!(next(&mut reader).await, Followed::Message(1, text("x")));
        assert_eq!(next(&mut reader).await, Followed::Message(2, text("")));
        let mut after = node.follow(topic, Some(1)).await.unwrap().unwrap();
        assert_eq!(next(&mut after).await, Followed::Message(2, text("")));
    }
}

async fn a_reader_is_woken_by_what_comes_and_ends_with_the_topic(nodes: Nodes) {
    let topic = Topic::Stream(1, 2);
    nodes.one.open(topic, KEEP).await.unwrap();
    nodes.one.append(topic, text("before")).await.unwrap();
    let mut all = nodes.other.follow(topic, Some(0)).await.unwrap().unwrap();
    let mut new = nodes.other.follow(topic, None).await.unwrap().unwrap();
    assert_eq!(next(&mut all).await, Followed::Message(1, text("before")));
    let (heard, ()) = tokio::join!(async { (next(&mut all).await, next(&mut new).await) }, async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        nodes.one.append(topic, text("after")).await.unwrap();
    });
    let after = Followed::Message(2, text("after"));
    assert_eq!(heard, (after.clone(), after));
    nodes.one.close(topic);
    assert_eq!((next(&mut all).await, next(&mut new).await), (Followed::Closed, Followed::Closed));
}

async fn a_topic_keeps_the_last_messages_and_says_what_is_missing(nodes: Nodes) {
    let topic = Topic::Stream(1, 2);
    nodes.one.open(topic, KEEP).await.unwrap();
    for number in 1..=10 {
        assert_eq!(nodes.one.append(topic, text(&number.to_string())).await, Ok(Some(number)));
    }
    let mut reader = nodes.other.follow(topic, Some(2)).await.unwrap().unwrap();
    assert_eq!(next(&mut reader).await, Followed::Lagged(6));
    for number in 7..=10 {
        assert_eq!(next(&mut reader).await, Followed::Message(number, text(&number.to_string())));
    }
    let mut strange = nodes.other.follow(topic, Some(99)).await.unwrap().unwrap();
    assert_eq!(next(&mut strange).await, Followed::Lagged(6), "a position of another topic");
}

async fn a_topic_keeps_no_more_bytes_than_it_may_but_the_last_message_always(nodes: Nodes) {
    let topic = Topic::Stream(1, 2);
    nodes.one.open(topic, KEEP).await.unwrap();
    nodes.one.append(topic, Bytes::from(vec![1; 600])).await.unwrap();
    nodes.one.append(topic, Bytes::from(vec![2; 400])).await.unwrap();
    let mut both = nodes.other.follow(topic, Some(0)).await.unwrap().unwrap();
    assert_eq!(next(&mut both).await, Followed::Message(1, Bytes::from(vec![1; 600])));
    nodes.one.append(topic, Bytes::from(vec![3; 5000])).await.unwrap();
    let mut last = nodes.other.follow(topic, Some(0)).await.unwrap().unwrap();
    assert_eq!(next(&mut last).await, Followed::Lagged(2));
    assert_eq!(next(&mut last).await, Followed::Message(3, Bytes::from(vec![3; 5000])));
}

async fn topics_of_a_session_are_bounded_and_closing_makes_room(nodes: Nodes) {
    let keep = Keep { closed_for: Duration::ZERO, ..KEEP };
    for number in 0..128 {
        nodes.one.open(Topic::Answer(1, number), keep).await.unwrap();
    }
    assert_eq!(nodes.other.open(Topic::Answer(1, 200), keep).await, Err(NoRoom::OfCaller));
    assert_eq!(nodes.other.open(Topic::Answer(2, 0), keep).await, Ok(()));
    nodes.one.close(Topic::Answer(1, 0));
    until("there is room", async || nodes.other.open(Topic::Answer(1, 200), keep).await.is_ok()).await;
}

async fn topics_of_one_caller_are_bounded_in_number_and_bytes_and_room_comes_back(nodes: Nodes) {
    let (ann, bob) = (Some("ann"), Some("bob"));
    // A sixteenth of what one caller's streams may keep each.
    let keep = Keep { messages: 4, bytes: 2 << 20, closed_for: Duration::ZERO, ..KEEP };
    let stream = |caller, number: u64| Topic::Stream(session(caller, number), number.into());
    for number in 0..16 {
        nodes.one.open(stream(ann, number), keep).await.unwrap();
        nodes.other.append(stream(ann, number), Bytes::from(vec![0; 1 << 20])).await.unwrap();
    }
    assert_eq!(nodes.other.open(stream(ann, 99), keep).await, Err(NoRoom::OfCaller));
    assert_eq!(nodes.other.open(stream(bob, 0), keep).await, Ok(()));
    // One more message leaves no other.
    nodes.one.append(stream(ann, 3), text("last")).await.unwrap();
    let mut reader = nodes.other.follow(stream(ann, 3), Some(0)).await.unwrap().unwrap();
    assert_eq!(next(&mut reader).await, Followed::Lagged(1));
    assert_eq!(next(&mut reader).await, Followed::Message(2, text("last")));
    drop(reader);
    for number in 0..16 {
        nodes.one.close(stream(ann, number));
    }
    let has_room = async || nodes.other.open(stream(ann, 99), keep).await.is_ok();
    until("there is room", has_room).await;
    // Whatever their sessions are: 128 questions of each of 32, less the stream above.
    let question = |number: u64| Topic::Answer(session(ann, number / 128), number.into());
    until("the streams are closed", async || {
        nodes.one.follow(stream(ann, 15), None).await.unwrap().is_none()
    })
    .await;
    for number in 0..4095 {
        assert_eq!(nodes.one.open(question(number), keep).await, Ok(()), "{number}");
    }
    assert_eq!(nodes.other.open(Topic::Answer(session(ann, 777), 1), keep).await, Err(NoRoom::OfCaller));
    assert_eq!(nodes.other.open(Topic::Answer(session(bob, 1), 1), keep).await, Ok(()));
    assert_eq!(nodes.other.open(Topic::Answer(session(None, 1), 1), keep).await, Ok(()));
    nodes.one.close(question(7));
    until("there is room", async || {
        nodes.other.open(Topic::Answer(session(ann, 777), 1), keep).await.is_ok()
    })
    .await;
}

async fn a_topic_that_is_not_kept_after_its_close_is_gone(nodes: Nodes) {
    let topic = Topic::Answer(1, 2);
    nodes.one.open(topic, Keep { closed_for: Duration::ZERO, ..KEEP }).await.unwrap();
    nodes.one.append(topic, text("x")).await.unwrap();
    nodes.one.close(topic);
    until("it is gone", async || nodes.other.follow(topic, Some(0)).await.unwrap().is_none()).await;
    let brief = Keep { at_most: Duration::from_millis(1), ..KEEP };
    nodes.one.open(topic, brief).await.unwrap();
    until("it expired", async || nodes.other.follow(topic, Some(0)).await.unwrap().is_none()).await;
}

async fn a_cell_is_written_only_from_its_last_version_on_whatever_node(nodes: Nodes) {
    let expires = now_ms() + 60_000;
    let first = nodes.one.put(&cell(1), 0, text("a"), expires).await.unwrap();
    assert_eq!(nodes.other.put(&cell(1), 0, text("b"), expires).await, Err(PutError::Conflict));
    let second = nodes.other.put(&cell(1), first, text("c"), expires).await.unwrap();
    assert!(second > first);
    assert_eq!(nodes.one.put(&cell(1), first, text("d"), expires).await, Err(PutError::Conflict));
    assert_eq!(nodes.one.get(&cell(1)).await, Ok(Some((second, text("c")))));
    assert_eq!(nodes.one.get(&cell(2)).await, Ok(None));
}

async fn a_cell_that_was_removed_or_expired_is_gone_and_its_version_never_comes_back(nodes: Nodes) {
    let first = nodes.one.put(&cell(1), 0, text("a"), now_ms() + 60_000).await.unwrap();
    nodes.other.remove(&cell(1)).await.unwrap();
    assert_eq!(nodes.one.get(&cell(1)).await, Ok(None));
    assert_eq!(nodes.one.put(&cell(1), first, text("b"), now_ms() + 60_000).await, Err(PutError::Conflict));
    let again = nodes.one.put(&cell(1), 0, text("b"), now_ms() + 60_000).await.unwrap();
    assert!(again > first);
    nodes.one.put(&cell(2), 0, text("x"), 1).await.unwrap();
    assert_eq!(nodes.other.get(&cell(2)).await, Ok(None));
    assert!(nodes.other.put(&cell(2), 0, text("y"), u64::MAX).await.is_ok());
}

async fn of_many_writers_of_one_cell_each_wins_once(nodes: Nodes) {
    nodes.one.put(&cell(1), 0, text("0"), now_ms() + 60_000).await.unwrap();
    let add = |node: &Arc<dyn Shared>| {
        let node = Arc::clone(node);
        async move {
            loop {
                let (version, value) = node.get(&cell(1)).await.unwrap().unwrap();
                let number: u32 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                let next = text(&(number + 1).to_string());
                if node.put(&cell(1), version, next, now_ms() + 60_000).await.is_ok() {
                    return;
                }
            }
        }
    };
    futures_util::future::join_all((0..5).flat_map(|_| [add(&nodes.one), add(&nodes.other)])).await;
    assert_eq!(nodes.one.get(&cell(1)).await.unwrap().unwrap().1, text("10"));
}

/// What the store has counted of callers: looked at, and set for one.
struct Owners<'a>(&'a Server);

impl Owners<'_> {
    fn kinds(&self, of: &str) -> String {
        self.0.ask(&["HLEN", &format!("trunkline:{{test}}:{of}:owners")]).trim().to_owned()
    }

    /// Sets how many sessions and bytes the caller of a session has.
    fn set(&self, session: u128, sessions: usize, bytes: usize) {
        let script = "local raw = ARGV[1]:gsub('..', function(byte) return string.char(tonumber(byte, 16)) end) \
            return redis.call('HSET', KEYS[1], 'n' .. raw, ARGV[2], 'b' .. raw, ARGV[3])";
        let (key, owner) = ("trunkline:{test}:sessions:owners", format!("{:016x}", session >> 64));
        let (sessions, bytes) = (sessions.to_string(), bytes.to_string());
        let answer = self.0.ask(&["EVAL", script, "1", key, &owner, &sessions, &bytes]);
        assert!(answer.starts_with(':'), "{answer}");
    }
}

#[tokio::test]
async fn what_a_caller_has_in_the_store_is_counted_and_forgotten_when_it_goes() {
    let redis = Server::start().await;
    let (one, other, owners) = (node(&redis).await, node(&redis).await, Owners(&redis));
    let ann = |own| session(Some("ann"), own);
    let subscribe = |uri: &str| SettingsChange::Subscribe(uri.into());
    let soon = now() + 1;
    one.change_settings(ann(1), soon, subscribe("a")).await.unwrap();
    other.change_settings(ann(1), soon, subscribe("b")).await.unwrap();
    other.change_settings(ann(1), soon, SettingsChange::Unsubscribe("b".into())).await.unwrap();
    one.end_session(ann(2), soon).await.unwrap();
    other.end_session(ann(1), soon).await.unwrap();
    one.end_session(session(None, 1), soon).await.unwrap();
    assert_eq!(owners.kinds("sessions"), ":2", "sessions and bytes of one caller");
    until("what expired is not counted", async || {
        one.end_session(session(None, 2), now() + 600).await.unwrap();
        owners.kinds("sessions") == ":0"
    })
    .await;
    let keep = Keep { closed_for: Duration::ZERO, ..KEEP };
    let stream = Topic::Stream(ann(1), 1);
    one.open(stream, keep).await.unwrap();
    other.append(stream, text("some")).await.unwrap();
    assert_eq!(owners.kinds("topics"), ":2");
    one.close(stream);
    until("the stream is not counted", async || owners.kinds("topics") == ":0").await;
}

#[tokio::test]
async fn one_caller_has_a_part_of_the_sessions_in_the_store_and_a_node_that_remembers_more_goes_on() {
    let redis = Server::start().await;
    let (one, other, owners) = (node(&redis).await, node(&redis).await, Owners(&redis));
    let (ann, expires) = (|own| session(Some("ann"), own), now() + 600);
    let subscribe = |uri: &str| SettingsChange::Subscribe(uri.into());
    one.change_settings(ann(1), expires, subscribe("a")).await.unwrap();
    one.end_session(ann(2), expires).await.unwrap();
    owners.set(ann(0), 25_000, 100);
    assert_eq!(other.end_session(ann(3), expires).await, Err(NoRoom::OfCaller));
    assert_eq!(other.change_settings(ann(4), expires, subscribe("a")).await, Err(NoRoom::OfCaller));
    assert_eq!(other.end_session(ann(2), expires).await, Ok(false));
    assert_eq!(other.change_settings(ann(1), expires, subscribe("b")).await, Ok(()));
    owners.set(ann(0), 2, 6 << 20);
    assert_eq!(one.change_settings(ann(1), expires, subscribe("c")).await, Err(NoRoom::OfCaller));
    assert_eq!(one.change_settings(session(Some("bob"), 1), expires, subscribe("c")).await, Ok(()));
    assert_eq!(one.end_session(session(Some("bob"), 2), expires).await, Ok(true));
    // A store that lost all and has no room for this caller any more hears of the others.
    let _ = redis.ask(&["FLUSHALL"]);
    owners.set(ann(0), 25_000, 100);
    let _ = redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("the store was told again", async || {
        redis.ask(&["ZCARD", "trunkline:{test}:sessions"]).trim() == ":1" && one.is_current()
    })
    .await;
    assert!(one.is_ended(ann(2)), "what this node knows counts on");
}
