//! The names of the methods a client may send, as one small number.

/// A method of any revision served. Spec: 2026-07-28 schema; the handshake methods 2025-11-25; the extensions
/// `io.modelcontextprotocol/tasks` and `io.modelcontextprotocol/skills`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the method of its own name")]
pub enum Method {
    ServerDiscover,
    ToolsList,
    ToolsCall,
    ResourcesList,
    ResourcesTemplatesList,
    ResourcesRead,
    PromptsList,
    PromptsGet,
    CompletionComplete,
    SubscriptionsListen,
    TasksGet,
    TasksUpdate,
    TasksCancel,
    SkillsList,
    SkillsGet,
    ResourcesDirectoryRead,
    Initialize,
    Ping,
    LoggingSetLevel,
    ResourcesSubscribe,
    ResourcesUnsubscribe,
    Initialized,
    Cancelled,
    RootsListChanged,
    /// A name none of the revisions knows.
    Unknown,
}

const NAMES: [(&[u8], Method); 24] = [
    (b"tools/call", Method::ToolsCall),
    (b"tools/list", Method::ToolsList),
    (b"server/discover", Method::ServerDiscover),
    (b"resources/list", Method::ResourcesList),
    (b"resources/templates/list", Method::ResourcesTemplatesList),
    (b"resources/read", Method::ResourcesRead),
    (b"prompts/list", Method::PromptsList),
    (b"prompts/get", Method::PromptsGet),
    (b"completion/complete", Method::CompletionComplete),
    (b"subscriptions/listen", Method::SubscriptionsListen),
    (b"tasks/get", Method::TasksGet),
    (b"tasks/update", Method::TasksUpdate),
    (b"tasks/cancel", Method::TasksCancel),
    (b"skills/list", Method::SkillsList),
    (b"skills/get", Method::SkillsGet),
    (b"resources/directory/read", Method::ResourcesDirectoryRead),
    (b"initialize", Method::Initialize),
    (b"ping", Method::Ping),
    (b"logging/setLevel", Method::LoggingSetLevel),
    (b"resources/subscribe", Method::ResourcesSubscribe),
    (b"resources/unsubscribe", Method::ResourcesUnsubscribe),
    (b"notifications/initialized", Method::Initialized),
    (b"notifications/cancelled", Method::Cancelled),
    (b"notifications/roots/list_changed", Method::RootsListChanged),
];

impl Method {
    /// Returns the method of that name, [`Method::Unknown`] for any other.
    #[must_use]
    pub fn parse(name: &[u8]) -> Self {
        NAMES.iter().find(|(known, _)| *known == name).map_or(Self::Unknown, |(_, method)| *method)
    }

    /// Returns the name on the wire; `"unknown"` for [`Method::Unknown`], so that a caller cannot choose a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, method)| *method == self)
            .and_then(|(name, _)| std::str::from_utf8(name).ok())
            .unwrap_or("unknown")
    }

    /// Tells whether requests of `2026-07-28` may use it. What the handshake era alone had is removed there.
    #[must_use]
    pub const fn is_modern(self) -> bool {
        matches!(
            self,
            Self::ServerDiscover
                | Self::ToolsList
                | Self::ToolsCall
                | Self::ResourcesList
                | Self::ResourcesTemplatesList
                | Self::ResourcesRead
                | Self::PromptsList
                | Self::PromptsGet
                | Self::CompletionComplete
                | Self::SubscriptionsListen
        ) || self.is_of_an_extension()
    }

    /// Tells whether it belongs to an extension of `2026-07-28`, so that it exists only where that extension is served.
    #[must_use]
    pub const fn is_of_an_extension(self) -> bool {
        matches!(
            self,
            Self::TasksGet
                | Self::TasksUpdate
                | Self::TasksCancel
                | Self::SkillsList
                | Self::SkillsGet
                | Self::ResourcesDirectoryRead
        )
    }
}
