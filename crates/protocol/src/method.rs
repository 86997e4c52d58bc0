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
    /// How many there are, [`Method::Unknown`] among them.
    pub const COUNT: usize = Self::Unknown as usize + 1;

    /// Returns every method, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        let mut all = [Self::Unknown; Self::COUNT];
        for (_, method) in NAMES {
            if let Some(place) = all.get_mut(method.number()) {
                *place = method;
            }
        }
        all.into_iter()
    }

    /// Returns its number, below [`COUNT`](Self::COUNT), for tables that have a place for each.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_number_of_its_own() {
        let all: Vec<Method> = Method::all().collect();
        assert_eq!(all.len(), Method::COUNT);
        for (number, method) in all.iter().enumerate() {
            assert_eq!(method.number(), number, "{}", method.as_str());
        }
    }
}
