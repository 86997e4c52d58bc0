//! Answers `tasks/get`, `tasks/update` and `tasks/cancel`, on whatever node they arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use trunkline_protocol::{Kind, Method};
use trunkline_service::{Answer, Failure, FailureKind, Outcome, Reply, Request, Service};

use super::record::{TaskId, TaskRecord, TaskStatus};
use super::store::StoreError;
use super::{TRIES, Tasks};
use crate::sdk::dialogue::capability::{Capabilities, Need};

/// The methods of the extension. Spec: SEP-2663
#[derive(Debug)]
pub(super) struct TaskService(pub(super) Arc<Tasks>);

impl Service for TaskService {
    fn call(&self, request: Request) -> Answer<'_> {
        Answer::later(async move {
            // Before any id is looked at: who cannot follow tasks learns of none.
            Capabilities::of(&request).demand(Need::Tasks)?;
            match request.method() {
                Method::TasksGet => self.get(&request).await,
                Method::TasksUpdate => self.update(&request).await,
                Method::TasksCancel => self.cancel(&request).await,
                _ => Err(Failure::new(FailureKind::MethodNotFound, "method not found")),
            }
        })
    }
}

impl TaskService {
    async fn get(&self, request: &Request) -> Outcome {
        let (_, record) = self.record(request).await?;
        let mut members = Vec::with_capacity(512);
        record.write_detailed(&mut members);
        Ok(Reply::from_members(members))
    }

    /// Puts answers into the record. Unknown keys and those that were answered are ignored.
    async fn update(&self, request: &Request) -> Outcome {
        let answers = self.answers(request)?;
        self.change(request, |record| {
            let mut is_changed = false;
            for (key, answer) in &answers {
                if !record.requests.contains_key(key) {
                    continue;
                }
                if !answer.get().starts_with('{') {
                    let key: String = key.chars().take(64).collect();
                    return Err(invalid(format!("the answer to `{key}` must be an object")));
                }
                record.requests.remove(key);
                record.answers.insert(key.clone(), answer.clone());
                is_changed = true;
            }
            if record.requests.is_empty() {
                record.status = TaskStatus::Working;
            }
            Ok(is_changed)
        })
        .await
    }

    /// Gives the task up, at once and for good; the node that runs it drops its function as soon as it hears of it.
    async fn cancel(&self, request: &Request) -> Outcome {
        self.change(request, |record| {
            record.end(TaskStatus::Cancelled, None);
            Ok(true)
        })
        .await
    }

    /// Changes the record of a task that is not over, and acknowledges.
    async fn change(
        &self,
        request: &Request,
        change: impl Fn(&mut TaskRecord) -> Result<bool, Failure>,
    ) -> Outcome {
        for _ in 0..TRIES {
            let (version, mut record) = self.record(request).await?;
            if record.status.is_final() || !change(&mut record)? {
                return Ok(acknowledgement());
            }
            record.touch();
            match self.0.store.update(&record, version).await {
                Ok(_) => {
                    self.0.tell(record.id, true).await;
                    return Ok(acknowledgement());
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        let text = "this task changes too often at the moment; try again in a second";
        Err(Failure::new(FailureKind::Overloaded, text).with_retry_after(Duration::from_secs(1)))
    }

    async fn record(&self, request: &Request) -> Result<(u64, TaskRecord), Failure> {
        let id = request.param("taskId");
        let id =
            id.text(request.body()).ok_or_else(|| invalid("`taskId` must be the id of a task, a string"))?;
        let found = self.0.find(&id, request.caller()).await.map_err(unavailable)?;
        found.ok_or_else(|| {
            let text =
                "there is no task of this id: it never was, belongs to somebody else, or its time is over";
            invalid(text)
        })
    }

    fn answers(&self, request: &Request) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
        let token = request.param("inputResponses");
        let max = self.0.options.max_answers;
        if token.kind != Kind::Object {
            return Err(invalid("`inputResponses` must be an object with one answer for each question"));
        }
        if token.span.len() as usize > max {
            return Err(invalid(format!(
                "`inputResponses` takes {} bytes; at most {max} are taken",
                token.span.len()
            )));
        }
        serde_json::from_slice(token.raw(request.body()))
            .map_err(|error| invalid("`inputResponses` cannot be read").with_source(error))
    }
}

impl Tasks {
    /// Cancels a task from within the server, whoever it belongs to; nothing when it is over or unknown.
    ///
    /// # Errors
    /// [`StoreError`] when the store failed, or others kept writing the record.
    ///
    /// # Cancel safety
    /// Dropped, the task may or may not be cancelled.
    pub async fn cancel(&self, id: TaskId) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some((version, mut record)) = self.store.read(id).await? else { return Ok(()) };
            if record.status.is_final() {
                return Ok(());
            }
            record.end(TaskStatus::Cancelled, None);
            match self.store.update(&record, version).await {
                Ok(_) => {
                    self.tell(id, true).await;
                    return Ok(());
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }
}

fn acknowledgement() -> Reply {
    Reply::from_members(Vec::new())
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::new(FailureKind::InvalidParams, text)
}

fn unavailable(error: StoreError) -> Failure {
    Failure::new(FailureKind::UpstreamUnavailable, "tasks cannot be read at the moment; try again later")
        .with_source(error)
}
