//! What kind of data a file of a skill is: its media type by its name, and whether it is sent as text by its bytes.

/// Media types by extension, and whether such a file is text. What is not here is told by its bytes alone.
const TYPES: [(&str, &str, Form); 49] = [
    ("bash", "text/x-shellscript", Form::Text),
    ("c", "text/x-c", Form::Text),
    ("cpp", "text/x-c++", Form::Text),
    ("css", "text/css", Form::Text),
    ("csv", "text/csv", Form::Text),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", Form::Binary),
    ("gif", "image/gif", Form::Binary),
    ("go", "text/x-go", Form::Text),
    ("gz", "application/gzip", Form::Binary),
    ("htm", "text/html", Form::Text),
    ("html", "text/html", Form::Text),
    ("ico", "image/vnd.microsoft.icon", Form::Binary),
    ("java", "text/x-java", Form::Text),
    ("jpeg", "image/jpeg", Form::Binary),
    ("jpg", "image/jpeg", Form::Binary),
    ("js", "text/javascript", Form::Text),
    ("json", "application/json", Form::Text),
    ("jsonl", "application/jsonl", Form::Text),
    ("log", "text/plain", Form::Text),
    ("markdown", "text/markdown", Form::Text),
    ("md", "text/markdown", Form::Text),
    ("mjs", "text/javascript", Form::Text),
    ("mp3", "audio/mpeg", Form::Binary),
    ("mp4", "video/mp4", Form::Binary),
    ("otf", "font/otf", Form::Binary),
    ("pdf", "application/pdf", Form::Binary),
    ("png", "image/png", Form::Binary),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", Form::Binary),
    ("py", "text/x-python", Form::Text),
    ("rb", "text/x-ruby", Form::Text),
    ("rs", "text/x-rust", Form::Text),
    ("sh", "text/x-shellscript", Form::Text),
    ("sql", "application/sql", Form::Text),
    ("svg", "image/svg+xml", Form::Text),
    ("tar", "application/x-tar", Form::Binary),
    ("toml", "application/toml", Form::Text),
    ("ts", "text/x-typescript", Form::Text),
    ("tsv", "text/tab-separated-values", Form::Text),
    ("ttf", "font/ttf", Form::Binary),
    ("txt", "text/plain", Form::Text),
    ("wasm", "application/wasm", Form::Binary),
    ("wav", "audio/wav", Form::Binary),
    ("webp", "image/webp", Form::Binary),
    ("woff2", "font/woff2", Form::Binary),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Form::Binary),
    ("xml", "application/xml", Form::Text),
    ("yaml", "application/yaml", Form::Text),
    ("yml", "application/yaml", Form::Text),
    ("zip", "application/zip", Form::Binary),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Binary,
}

/// Returns the media type of a file, and its text when it is sent as text.
pub(super) fn look<'a>(name: &str, bytes: &'a [u8]) -> (&'static str, Option<&'a str>) {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let known = extension.and_then(|wanted| TYPES.iter().find(|(extension, ..)| *extension == wanted));
    match known {
        Some((_, mime, Form::Binary)) => (mime, None),
        Some((_, mime, Form::Text)) => (mime, text_of(bytes)),
        None => match text_of(bytes) {
            Some(text) => ("text/plain", Some(text)),
            None => ("application/octet-stream", None),
        },
    }
}

/// Returns the bytes as text, unless they are not UTF-8 or hold control characters that text has no use for.
fn text_of(bytes: &[u8]) -> Option<&str> {
    let is_stray =
        |byte: &u8| (*byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)) || *byte == 0x7f;
    if bytes.iter().any(is_stray) { None } else { std::str::from_utf8(bytes).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_reads_as_text_and_is_not_known_to_be_something_else() {
        assert_eq!(look("a.md", b"# A"), ("text/markdown", Some("# A")));
        assert_eq!(look("A.PY", b"1\r\n\t"), ("text/x-python", Some("1\r\n\t")));
        assert_eq!(look("a.md", b"\xef\xbb\xbf# A"), ("text/markdown", Some("\u{feff}# A")));
        assert_eq!(look("a.md", b"\xff\xfe#\0"), ("text/markdown", None));
        assert_eq!(look("a.png", b"looks like text"), ("image/png", None));
        assert_eq!(look("a.svg", b"<svg/>"), ("image/svg+xml", Some("<svg/>")));
        assert_eq!(look("LICENSE", b"Free"), ("text/plain", Some("Free")));
        assert_eq!(look("tool", b"\x7fELF"), ("application/octet-stream", None));
        assert_eq!(look("empty", b""), ("text/plain", Some("")));
    }
}
