//! Asking the client's model, with messages, tools and their results as typed parts.

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::dialogue::capability::Need;
use super::dialogue::question::{Asking, Question, ask};
use super::{Context, Role};

/// What the client's model is asked. Build it up, then `ctx.sample(..).await`.
///
/// Deprecated in the protocol, and still answered by clients. Spec: 2026-07-28 client/sampling.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct CreateMessage {
    messages: Vec<SamplingMessage>,
    max_tokens: u32,
    preferences: Option<ModelPreferences>,
    system: Option<String>,
    temperature: Option<f64>,
    stop: Vec<String>,
    metadata: Option<Map<String, Value>>,
    tools: Vec<SamplingTool>,
    tool_choice: Option<ToolChoice>,
}

/// A message to or from a model. Spec: 2026-07-28 schema#samplingmessage
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<SamplingBlock>,
}

/// A part of a message. Spec: 2026-07-28 schema#samplingmessagecontentblock
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum SamplingBlock {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image {
        /// Its bytes in base64.
        data: String,
        /// Such as `image/png`.
        mime_type: String,
    },
    /// A sound.
    Audio {
        /// Its bytes in base64.
        data: String,
        /// Such as `audio/wav`.
        mime_type: String,
    },
    /// The model calls a tool; the next message must hold its result.
    ToolUse {
        /// Names this call.
        id: String,
        /// The tool.
        name: String,
        /// The arguments.
        input: Map<String, Value>,
    },
    /// What a tool came to.
    ToolResult {
        /// The call it answers.
        tool_use_id: String,
        /// Content blocks as in a tool result.
        content: Vec<Value>,
        /// The same as data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        structured_content: Option<Value>,
        /// The tool could not do what was asked. False unless said.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

/// A tool the model may call while it answers; it is run by you, not by the client.
/// Spec: 2026-07-28 schema#tool
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingTool {
    /// The name it is called by.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The JSON Schema of its arguments: an object schema.
    pub input_schema: Value,
}

/// Whether the model may, must or must not call tools. Spec: 2026-07-28 schema#toolchoice
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoice {
    /// As it sees fit.
    Auto,
    /// At least one.
    Required,
    /// None.
    None,
}

/// Which model is wished for; the client decides. Spec: 2026-07-28 client/sampling#model-preferences
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelPreferences {
    /// Parts of model names, the best first.
    #[serde(serialize_with = "hints", skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// How much a low price matters, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_priority: Option<f64>,
    /// How much speed matters, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_priority: Option<f64>,
    /// How much ability matters, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intelligence_priority: Option<f64>,
}

fn hints<S: serde::Serializer>(hints: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hints.iter().map(|name| json!({ "name": name })))
}

/// What the model answered. Spec: 2026-07-28 schema#createmessageresult
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SamplingResult {
    /// Who speaks, as a rule the assistant.
    pub role: Role,
    /// What it said, in order.
    pub content: Vec<SamplingBlock>,
    /// The model that answered.
    pub model: String,
    /// Why it stopped, if the client told.
    pub stop_reason: Option<StopReason>,
}

/// Why a model stopped. Spec: 2026-07-28 schema#createmessageresult
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It had said all.
    EndTurn,
    /// It came upon a stop sequence.
    StopSequence,
    /// It reached the most tokens allowed.
    MaxTokens,
    /// It wants tools to be run.
    ToolUse,
    /// Something else, in the client's words.
    Other(String),
}

impl SamplingBlock {
    /// Makes a part of a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// Makes the answer to a tool call from a text.
    #[must_use]
    pub fn tool_result(tool_use_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::ToolResult {
            tool_use_id: tool_use_id.into(),
            content: vec![json!({ "type": "text", "text": text.into() })],
            structured_content: None,
            is_error: false,
        }
    }
}

impl SamplingMessage {
    /// Makes a message.
    #[must_use]
    pub fn new(role: Role, content: Vec<SamplingBlock>) -> Self {
        Self { role, content }
    }

    fn to_json(&self) -> Value {
        // One block stands alone: clients of older revisions know no lists here.
        match self.content.as_slice() {
            [one] => json!({ "role": self.role.as_str(), "content": one }),
            blocks => json!({ "role": self.role.as_str(), "content": blocks }),
        }
    }

    fn tool_uses(&self) -> impl Iterator<Item = &str> {
        self.content.iter().filter_map(|block| match block {
            SamplingBlock::ToolUse { id, .. } => Some(id.as_str()),
            _ => None,
        })
    }

    fn tool_results(&self) -> impl Iterator<Item = &str> {
        self.content.iter().filter_map(|block| match block {
            SamplingBlock::ToolResult { tool_use_id, .. } => Some(tool_use_id.as_str()),
            _ => None,
        })
    }
}

impl CreateMessage {
    /// Begins without messages; the answer takes at most `max_tokens` tokens.
    pub fn new(max_tokens: u32) -> Self {
        Self {
            messages: Vec::new(),
            max_tokens,
            preferences: None,
            system: None,
            temperature: None,
            stop: Vec::new(),
            metadata: None,
            tools: Vec::new(),
            tool_choice: None,
        }
    }

    /// Adds a text of the user.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(SamplingMessage::new(Role::User, vec![SamplingBlock::text(text)]))
    }

    /// Adds a text of the model.
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(SamplingMessage::new(Role::Assistant, vec![SamplingBlock::text(text)]))
    }

    /// Adds a message, such as [`SamplingResult::into_message`] and the results of the tools it called.
    pub fn message(mut self, message: SamplingMessage) -> Self {
        self.messages.push(message);
        self
    }

    /// Says what the model should know beforehand. The client may change or leave it out.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.system = Some(text.into());
        self
    }

    /// Says which model is wished for.
    pub fn preferences(mut self, preferences: ModelPreferences) -> Self {
        self.preferences = Some(preferences);
        self
    }

    /// Says how freely the model may choose its words; finite, models know 0 to 1 or 2.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Adds a text at which the model stops.
    pub fn stop(mut self, sequence: impl Into<String>) -> Self {
        self.stop.push(sequence.into());
        self
    }

    /// Sets what is passed on to the model's provider.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Adds a tool the model may call. Needs a client that declares `sampling.tools`.
    pub fn tool(mut self, tool: SamplingTool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Says whether tools must be called. Needs a client that declares `sampling.tools`.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = Some(choice);
        self
    }

    fn uses_tools(&self) -> bool {
        let in_message = |message: &SamplingMessage| {
            message.tool_uses().next().is_some() || message.tool_results().next().is_some()
        };
        !self.tools.is_empty() || self.tool_choice.is_some() || self.messages.iter().any(in_message)
    }

    /// Checks what the protocol demands of messages. Spec: 2026-07-28 client/sampling#message-content-constraints
    fn check(&self) -> Result<(), String> {
        if self.messages.is_empty() {
            return Err("a model is asked without a message; add one with `user`".to_owned());
        }
        if self.temperature.is_some_and(|temperature| !temperature.is_finite()) {
            return Err("`temperature` must be a finite number".to_owned());
        }
        let mut waiting: Vec<&str> = Vec::new();
        for (number, message) in (1..).zip(&self.messages) {
            let results: Vec<&str> = message.tool_results().collect();
            if !results.is_empty() && results.len() < message.content.len() {
                return Err(format!(
                    "message {number} mixes tool results with other content; give them a message of their own"
                ));
            }
            if message.role == Role::Assistant && !results.is_empty() {
                return Err(format!(
                    "message {number} is the model's and holds tool results; they are the user's"
                ));
            }
            if message.role == Role::User && message.tool_uses().next().is_some() {
                return Err(format!("message {number} is the user's and calls a tool; only the model does"));
            }
            if let Some(missing) = waiting.iter().find(|id| !results.contains(id)) {
                return Err(format!(
                    "message {number} does not answer the tool call `{missing}` of the message before"
                ));
            }
            if let Some(stray) = results.iter().find(|id| !waiting.contains(id)) {
                return Err(format!(
                    "message {number} answers the tool call `{stray}`, which the message before does not hold"
                ));
            }
            waiting = message.tool_uses().collect();
        }
        match waiting.first() {
            None => Ok(()),
            Some(id) => {
                Err(format!("the tool call `{id}` of the last message is not answered; add its result"))
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut params = Map::new();
        params.insert("messages".into(), self.messages.iter().map(SamplingMessage::to_json).collect());
        params.insert("maxTokens".into(), self.max_tokens.into());
        let mut add = |name: &str, value: Option<Value>| {
            params.extend(value.map(|value| (name.to_owned(), value)));
        };
        add("modelPreferences", self.preferences.as_ref().map(|preferences| json!(preferences)));
        add("systemPrompt", self.system.as_deref().map(Value::from));
        add("temperature", self.temperature.map(Value::from));
        add("stopSequences", (!self.stop.is_empty()).then(|| json!(self.stop)));
        add("metadata", self.metadata.clone().map(Value::Object));
        let tool = |tool: &SamplingTool| json!({ "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema });
        add("tools", (!self.tools.is_empty()).then(|| self.tools.iter().map(tool).collect()));
        add("toolChoice", self.tool_choice.map(|mode| json!({ "mode": mode })));
        Value::Object(params)
    }
}

impl SamplingResult {
    /// Returns the texts of the answer, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        let text = |block: &SamplingBlock| match block {
            SamplingBlock::Text { text } => Some(text.clone()),
            _ => None,
        };
        self.content.iter().filter_map(text).collect()
    }

    /// Returns the tools the model wants to be run: id, name and arguments.
    pub fn tool_uses(&self) -> impl Iterator<Item = (&str, &str, &Map<String, Value>)> {
        self.content.iter().filter_map(|block| match block {
            SamplingBlock::ToolUse { id, name, input } => Some((id.as_str(), name.as_str(), input)),
            _ => None,
        })
    }

    /// Returns the answer as a message, to go on from.
    #[must_use]
    pub fn into_message(self) -> SamplingMessage {
        SamplingMessage { role: self.role, content: self.content }
    }

    fn read(answer: &RawValue) -> Option<Self> {
        let wire: CreateMessageResult = serde_json::from_str(answer.get()).ok()?;
        let content = match wire.content {
            Value::Array(blocks) => {
                blocks.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().ok()?
            }
            one => vec![serde_json::from_value(one).ok()?],
        };
        let role = match wire.role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return None,
        };
        let stop_reason = wire.stop_reason.map(|reason| match reason.as_str() {
            "endTurn" => StopReason::EndTurn,
            "stopSequence" => StopReason::StopSequence,
            "maxTokens" => StopReason::MaxTokens,
            "toolUse" => StopReason::ToolUse,
            _ => StopReason::Other(reason),
        });
        Some(Self { role, content, model: wire.model, stop_reason })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateMessageResult {
    role: String,
    content: Value,
    model: String,
    stop_reason: Option<String>,
}

/// A question to the client's model that is about to be asked; `.await` it, or join it with other questions.
#[must_use = "nothing is asked unless it is awaited"]
pub struct Sampling(Asking<SamplingParts, SamplingResult>);

struct SamplingParts {
    ctx: Context,
    message: CreateMessage,
    key: Option<String>,
}

impl fmt::Debug for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampling").finish_non_exhaustive()
    }
}

impl Sampling {
    /// Names the question; without it questions are `q1`, `q2` and so on. A name used twice in a call gets a number.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.change(|parts| parts.key = Some(key.into()));
        self
    }
}

impl Future for Sampling {
    type Output = SamplingResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<SamplingResult> {
        self.0.poll_with(cx, ask_model)
    }
}

async fn ask_model(parts: SamplingParts) -> SamplingResult {
    let SamplingParts { ctx, message, key } = parts;
    let need = if message.uses_tools() { Need::SamplingTools } else { Need::Sampling };
    let question = message.check().map(|()| Question {
        key,
        need,
        method: "sampling/createMessage",
        params: message.to_json(),
    });
    ask(&ctx, question, SamplingResult::read).await
}

impl Context {
    /// Asks the client's model.
    ///
    /// The request ends here and the function runs again from its start when the answer came, as for
    /// [`elicit`](Self::elicit). A client that declared no sampling ends the call with -32021;
    /// [`can_sample`](Self::can_sample) tells before. Messages that break the protocol's rules (a tool call without its
    /// result) fail the call and say so. Spec: 2026-07-28 client/sampling.
    ///
    /// # Cancel safety
    /// A question that is dropped is not asked, or its answer is not looked at.
    pub fn sample(&self, message: CreateMessage) -> Sampling {
        Sampling(Asking::Built(SamplingParts { ctx: self.clone(), message, key: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> SamplingMessage {
        let block = SamplingBlock::ToolUse { id: id.to_owned(), name: "t".to_owned(), input: Map::new() };
        SamplingMessage::new(Role::Assistant, vec![block])
    }

    fn result(id: &str) -> SamplingMessage {
        SamplingMessage::new(Role::User, vec![SamplingBlock::tool_result(id, "done")])
    }

    #[test]
    fn every_tool_call_is_answered_by_the_next_message() {
        let ask = || CreateMessage::new(10).user("hi");
        assert_eq!(ask().message(call("1")).message(result("1")).check(), Ok(()));
        assert!(CreateMessage::new(10).check().is_err());
        assert!(ask().message(call("1")).check().unwrap_err().contains("`1`"));
        assert!(ask().message(call("1")).user("and?").check().unwrap_err().contains("`1`"));
        assert!(ask().message(result("2")).check().unwrap_err().contains("`2`"));
        let mut mixed = result("1");
        mixed.content.push(SamplingBlock::text("and"));
        assert!(ask().message(call("1")).message(mixed).check().unwrap_err().contains("mixes"));
    }

    #[test]
    fn parameters_are_written_in_the_words_of_the_protocol() {
        let message = CreateMessage::new(100)
            .user("What is the capital of France?")
            .system("Be brief.")
            .temperature(0.5)
            .stop("END")
            .preferences(ModelPreferences {
                hints: vec!["small".to_owned()],
                cost_priority: Some(1.0),
                ..ModelPreferences::default()
            })
            .tool(SamplingTool {
                name: "t".to_owned(),
                description: "d".to_owned(),
                input_schema: json!({ "type": "object" }),
            })
            .tool_choice(ToolChoice::Auto)
            .metadata(Map::from_iter([("a".to_owned(), json!(1))]));
        assert!(message.uses_tools());
        assert_eq!(
            message.to_json(),
            json!({
                "messages": [{ "role": "user", "content": { "type": "text", "text": "What is the capital of France?" } }],
                "maxTokens": 100,
                "modelPreferences": { "hints": [{ "name": "small" }], "costPriority": 1.0 },
                "systemPrompt": "Be brief.",
                "temperature": 0.5,
                "stopSequences": ["END"],
                "metadata": { "a": 1 },
                "tools": [{ "name": "t", "description": "d", "inputSchema": { "type": "object" } }],
                "toolChoice": { "mode": "auto" },
            })
        );
    }

    fn read(answer: Value) -> Option<SamplingResult> {
        SamplingResult::read(&RawValue::from_string(answer.to_string()).unwrap())
    }

    #[test]
    fn an_answer_of_one_block_and_one_of_several_read_alike() {
        let one = read(json!({ "role": "assistant", "content": { "type": "text", "text": "Paris" }, "model": "m", "stopReason": "endTurn" })).unwrap();
        assert_eq!((one.text().as_str(), one.stop_reason), ("Paris", Some(StopReason::EndTurn)));
        let several = read(json!({
            "role": "assistant", "model": "m", "stopReason": "tired",
            "content": [{ "type": "text", "text": "a" }, { "type": "tool_use", "id": "1", "name": "t", "input": { "x": 1 } }],
        }))
        .unwrap();
        assert_eq!(several.tool_uses().map(|(id, name, _)| (id, name)).collect::<Vec<_>>(), [("1", "t")]);
        assert_eq!(several.stop_reason, Some(StopReason::Other("tired".to_owned())));
        let message = several.into_message().to_json();
        assert_eq!(
            message["content"][1],
            json!({ "type": "tool_use", "id": "1", "name": "t", "input": { "x": 1 } })
        );
        assert_eq!(read(json!({ "role": "assistant", "content": "Paris", "model": "m" })), None);
    }
}
