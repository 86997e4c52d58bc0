//! Keeps a served configuration true: connectors learn their databases in the background, and a new file replaces the
//! old one only once all of it is known to work.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trunkline_guard::authenticate::keys::Absent;
use trunkline_guard::cache::Cache;
use trunkline_guard::record::Recorder;
use trunkline_service::endpoint::Live;
use trunkline_service::meter::Meters;
use trunkline_service::seal::Sealer;
use trunkline_sql::Severity;

use crate::assemble::{self, Lasting, Served};
use crate::config::{
    self, Admin, Config, Diagnostic, Document, Edge, Fingerprint, Loaded, LogFormat, Server, Things,
};
use crate::exit::chain;
use crate::guards::{self, Guards};
use crate::logging;
use crate::output::{Voice, count};
use crate::sources;
use crate::watch::{Cause, Trigger};

/// How long a start waits for connectors, so that the first list of tools has their types.
const HEAD_START: Duration = Duration::from_millis(200);
/// How often definitions are looked at for a change, while a connector is not ready and after.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The waits between two tries to learn a database, first and longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The configuration being served.
#[derive(Debug)]
pub(crate) struct Supervisor {
    path: PathBuf,
    edge: Edge,
    voice: Voice,
    live: Live,
    lasting: Lasting,
    served: Arc<ArcSwap<Vec<Served>>>,
    guards: Guards,
    /// What the file said of the record at the start.
    audit: Option<Fingerprint>,
    server: Server,
    admin: Admin,
    /// The form of the log's lines.
    form: LogFormat,
    order: Vec<String>,
    things: Things,
    /// What the file said of the store at the start.
    store: Option<Fingerprint>,
    document: Arc<Document>,
    /// The text that was last looked at, good or bad; `None` when there was no file.
    seen: Option<String>,
    generation: Generation,
    learning: JoinSet<()>,
}

impl Supervisor {
    /// Makes every connector of a file without problems, gives them a moment, and assembles the endpoint.
    ///
    /// # Errors
    /// The names that clash.
    pub(crate) async fn start(
        loaded: Loaded,
        edge: Edge,
        voice: Voice,
        sealer: Arc<Sealer>,
    ) -> Result<Self, (Vec<Diagnostic>, Document)> {
        let Loaded { document, mut config, .. } = loaded;
        let served = assemble::connectors(&mut config, &[], &sealer);
        let clashes = assemble::clashes(&config.tools, &served, &document);
        if !clashes.is_empty() {
            return Err((clashes, document));
        }
        let head_start = join_all(served.iter().map(|served| served.source.learn()));
        // What is wrong or to be warned of is told by the tasks that come after.
        let _ = tokio::time::timeout(HEAD_START, head_start).await;
        let form = config.log.format;
        let Config { server, admin, tools: order, guards: said, things, store, .. } = config;
        let (store, store_print) =
            store.map(|store| (store.config.map(|config| (config, store.on_failure)), store.print)).unzip();
        // Where something was wrong with the section, nothing is served.
        let store = store.flatten();
        let generation = generation_of(&served);
        let mut lasting = match Lasting::new(sealer, store, server.cache_size) {
            Ok(lasting) => lasting,
            Err(error) => {
                return Err((vec![Diagnostic::at(&document, &["store", "redis"], chain(&error))], document));
            }
        };
        // Over stdio there is one client, and without common keys no node opens what another one sealed.
        if matches!(edge, Edge::Http(_)) && !server.seal_keys.0.is_empty() {
            lasting.share().await;
        }
        let audit = said.audit.as_ref().map(|recording| recording.print.clone());
        if let Some(recording) = &said.audit {
            match Box::pin(guards::start_record(&recording.audit, &served)).await {
                Ok(recorder) => lasting.recorder = Some(recorder),
                Err(error) => {
                    return Err((
                        vec![Diagnostic::at(&document, &["audit", "sink"], chain(&error))],
                        document,
                    ));
                }
            }
        }
        let guards = match edge {
            Edge::Http(_) => {
                Box::pin(Guards::new(said, &server, &served, None, Absent::Create, &lasting.limits)).await
            }
            // Over stdio it is the local user who asks.
            Edge::Stdio => Guards::local(said, &lasting.limits),
        };
        let endpoint = match assemble::endpoint(&server, &order, &served, &things, &guards, &lasting) {
            Ok(endpoint) => endpoint,
            Err(clash) => {
                return Err((vec![Diagnostic::at(&document, &["tools"], clash.to_string())], document));
            }
        };
        let mut supervisor = Self {
            path: document.path().to_owned(),
            edge,
            voice,
            live: Live::with_shared(endpoint, Arc::clone(&lasting.shared)),
            lasting,
            served: Arc::new(ArcSwap::from_pointee(served)),
            guards,
            audit,
            server,
            admin,
            form,
            order,
            things,
            store: store_print,
            seen: Some(document.text().to_owned()),
            document: Arc::new(document),
            generation,
            learning: JoinSet::new(),
        };
        supervisor.learn(|_| true);
        Ok(supervisor)
    }

    /// Returns the file that is followed.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the endpoint, which changes with the configuration.
    pub(crate) fn live(&self) -> Live {
        self.live.clone()
    }

    /// Returns who keeps the record, if there is one.
    pub(crate) fn recorder(&self) -> Option<Recorder> {
        self.lasting.recorder.clone()
    }

    /// Returns the answers that are kept.
    pub(crate) fn cache(&self) -> Arc<Cache> {
        Arc::clone(&self.lasting.cache)
    }

    /// Returns who counts.
    pub(crate) fn meters(&self) -> Meters {
        self.lasting.meters.clone()
    }

    /// Returns the connectors, which change with the configuration.
    pub(crate) fn served(&self) -> Arc<ArcSwap<Vec<Served>>> {
        Arc::clone(&self.served)
    }

    /// Follows databases and the file until `cancel`.
    pub(crate) async fn run(mut self, trigger: Arc<Trigger>, cancel: CancellationToken) {
        // Kept from turn to turn: dropped while the file settles, it would forget that the file changed.
        let mut fired = Box::pin(trigger.fired());
        loop {
            let look = if self.learning.is_empty() { LOOK.1 } else { LOOK.0 };
            tokio::select! {
                () = cancel.cancelled() => return self.end().await,
                cause = &mut fired => {
                    fired.set(trigger.fired());
                    tokio::select! {
                        () = cancel.cancelled() => return self.end().await,
                        () = self.reload(cause) => {}
                    }
                }
                _ = self.learning.join_next(), if !self.learning.is_empty() => self.refresh(),
                () = tokio::time::sleep(look) => self.refresh(),
            }
        }
    }

    async fn end(&self) {
        self.guards.end().await;
        self.lasting.end().await;
    }

    /// Starts a task for each of these connectors, in place of those there were.
    fn learn(&mut self, which: impl Fn(&Served) -> bool) {
        self.learning.abort_all();
        self.learning.detach_all();
        for served in self.served.load().iter().filter(|served| which(served)) {
            let (served, document, voice) = (served.clone(), Arc::clone(&self.document), self.voice);
            self.learning.spawn(learn(served, document, voice));
        }
    }

    /// Assembles the endpoint anew when a database told something new.
    fn refresh(&mut self) {
        let served = self.served.load_full();
        let generation = generation_of(&served);
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        match assemble::endpoint(
            &self.server,
            &self.order,
            &served,
            &self.things,
            &self.guards,
            &self.lasting,
        ) {
            Ok(endpoint) => self.live.store(endpoint),
            // Names do not depend on databases, and they were checked.
            Err(clash) => tracing::error!(%clash, "the tools cannot be listed anew"),
        }
    }

    /// Reads the file, and swaps it in if all of it is right and every connector that is new or changed answers.
    async fn reload(&mut self, cause: Cause) {
        let text = match config::read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if self.seen.take().is_some() || cause == Cause::Signal {
                    self.voice.warn(&format!("the configuration stays as it was: {}", chain(&error)));
                }
                return;
            }
        };
        if cause == Cause::FileEvent && self.seen.as_deref() == Some(text.as_str()) {
            return;
        }
        let loaded = config::load_text(&self.path, &text, self.edge, &|name| std::env::var_os(name));
        self.seen = Some(text);
        match self.examine(loaded).await {
            Ok((config, served, document)) => self.swap(config, served, document).await,
            Err((problems, document)) => {
                self.voice.wrong("the configuration stays as it was", &problems, &document)
            }
        }
    }

    async fn examine(
        &self,
        loaded: Loaded,
    ) -> Result<(Config, Vec<Served>, Document), (Vec<Diagnostic>, Document)> {
        let Loaded { document, mut config, mut problems } = loaded;
        let old = self.served.load_full();
        let served = assemble::connectors(&mut config, &old, &self.lasting.sealer);
        problems.extend(assemble::clashes(&config.tools, &served, &document));
        if problems.iter().any(|problem| problem.severity != Severity::Warning) {
            return Err((problems, document));
        }
        let is_new = |served: &&Served| !old.iter().any(|old| Arc::ptr_eq(&old.source, &served.source));
        let examinations =
            served.iter().filter(is_new).map(|served| sources::examine(&*served.source, &served.name));
        let examined = join_all(examinations).await.into_iter().flatten();
        // What rules say of tools, whose types are known now.
        let catalog = assemble::catalog(&config.tools, &served, &self.lasting.sealer);
        let rules = catalog.map(|catalog| config.guards.policy.problems(&catalog)).unwrap_or_default();
        let judges = match self.guards.was_made_from(&config.guards) {
            true => Vec::new(),
            false => guards::examine(&config.guards, &served).await,
        };
        let found = examined.chain(rules).chain(judges);
        let found: Vec<Diagnostic> =
            found.map(|problem| Diagnostic::from_problem(problem, &document)).collect();
        let (warnings, found): (Vec<_>, Vec<_>) =
            problems.into_iter().chain(found).partition(|problem| problem.severity == Severity::Warning);
        if !found.is_empty() {
            return Err((found, document));
        }
        if !warnings.is_empty() {
            self.voice.wrong("this works, and should be looked at", &warnings, &document);
        }
        Ok((config, served, document))
    }

    async fn swap(&mut self, mut config: Config, served: Vec<Served>, document: Document) {
        let mut server = config.server.clone();
        if self.guards.is_guarded() && config.guards.auth.is_none() {
            // The address stays what it was, and others may reach it.
            let text = "the configuration stays as it was: an endpoint is opened to everybody by a restart alone, and `[auth]` is gone";
            return self.voice.warn(text);
        }
        if self.guards.is_guarded() && self.guards.policy.has_roles() && !config.guards.policy.has_roles() {
            // A file that is half written may well end before them.
            let text = "the configuration stays as it was: everything is opened to every caller by a restart alone, and `[roles]` are gone";
            return self.voice.warn(text);
        }
        self.keep_what_needs_a_restart(&mut server, &config);
        logging::change_level(config.log.level, self.edge);
        let said = std::mem::take(&mut config.guards);
        let guards = match self.edge {
            Edge::Http(_) => {
                let (old, state) = (Some(&self.guards), &self.lasting.limits);
                Box::pin(Guards::new(said, &server, &served, old, Absent::Create, state)).await
            }
            Edge::Stdio => Guards::local(said, &self.lasting.limits),
        };
        // Before the definitions are read: a change between the two is then seen as one.
        let generation = generation_of(&served);
        let endpoint =
            match assemble::endpoint(&server, &config.tools, &served, &config.things, &guards, &self.lasting)
            {
                Ok(endpoint) => endpoint,
                Err(clash) => return self.voice.warn(&format!("the configuration stays as it was: {clash}")),
            };
        let tools = endpoint.catalog.entries().len();
        self.live.store(endpoint);
        guards.take_over(&self.guards);
        self.guards = guards;
        self.generation = generation;
        let (connectors, tools) = (count(served.len(), "connector"), count(tools, "tool"));
        self.voice.say(&format!("the configuration was reloaded: {connectors}, {tools}"));
        self.served.store(Arc::new(served));
        self.lasting.cache.resize(server.cache_size);
        (self.server, self.order, self.document) = (server, config.tools, Arc::new(document));
        self.things = config.things;
        // Of those that are ready, everything was told when the new file was examined.
        self.learn(|served| !served.source.is_ready());
    }

    /// Tells what cannot change while the process runs, and keeps the old value.
    fn keep_what_needs_a_restart(&self, new: &mut Server, config: &Config) {
        let audit = config.guards.audit.as_ref();
        let old = &self.server;
        let mut changed = Vec::new();
        let mut keep = |is_same: bool, key: &'static str| {
            if !is_same {
                changed.push(key);
            }
        };
        keep(new.listen == old.listen, "[server] listen");
        keep(new.url == old.url, "[server] url");
        keep(new.allowed_hosts == old.allowed_hosts, "[server] allowed-hosts");
        keep(new.allowed_origins == old.allowed_origins, "[server] allowed-origins");
        keep(new.trusted_proxies == old.trusted_proxies, "[server] trusted-proxies");
        keep(new.max_body == old.max_body, "[server] max-body");
        keep(new.shutdown_grace == old.shutdown_grace, "[server] shutdown-grace");
        keep(new.seal_keys == old.seal_keys, "[server] seal-keys");
        keep(new.tolerate_version_header == old.tolerate_version_header, "[server] tolerate-version-header");
        keep(config.admin == self.admin, "[admin]");
        keep(config.log.format == self.form, "[log] format");
        keep(config.store.as_ref().map(|store| &store.print) == self.store.as_ref(), "[store]");
        keep(audit.map(|recording| &recording.print) == self.audit.as_ref(), "[audit]");
        if !changed.is_empty() {
            self.voice
                .warn(&format!("{} changed; the old value stays until the next start", changed.join(", ")));
        }
        let Server { name, max_in_flight, deadline, cache_size, .. } = new.clone();
        *new = Server { name, max_in_flight, deadline, cache_size, ..old.clone() };
    }
}

/// Prepares the statements of a connector, again and again until every one is, and tells what is wrong once.
async fn learn(served: Served, document: Arc<Document>, voice: Voice) {
    let mut told = Vec::new();
    let mut wait = RETRY.0;
    loop {
        let problems = served.source.learn().await;
        let is_down = problems.iter().any(|problem| problem.severity == Severity::Unavailable);
        if served.source.is_ready() && !is_down {
            let new: Vec<_> = problems.into_iter().filter(|problem| !told.contains(problem)).collect();
            tell(&new, &served.name, &document, voice);
            if !told.is_empty() {
                voice.say(&format!("connector {} is ready", served.name));
            }
            return;
        }
        if problems != told {
            tell(&problems, &served.name, &document, voice);
            told = problems;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

fn tell(problems: &[trunkline_sql::Problem], name: &str, document: &Document, voice: Voice) {
    let of = |severity| problems.iter().filter(move |problem| problem.severity == severity).cloned();
    let placed = |severity| of(severity).map(|problem| Diagnostic::from_problem(problem, document)).collect();
    let down: Vec<_> = of(Severity::Unavailable).collect();
    let (wrong, warnings): (Vec<_>, Vec<_>) = (placed(Severity::Wrong), placed(Severity::Warning));
    if let Some(problem) = down.first() {
        voice.warn(&format!(
            "connector {name} is not ready; trying again: {}",
            document.clean(problem.message.clone())
        ));
    }
    if !wrong.is_empty() {
        voice.wrong("these tools answer with an error until this is corrected", &wrong, document);
    }
    if !warnings.is_empty() {
        voice.wrong("this works, and should be looked at", &warnings, document);
    }
}

/// What an endpoint depends on besides the file: what databases told of the tools, and how many connectors are ready,
/// which decides how long a list may be kept.
type Generation = (u64, usize);

fn generation_of(served: &[Served]) -> Generation {
    let told = served.iter().fold(0, |sum: u64, served| sum.wrapping_add(served.source.generation()));
    (told, served.iter().filter(|served| served.source.is_ready()).count())
}
