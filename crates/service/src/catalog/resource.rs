//! Resources and their templates as clients see them.

use serde_json::{Map, Value};
use trunkline_protocol::Revision;

use super::common::{Icon, add_meta, add_text, add_title};
use super::pages::Listed;

/// One resource. Spec: 2026-07-28 server/resources#resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceDefinition {
    /// What it is read by.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its media type.
    pub mime_type: Option<String>,
    /// Its size in bytes, when it is known.
    pub size: Option<u64>,
    /// Hints for hosts: an object of `audience`, `priority`, `lastModified`.
    pub annotations: Option<Value>,
    /// Pictures of it.
    pub icons: Vec<Icon>,
    /// Its `_meta` object.
    pub meta: Option<Value>,
    /// Whether subscriptions hear of its changes; not told in the list.
    pub subscribe: bool,
}

/// A family of resources. Spec: 2026-07-28 server/resources#resource-templates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TemplateDefinition {
    /// The template of their URIs (RFC 6570).
    pub uri_template: String,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What they are.
    pub description: Option<String>,
    /// Their media type, when all have the same.
    pub mime_type: Option<String>,
    /// Hints for hosts: an object of `audience`, `priority`, `lastModified`.
    pub annotations: Option<Value>,
    /// Pictures of it.
    pub icons: Vec<Icon>,
    /// Its `_meta` object.
    pub meta: Option<Value>,
    /// Whether subscriptions hear of their changes; not told in the list.
    pub subscribe: bool,
}

impl Listed for ResourceDefinition {
    const KEY: &'static str = "resources";

    fn to_json(&self, revision: Revision) -> Value {
        let mut resource = Map::new();
        resource.insert("uri".into(), self.uri.as_str().into());
        resource.insert("name".into(), self.name.as_str().into());
        add_title(self.title.as_ref(), revision, &mut resource);
        add_text("description", self.description.as_ref(), &mut resource);
        add_text("mimeType", self.mime_type.as_ref(), &mut resource);
        if let Some(size) = self.size {
            resource.insert("size".into(), size.into());
        }
        if let Some(annotations) = &self.annotations {
            resource.insert("annotations".into(), annotations.clone());
        }
        Icon::add(&self.icons, revision, &mut resource);
        add_meta(self.meta.as_ref(), &mut resource);
        Value::Object(resource)
    }
}

impl Listed for TemplateDefinition {
    const KEY: &'static str = "resourceTemplates";

    fn to_json(&self, revision: Revision) -> Value {
        let mut template = Map::new();
        template.insert("uriTemplate".into(), self.uri_template.as_str().into());
        template.insert("name".into(), self.name.as_str().into());
        add_title(self.title.as_ref(), revision, &mut template);
        add_text("description", self.description.as_ref(), &mut template);
        add_text("mimeType", self.mime_type.as_ref(), &mut template);
        if let Some(annotations) = &self.annotations {
            template.insert("annotations".into(), annotations.clone());
        }
        Icon::add(&self.icons, revision, &mut template);
        add_meta(self.meta.as_ref(), &mut template);
        Value::Object(template)
    }
}
