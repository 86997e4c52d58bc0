//! What tools, prompts and resources have in common: icons, `_meta`, and members that not every revision knows.

use serde_json::{Map, Value, json};
use trunkline_protocol::Revision;

/// A picture of a thing. Spec: 2026-07-28 schema#icon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// Where it is: an `https:` or `data:` URI.
    pub src: String,
    /// Its media type.
    pub mime_type: Option<String>,
    /// Its sizes, each as `48x48`, or `any`.
    pub sizes: Vec<String>,
    /// The background it is made for: `light` or `dark`.
    pub theme: Option<String>,
}

impl Icon {
    /// Makes an icon of a URI alone.
    #[must_use]
    pub fn new(src: impl Into<String>) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new(), theme: None }
    }

    /// Adds `icons` to an object, for the revisions that know them.
    pub(crate) fn add(icons: &[Self], revision: Revision, object: &mut Map<String, Value>) {
        if !icons.is_empty() && revision >= Revision::V2025_11_25 {
            object.insert("icons".into(), icons.iter().map(Self::to_json).collect());
        }
    }

    fn to_json(&self) -> Value {
        let mut icon = json!({ "src": self.src });
        let mut add = |name: &str, value: Option<Value>| {
            if let (Some(icon), Some(value)) = (icon.as_object_mut(), value) {
                icon.insert(name.to_owned(), value);
            }
        };
        add("mimeType", self.mime_type.as_deref().map(Value::from));
        add("sizes", (!self.sizes.is_empty()).then(|| self.sizes.clone().into()));
        add("theme", self.theme.as_deref().map(Value::from));
        icon
    }
}

/// Adds `_meta` to an object.
pub(crate) fn add_meta(meta: Option<&Value>, object: &mut Map<String, Value>) {
    if let Some(meta) = meta.filter(|meta| meta.is_object()) {
        object.insert("_meta".into(), meta.clone());
    }
}

/// Adds a text, if there is one.
pub(crate) fn add_text(name: &str, text: Option<&String>, object: &mut Map<String, Value>) {
    if let Some(text) = text {
        object.insert(name.to_owned(), text.as_str().into());
    }
}

/// Adds a title, for the revisions that know it beside the name.
pub(crate) fn add_title(title: Option<&String>, revision: Revision, object: &mut Map<String, Value>) {
    if revision >= Revision::V2025_06_18 {
        add_text("title", title, object);
    }
}
