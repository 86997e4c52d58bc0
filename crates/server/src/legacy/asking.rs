//! A service that asks for input, before a client that must be asked by requests of the server's own: each round becomes
//! requests on the stream of the call, their answers become the input with which the service is called again.
//!
//! An answer may arrive at another node: it is appended to a topic that the node with the call opened. Spec: 2026-07-28
//! basic/patterns/mrtr; 2025-11-25 client/elicitation, client/sampling, client/roots.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use trunkline_protocol::{Kind, member, write};
use trunkline_service::seal::random;
use trunkline_service::shared::{Away, Follow, Followed, Keep, Shared, Topic};
use trunkline_service::trace::Mark;
use trunkline_service::{Change, Event, Failure, FailureKind, Input, Outcome, Reply, ReplyKind};

use super::call::{Call, refused};
use super::question::{CannotAsk, Question, Wanted};
use super::session::Session;

/// Most times that one call asks its client.
const MAX_ROUNDS: usize = 32;
/// How long people and models may take over all rounds of one call.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a service that asks to be called again is left alone: first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Room, in KiB, for the calls of this process that wait for answers and what they asked; over it nothing more is asked.
static WAITING: Semaphore = Semaphore::const_new(256 * 1024);
/// KiB that a waiting call takes besides.
const WAITING_KIB: u32 = 8;
/// How much of an error that a client answers with is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Calls the service, putting to the client what it asks for; the mark is what log and caller know the call by.
pub(super) async fn answer(call: &Call) -> (Outcome, Mark) {
    let request = call.request(None);
    let mark = request.mark();
    match call.endpoint.service.call(request).await {
        Ok(reply) if reply.kind() != ReplyKind::Complete => {
            // Boxed: nearly every call has the future of one without questions.
            let asking = Asking {
                call,
                opened: Vec::new(),
                until: Instant::now() + PATIENCE,
                backoff: BACKOFF.0,
                rounds: 0,
            };
            (Box::pin(asking.answer(reply)).await, mark)
        }
        outcome => (outcome, mark),
    }
}

/// Takes in an answer that a client sent; nothing when nobody waits for it in that session.
///
/// # Errors
/// [`Away`] when it cannot be told whether somebody does; the client may send it again.
pub(crate) async fn take_answer(shared: &dyn Shared, session: &Session, body: &Bytes) -> Result<(), Away> {
    let id = member(body, "id");
    // Ours are 32 hexadecimal digits.
    let id = id.text(body).filter(|id| id.len() == 32);
    if let Some(number) = id.and_then(|id| u128::from_str_radix(&id, 16).ok()) {
        // A copy: what waits must not keep the buffer of a connection.
        shared.append(Topic::Answer(session.number, number), Bytes::copy_from_slice(body)).await?;
    }
    Ok(())
}

/// One round of questions, read from the reply that asks them.
struct Round {
    questions: Vec<(String, Question)>,
    state: Option<Box<str>>,
}

impl Round {
    fn read(reply: &Reply, call: &Call) -> Result<Self, CannotAsk> {
        let text = [b"{", reply.members(), b"}"].concat();
        let members: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
        let entries = members.get("inputRequests").and_then(Value::as_object).into_iter().flatten();
        let questions = entries
            .map(|(key, entry)| Ok((key.clone(), Question::read(entry, call.session.revision)?)))
            .collect::<Result<_, _>>()?;
        let state = members.get("requestState").and_then(Value::as_str).map(Box::from);
        Ok(Self { questions, state })
    }

    fn has_url(&self, url: &str) -> bool {
        self.questions
            .iter()
            .any(|(_, question)| matches!(&question.wanted, Wanted::Url(wanted) if wanted == url))
    }
}

/// The rounds of one call.
struct Asking<'a> {
    call: &'a Call,
    /// Web pages the user agreed to visit, each with the id it was asked under, until the service asks for them no more.
    opened: Vec<(String, String)>,
    /// When patience ends.
    until: Instant,
    backoff: Duration,
    /// How often the client was asked.
    rounds: usize,
}

/// Ends the call with a text for the model.
struct Stop(String);

impl From<CannotAsk> for Stop {
    fn from(CannotAsk(text): CannotAsk) -> Self {
        Self(text)
    }
}

impl Asking<'_> {
    async fn answer(mut self, mut reply: Reply) -> Outcome {
        loop {
            let input = match self.round(reply).await {
                Ok(input) => input,
                Err(Stop(text)) => return refused(self.call.method, text),
            };
            reply = self.call.endpoint.service.call(self.call.request(Some(input))).await?;
            match reply.kind() {
                ReplyKind::InputRequired => {}
                ReplyKind::Complete => {
                    self.tell_completed(None).await;
                    return Ok(reply);
                }
                ReplyKind::Task => {
                    let text = "a task was begun for a client that knows none";
                    return Err(Failure::new(FailureKind::Internal, text));
                }
            }
        }
    }

    /// Asks all of a round that was not agreed to before, and returns what the client came up with.
    async fn round(&mut self, reply: Reply) -> Result<Input, Stop> {
        let round = Round::read(&reply, self.call)?;
        // Nothing that is as large as a request is kept twice while people think.
        drop(reply);
        self.tell_completed(Some(&round)).await;
        let (known, asked): (Vec<_>, Vec<_>) =
            round.questions.into_iter().partition(|(_, question)| self.has_opened(question));
        let accepted = |(key, _)| (key, Bytes::from_static(br#"{"action":"accept"}"#));
        let mut answers: Vec<(String, Bytes)> = known.into_iter().map(accepted).collect();
        if asked.is_empty() {
            // Nobody is bothered: only time bounds these.
            self.wait().await?;
        } else if self.rounds == MAX_ROUNDS {
            return Err(Stop(format!("this asked the client more than {MAX_ROUNDS} times and was ended")));
        } else {
            self.rounds += 1;
            answers.extend(self.ask(asked).await?);
        }
        let responses = if answers.is_empty() { Bytes::new() } else { object(&answers) };
        Ok(Input { responses, state: round.state })
    }

    /// Tells whether the user agreed to visit that web page before.
    fn has_opened(&self, question: &Question) -> bool {
        let Wanted::Url(url) = &question.wanted else { return false };
        self.opened.iter().any(|(known, _)| known == url)
    }

    /// Leaves the service alone for a while.
    async fn wait(&mut self) -> Result<(), Stop> {
        let wait = self.backoff;
        self.backoff = (wait * 2).min(BACKOFF.1);
        if Instant::now() + wait > self.until {
            return Err(too_late("what this waits for"));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn ask(&mut self, questions: Vec<(String, Question)>) -> Result<Vec<(String, Bytes)>, Stop> {
        let call = self.call;
        let Some(outlet) = call.outlet() else {
            let what = questions.first().map_or("something", |(_, question)| question.what());
            return Err(Stop(format!(
                "this needs {what}, but there is no event stream to ask on: send the call by itself, not in a batch, and let `Accept` allow text/event-stream"
            )));
        };
        let parked = questions.into_iter().map(|(key, question)| Parked::open(call, key, question));
        let mut parked = try_join_all(parked).await?;
        let asked: Vec<Bytes> = parked.iter_mut().map(Parked::take_message).collect();
        let bytes = call.body.len() + asked.iter().map(Bytes::len).sum::<usize>();
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).saturating_add(WAITING_KIB);
        let Ok(_room) = WAITING.try_acquire_many(kib) else { return Err(no_room()) };
        for message in asked {
            outlet.send(Event::Message(message)).await;
        }
        let answers = tokio::select! {
            biased;
            answers = tokio::time::timeout_at(self.until, join_all(parked.iter_mut().map(Parked::answer))) => answers,
            () = ended(call) => return Err(Stop("the session was ended".to_owned())),
            () = outlet.closing().cancelled() => {
                return Err(Stop("the server is stopping and takes no more answers; call again".to_owned()));
            }
        };
        let Ok(answers) = answers else {
            let late: Vec<Bytes> = parked.iter().map(|one| no_longer(&one.id)).collect();
            for message in late {
                outlet.send(Event::Message(message)).await;
            }
            return Err(too_late(parked.first().map_or("the client", |one| one.question.what())));
        };
        parked.into_iter().zip(answers).map(|(one, answer)| self.take(one, &answer)).collect()
    }

    /// Reads the answer to one question.
    fn take(&mut self, one: Parked<'_>, answer: &Bytes) -> Result<(String, Bytes), Stop> {
        let result = member(answer, "result");
        let wanted = &one.question.wanted;
        if result.kind == Kind::Object {
            let result = answer.slice_ref(result.raw(answer));
            if let Wanted::Url(url) = wanted
                && member(&result, "action").text(&result).as_deref() == Some("accept")
            {
                self.opened.push((url.clone(), one.id.clone()));
            }
            return Ok((one.key.clone(), result));
        }
        if matches!(wanted, Wanted::Form | Wanted::Url(_)) {
            return Ok((one.key.clone(), Bytes::from_static(br#"{"action":"cancel"}"#)));
        }
        let error = member(answer, "error").raw(answer);
        let said = member(error, "message").text(error).unwrap_or_default();
        let said: String = said.chars().filter(|letter| !letter.is_control()).take(MAX_SHOWN).collect();
        Err(Stop(format!("this needs {}, which the client refused: {said}", one.question.what())))
    }

    /// Tells the client of web pages that the service waits for no more; `round` is what it asks for now.
    async fn tell_completed(&mut self, round: Option<&Round>) {
        let Some(outlet) = self.call.outlet() else { return };
        let (waiting, done) = std::mem::take(&mut self.opened)
            .into_iter()
            .partition(|(url, _)| round.is_some_and(|round| round.has_url(url)));
        self.opened = waiting;
        let done: Vec<(String, String)> = done;
        for (_, id) in done {
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{{"elicitationId":"{id}"}}}}"#
            );
            outlet.send(Event::Message(text.into())).await;
        }
    }
}

/// Takes a question back.
fn no_longer(id: &str) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":"{id}","reason":"no answer came in time"}}}}"#
    )
    .into()
}

fn no_room() -> Stop {
    Stop("too many questions wait for an answer already; try again later".to_owned())
}

fn too_late(what: &str) -> Stop {
    Stop(format!("this needs {what}, and it did not come within {} minutes", PATIENCE.as_secs() / 60))
}

/// The answers as the object of `inputResponses`.
fn object(answers: &[(String, Bytes)]) -> Bytes {
    let mut out = Vec::with_capacity(answers.iter().map(|(key, answer)| key.len() + answer.len() + 8).sum());
    for (key, answer) in answers {
        out.push(if out.is_empty() { b'{' } else { b',' });
        write::string(&mut out, key);
        out.push(b':');
        out.extend_from_slice(answer);
    }
    out.push(b'}');
    out.into()
}

/// Comes true when the session was ended, on whatever node.
async fn ended(call: &Call) {
    let number = call.session.number;
    let mut changes = call.shared.session_changes(number);
    while !call.shared.is_ended(number) {
        loop {
            match changes.next().await {
                Followed::Message(_, change) if !matches!(Change::from_bytes(&change), Some(Change::Session(session, _)) if session == number) =>
                    {}
                Followed::Closed => return std::future::pending().await,
                _ => break,
            }
        }
    }
}

// ---- a question that waits for its answer ----

struct Parked<'a> {
    key: String,
    question: Question,
    /// 128 random bits; they mean nothing but to the session they were sent in.
    id: String,
    topic: Topic,
    answers: Box<dyn Follow>,
    shared: &'a Arc<dyn Shared>,
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.shared.close(self.topic);
    }
}

impl<'a> Parked<'a> {
    async fn open(call: &'a Call, key: String, question: Question) -> Result<Self, Stop> {
        let mut number = [0; 16];
        random(&mut number).map_err(|_| no_room())?;
        let number = u128::from_be_bytes(number);
        let topic = Topic::Answer(call.session.number, number);
        let keep = Keep { messages: 1, bytes: 0, closed_for: Duration::ZERO, at_most: PATIENCE };
        call.shared.open(topic, keep).await.map_err(|_| no_room())?;
        let Ok(Some(answers)) = call.shared.follow(topic, Some(0)).await else { return Err(no_room()) };
        Ok(Self { key, question, id: format!("{number:032x}"), topic, answers, shared: &call.shared })
    }

    /// Returns the request, which is not kept.
    fn take_message(&mut self) -> Bytes {
        self.question.take_message(&self.id)
    }

    async fn answer(&mut self) -> Bytes {
        loop {
            match self.answers.next().await {
                Followed::Message(_, answer) => return answer,
                Followed::Lagged(_) => {}
                // Forgotten: patience ends soon.
                Followed::Closed => return std::future::pending().await,
            }
        }
    }
}
