//! Addresses that clients open or show: what they refuse is told to the author instead.

/// The longest address a user is asked to open, in bytes.
pub(crate) const MAX_ADDRESS: usize = 2048;

/// Says what keeps `address` from being opened by a user: it is an absolute `http:` or `https:` address without credentials, of
/// at most [`MAX_ADDRESS`] bytes. The words do not repeat it, as it may hold a secret.
///
/// Spec: 2026-07-28 client/elicitation#url-mode
pub(crate) fn problem_of_page(address: &str) -> Option<String> {
    let scheme = |name: &str| address.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    if address.len() > MAX_ADDRESS {
        return Some(format!("it takes {} bytes; at most {MAX_ADDRESS} are allowed", address.len()));
    }
    if !scheme("http://") && !scheme("https://") {
        return Some("it does not begin with `https://` or `http://`".to_owned());
    }
    problem_of_text(address)
}

/// Says what keeps `src` from being an icon: it is an absolute `https:` address without credentials, or a `data:` URI.
///
/// Spec: 2026-07-28 schema#icon
pub(crate) fn problem_of_icon(src: &str) -> Option<String> {
    let scheme = |name: &str| src.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    if scheme("data:") {
        let has_data = src.contains(',') && src.bytes().all(|byte| byte.is_ascii_graphic());
        return (!has_data).then(|| "its data does not follow a `,`, or holds what no URI may".to_owned());
    }
    if !scheme("https://") {
        return Some("it is neither an `https:` address nor a `data:` URI".to_owned());
    }
    problem_of_text(src)
}

fn problem_of_text(address: &str) -> Option<String> {
    if !address.bytes().all(|byte| byte.is_ascii_graphic() && !br#"<>"\^`{|}"#.contains(&byte)) {
        return Some("it holds characters that must be percent-encoded".to_owned());
    }
    let Some(host) = address.parse::<http::Uri>().ok().and_then(|uri| uri.into_parts().authority) else {
        return Some("it is no address with a host".to_owned());
    };
    if host.as_str().contains('@') {
        return Some("it holds credentials; leave out what stands before the `@`".to_owned());
    }
    host.host().is_empty().then(|| "it names no host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_an_absolute_web_address_without_credentials() {
        for good in
            ["https://example.com/", "HTTP://127.0.0.1:3000/a?b=c#d", "https://[::1]/x%20y", "https://a"]
        {
            assert_eq!(problem_of_page(good), None, "{good}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_ADDRESS));
        for (bad, part) in [
            ("", "does not begin"),
            ("/login", "does not begin"),
            ("example.com/login", "does not begin"),
            ("javascript:alert(1)", "does not begin"),
            ("file:///etc/passwd", "does not begin"),
            ("https://", "host"),
            ("https:///a", "host"),
            ("https://:80/", "host"),
            ("https://ann:pw@example.com/", "credentials"),
            ("https://ann@example.com/", "credentials"),
            ("https://example.com/a b", "percent-encoded"),
            ("https://example.com/\n", "percent-encoded"),
            ("https://exämple.com/", "percent-encoded"),
            (&long, "at most 2048"),
        ] {
            let told = problem_of_page(bad).unwrap_or_else(|| panic!("{bad} passed"));
            assert!(told.contains(part), "{bad}: {told}");
            assert!(!told.contains("pw") && !told.contains("alert"), "{told}");
        }
    }

    #[test]
    fn an_icon_is_https_or_data() {
        for good in ["https://example.com/i.png", "data:image/png;base64,AAAA", "data:,x"] {
            assert_eq!(problem_of_icon(good), None, "{good}");
        }
        for bad in ["", "http://example.com/i.png", "i.png", "javascript:1", "data:image/png", "https://a@b/"]
        {
            assert!(problem_of_icon(bad).is_some(), "{bad}");
        }
    }
}
