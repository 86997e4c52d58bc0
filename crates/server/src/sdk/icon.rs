//! Icons of servers, tools, prompts and resources.

use std::borrow::Cow;

/// A picture that clients may show beside a name. Spec: 2026-07-28 schema#icon.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Icon {
    src: Cow<'static, str>,
    mime_type: Option<Cow<'static, str>>,
    sizes: Vec<Cow<'static, str>>,
    theme: Option<Theme>,
}

/// The background an icon is made for. Spec: 2026-07-28 schema#icon
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// A light background.
    Light,
    /// A dark background.
    Dark,
}

impl Icon {
    /// Makes an icon from its address: an absolute `https:` address without credentials, or a `data:` URI. Anything else shows
    /// when the server is built, as [`BuildProblem::BadIcon`](super::BuildProblem::BadIcon).
    pub fn new(src: impl Into<Cow<'static, str>>) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new(), theme: None }
    }

    /// Says what kind of picture it is, as in `image/png`.
    pub fn mime_type(mut self, mime_type: impl Into<Cow<'static, str>>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Adds a size it is made for: `48x48`, or `any` for one that scales.
    pub fn size(mut self, size: impl Into<Cow<'static, str>>) -> Self {
        self.sizes.push(size.into());
        self
    }

    /// Says which background it is made for. Any, if not said.
    pub fn theme(mut self, theme: Theme) -> Self {
        self.theme = Some(theme);
        self
    }
}

impl Icon {
    /// Says what keeps clients from showing it.
    pub(crate) fn problem(&self) -> Option<String> {
        super::address::problem_of_icon(&self.src)
    }
}

impl From<Icon> for trunkline_service::catalog::Icon {
    fn from(icon: Icon) -> Self {
        Self {
            src: icon.src.into_owned(),
            mime_type: icon.mime_type.map(Cow::into_owned),
            sizes: icon.sizes.into_iter().map(Cow::into_owned).collect(),
            theme: icon.theme.map(|theme| if theme == Theme::Dark { "dark" } else { "light" }.to_owned()),
        }
    }
}
