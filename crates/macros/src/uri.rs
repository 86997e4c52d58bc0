//! Reads the variables of a URI template (RFC 6570), by the rules the server matches URIs with.

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// A variable of a query may be missing in a URI that matches.
    pub(crate) may_be_missing: bool,
}

/// Returns whether a text has expressions, and so is a template.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains(['{', '}'])
}

/// Returns the variables of a template, in their order.
///
/// # Errors
/// What is wrong with the template.
pub(crate) fn variables(template: &str) -> Result<Vec<Variable>, String> {
    if template.len() > MAX_TEMPLATE {
        return Err(format!("the template is longer than {MAX_TEMPLATE} bytes"));
    }
    scheme(template)?;
    let (mut found, mut rest): (Vec<Variable>, _) = (Vec::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        no_end(before)?;
        let (inner, behind) =
            after.split_once('}').ok_or("a `{` has no `}`; an expression is written `{name}`")?;
        expression(inner, &mut found)?;
        rest = behind;
    }
    no_end(rest)?;
    if found.len() > MAX_VARIABLES {
        return Err(format!(
            "the template has {} variables; at most {MAX_VARIABLES} are served",
            found.len()
        ));
    }
    Ok(found)
}

/// Checks that a URI begins with a scheme.
///
/// # Errors
/// What it begins with.
pub(crate) fn scheme(uri: &str) -> Result<(), String> {
    // A template may have a variable for its scheme.
    if uri.starts_with('{') {
        return Ok(());
    }
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
    let fits = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    };
    if scheme.is_some_and(fits) {
        return Ok(());
    }
    Err(format!("`{uri}` has no scheme; a URI is written as in `notes://today` or `notes://{{id}}`"))
}

fn no_end(literal: &str) -> Result<(), String> {
    if literal.contains('}') {
        Err("a `}` has no `{`; an expression is written `{name}`".into())
    } else {
        Ok(())
    }
}

fn expression(inner: &str, found: &mut Vec<Variable>) -> Result<(), String> {
    let (operator, list) = match inner.chars().next() {
        None => return Err("an expression is empty; write a name, as in `{id}`".into()),
        Some(operator @ ('+' | '#' | '.' | '/' | '?' | '&')) => (Some(operator), &inner[1..]),
        Some(operator @ (';' | '=' | ',' | '!' | '@' | '|')) => {
            return Err(format!(
                "the operator `{operator}` of `{{{inner}}}` is not served; use `{{id}}`, `{{+path}}`, `{{/part}}`, `{{.ext}}`, `{{#part}}`, `{{?a,b}}` or `{{&a,b}}`"
            ));
        }
        Some(_) => (None, inner),
    };
    for variable in list.split(',') {
        let name = variable.trim_end_matches('*');
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(format!(
                "`{name}` in `{{{inner}}}` is no name of a variable; use letters, digits and `_`"
            ));
        }
        if found.iter().any(|known| known.name == name) {
            return Err(format!("the variable `{name}` is there twice; each has one place in a template"));
        }
        found.push(Variable { name: name.to_owned(), may_be_missing: matches!(operator, Some('?' | '&')) });
    }
    Ok(())
}

const MAX_TEMPLATE: usize = 2048;
const MAX_VARIABLES: usize = 32;

#[cfg(test)]
mod tests {
    use trunkline_protocol::uri_template::UriTemplate;

    use super::*;

    #[test]
    fn the_variables_are_those_the_server_finds() {
        for template in
            ["notes://{id}", "f:///{+path}", "x://s/{a}{?q,n}", "x:/{/a,b}", "x://{a:3}-{b*}", "x://f{.ext}"]
        {
            let ours: Vec<String> =
                variables(template).unwrap().into_iter().map(|found| found.name).collect();
            let server = UriTemplate::parse(template).unwrap();
            assert_eq!(ours, server.variables().collect::<Vec<_>>(), "{template}");
        }
    }

    #[test]
    fn what_the_server_refuses_is_refused_here() {
        for template in ["x://{", "x://{}", "x://{a b}", "x://}", "x://{=a}", "x://{;a}"] {
            assert!(variables(template).is_err(), "{template}");
            assert!(UriTemplate::parse(template).is_err(), "{template}");
        }
        assert!(variables(&format!("x:{}", "a".repeat(3000))).is_err());
        assert!(variables("x://{a}/{a}").is_err());
    }

    #[test]
    fn a_query_may_be_missing_and_a_scheme_may_not() {
        let found = variables("x://{a}{?q}").unwrap();
        assert_eq!(found.iter().map(|found| found.may_be_missing).collect::<Vec<_>>(), [false, true]);
        assert!(scheme("notes/{id}").is_err());
        assert!(scheme("{scheme}://x").is_ok());
        assert!(scheme("9p:x").is_err());
    }
}
