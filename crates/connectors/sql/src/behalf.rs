//! For whom the database is to take a call: the settings and the role that expressions compute from its verified caller.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use trunkline_service::Caller;
use trunkline_service::expression::{Expected, Expression, Scope};

use crate::Problem;
use crate::database::Behalf;

/// `session` and `role` of `[connectors.X]`, compiled. Their expressions read the caller and nothing a client sends.
///
/// Two are equal when they were written the same.
#[derive(Debug)]
pub struct SessionPlan {
    /// In the order they are set.
    settings: Vec<Computed>,
    role: Option<Computed>,
}

/// A text computed for each call.
#[derive(Debug)]
struct Computed {
    /// The key it stands under: `session.app.tenant` or `role`.
    key: Box<str>,
    /// The setting's name; for a role not looked at.
    name: Arc<str>,
    source: Box<str>,
    expression: Expression,
}

/// Why a call is refused: something the database should know of the caller could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {cause}")]
pub struct Unidentified {
    /// The key of the file: `session.app.tenant` or `role`.
    pub key: String,
    /// Why; holds no value.
    pub cause: String,
}

impl SessionPlan {
    /// Compiles the keys `session` and `role` of a connector; `None` when neither is written. What is wrong is added to
    /// `problems`.
    pub fn resolve(
        connector: &str,
        session: &BTreeMap<String, String>,
        role: Option<&str>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Self>> {
        if session.is_empty() && role.is_none() {
            return None;
        }
        if session.len() > MOST_SETTINGS {
            let message = format!("{} settings; at most {MOST_SETTINGS} are allowed", session.len());
            problems.push(
                Problem::new(&["connectors", connector, "session"], message)
                    .help("put several values into one setting"),
            );
            return None;
        }
        let settings = session.iter().filter_map(|(name, source)| {
            let path = ["connectors", connector, "session", name];
            if let Err((message, help)) = check_name(name) {
                problems.push(Problem::new(&path, message).help(help));
                return None;
            }
            compile(&path, name, source, problems)
        });
        let settings = settings.collect();
        let role =
            role.and_then(|source| compile(&["connectors", connector, "role"], "role", source, problems));
        Some(Arc::new(Self { settings, role }))
    }

    /// Returns the keys under which its expressions stand, as `session.app.tenant` and `role`.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.settings.iter().chain(&self.role).map(|computed| &*computed.key).collect()
    }

    /// Computes what the database is to know of a caller.
    ///
    /// # Errors
    /// [`Unidentified`]: a claim is missing, or the result is no text, too long, or not one a setting or role can have. The
    /// call must not run.
    pub fn behalf(&self, caller: &Arc<Caller>) -> Result<Behalf, Unidentified> {
        let mut behalf = Behalf::of(caller);
        for computed in &self.settings {
            let value = computed.text(caller, MOST_BYTES)?;
            behalf.settings.push((Arc::clone(&computed.name), value));
        }
        if let Some(computed) = &self.role {
            let role = computed.text(caller, MOST_ROLE_BYTES)?;
            // `none` is PostgreSQL's word for the login itself, which may do more than any of the roles.
            if role.is_empty() || role == "none" {
                return Err(computed.unidentified("the result names no role"));
            }
            behalf.role = Some(role);
        }
        Ok(behalf)
    }
}

impl PartialEq for SessionPlan {
    fn eq(&self, other: &Self) -> bool {
        let same = |left: &Computed, right: &Computed| left.key == right.key && left.source == right.source;
        self.settings.len() == other.settings.len()
            && self.settings.iter().zip(&other.settings).all(|(left, right)| same(left, right))
            && match (&self.role, &other.role) {
                (Some(left), Some(right)) => same(left, right),
                (None, None) => true,
                _ => false,
            }
    }
}

impl Eq for SessionPlan {}

impl Computed {
    fn text(&self, caller: &Caller, most: usize) -> Result<String, Unidentified> {
        let value = self.expression.evaluate(&Map::new(), caller);
        let text = match value.map_err(|error| self.unidentified(&error.to_string()))? {
            Json::String(text) => text,
            Json::Bool(truth) => truth.to_string(),
            Json::Number(number) => number.to_string(),
            Json::Null => return Err(self.unidentified("the result is null")),
            Json::Array(_) => return Err(self.unidentified("the result is a list, not a text")),
            Json::Object(_) => return Err(self.unidentified("the result is an object, not a text")),
        };
        if text.len() > most {
            return Err(self
                .unidentified(&format!("the result has {} bytes; at most {most} are allowed", text.len())));
        }
        if text.contains('\0') {
            return Err(
                self.unidentified("the result has the character \\u0000, which the database cannot take")
            );
        }
        Ok(text)
    }

    fn unidentified(&self, cause: &str) -> Unidentified {
        Unidentified { key: self.key.to_string(), cause: cause.to_owned() }
    }
}

fn compile(path: &[&str], name: &str, source: &str, problems: &mut Vec<Problem>) -> Option<Computed> {
    let key = path.get(2..).unwrap_or_default().join(".").into();
    let scope = Scope { args: BTreeMap::new(), expected: Some(Expected::Any) };
    match Expression::compile(source, &scope) {
        Ok(expression) => Some(Computed { key, name: name.into(), source: source.into(), expression }),
        Err(error) => {
            let problem = Problem::new(path, error.message).at(error.offset);
            problems.push(Problem { help: error.help, ..problem });
            None
        }
    }
}

/// Names with a point are nobody's but the operator's; those without are the server's own, and some of them would undo what
/// holds a statement to its bounds.
fn check_name(name: &str) -> Result<(), (String, String)> {
    if name == "role" {
        let message = "the role has a key of its own".to_owned();
        return Err((message, "write `role = \"...\"` on the connector".to_owned()));
    }
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if name.len() > MOST_NAME_BYTES {
        let message = format!("the name has {} bytes; at most {MOST_NAME_BYTES} are allowed", name.len());
        return Err((message, "write a shorter one".to_owned()));
    }
    if name.contains('.') && name.split('.').all(is_part) {
        return Ok(());
    }
    let message = format!("`{name}` is no name of a setting that can be given here");
    let help = if name.contains('.') {
        "use small letters, digits and `_` between the points, like \"app.tenant\""
    } else {
        "write one with a prefix and a point, like \"app.tenant\"; settings of the server itself cannot be given"
    };
    Err((message, help.to_owned()))
}

/// Most settings of one connector.
const MOST_SETTINGS: usize = 32;

/// Most bytes of a setting's value.
const MOST_BYTES: usize = 8192;

/// Most bytes of a role's name: PostgreSQL's own bound.
const MOST_ROLE_BYTES: usize = 63;

/// Most bytes of a setting's name.
const MOST_NAME_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolve(session: &[(&str, &str)], role: Option<&str>) -> (Option<Arc<SessionPlan>>, Vec<Problem>) {
        let session =
            session.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned())).collect();
        let mut problems = Vec::new();
        let plan = SessionPlan::resolve("shop", &session, role, &mut problems);
        (plan, problems)
    }

    fn caller(claims: &Json) -> Arc<Caller> {
        let claims = claims.as_object().cloned().unwrap_or_default();
        Arc::new(Caller { subject: "ada".into(), claims, ..Caller::default() })
    }

    #[test]
    fn settings_and_role_are_computed_from_the_caller() {
        let (plan, problems) = resolve(
            &[("app.tenant", "caller.claims.tenant"), ("app.user", "caller.subject")],
            Some("caller.claims.db_role"),
        );
        assert_eq!(problems, []);
        let plan = plan.unwrap();
        let behalf = plan.behalf(&caller(&json!({ "tenant": 7, "db_role": "support" }))).unwrap();
        let settings: Vec<_> = behalf.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(settings, [("app.tenant", "7"), ("app.user", "ada")]);
        assert_eq!(behalf.role.as_deref(), Some("support"));
        assert!(!format!("{behalf:?}").contains("support"));
    }

    #[test]
    fn what_cannot_be_computed_refuses_the_call_and_tells_no_value() {
        let (plan, _) = resolve(&[("app.tenant", "caller.claims.tenant")], Some("caller.claims.db_role"));
        let plan = plan.unwrap();
        let long = "secret".repeat(2000);
        for (claims, key) in [
            (json!({}), "session.app.tenant"),
            (json!({ "tenant": null }), "session.app.tenant"),
            (json!({ "tenant": ["secret"] }), "session.app.tenant"),
            (json!({ "tenant": { "secret": 1 } }), "session.app.tenant"),
            (json!({ "tenant": "secret\0" }), "session.app.tenant"),
            (json!({ "tenant": long }), "session.app.tenant"),
            (json!({ "tenant": "a" }), "role"),
            (json!({ "tenant": "a", "db_role": "" }), "role"),
            (json!({ "tenant": "a", "db_role": "none" }), "role"),
            (json!({ "tenant": "a", "db_role": "s".repeat(64) }), "role"),
        ] {
            let error = plan.behalf(&caller(&claims)).unwrap_err();
            assert_eq!(error.key, key, "{claims}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        // The local user has no claims at all.
        assert!(plan.behalf(&Caller::local()).is_err());
    }

    #[test]
    fn what_a_client_sends_is_not_in_scope() {
        let (_, problems) = resolve(&[("app.tenant", "args.tenant")], Some("'a' +"));
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.join("/")).collect();
        assert_eq!(paths, ["connectors/shop/session/app.tenant", "connectors/shop/role"], "{problems:?}");
        assert!(problems[0].message.contains("tenant"), "{problems:?}");
        assert!(problems.iter().all(|problem| problem.offset.is_some()));
    }

    #[test]
    fn only_names_with_a_point_can_be_set() {
        for name in
            ["role", "search_path", "statement_timeout", "app.Tenant", "app.", "app.a b", ".a", "a.1b", ""]
        {
            let (_, problems) = resolve(&[(name, "'x'")], None);
            assert_eq!(problems.len(), 1, "{name}");
            assert!(problems[0].help.is_some(), "{name}");
        }
        for name in ["app.tenant", "request.jwt.claim.sub", "_a._b2"] {
            assert_eq!(resolve(&[(name, "'x'")], None).1, [], "{name}");
        }
    }

    #[test]
    fn what_is_written_the_same_is_equal() {
        let plan = |source| resolve(&[("app.tenant", source)], None).0;
        assert_eq!(plan("'a'"), plan("'a'"));
        assert_ne!(plan("'a'"), plan("'b'"));
        assert_eq!(resolve(&[], None).0, None);
    }
}
