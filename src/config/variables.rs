//! `${NAME}` and `${NAME:-default}` inside a text. It happens after TOML has been read, so a value can't add keys.

use super::{
    Lookup,
    value::{Given, Refusal, quoted},
};

/// `text` with its variables filled in. `$${` is a literal `${`; a default also stands in for an empty variable.
pub(super) fn fill<'a>(text: &'a str, lookup: Lookup<'_>) -> Result<Given<'a>, Vec<Refusal>> {
    if !text.contains("${") {
        return Ok(Given::text(text));
    }
    let (mut filled, mut refusals, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            filled.extend([before, "${"]);
            rest = after;
            continue;
        }
        let Some((inside, after)) = after.split_once('}') else {
            refusals.push(Refusal::because("a variable begins with \"${\" and has no \"}\"").hint(LITERAL));
            return Err(refusals);
        };
        filled.push_str(before);
        match value(inside, lookup) {
            Ok(value) => filled.push_str(&value),
            Err(refusal) => refusals.push(refusal),
        }
        rest = after;
    }
    filled.push_str(rest);
    match refusals.is_empty() {
        true if is_one_variable(text) => Ok(Given::free(filled)),
        true => Ok(Given::text(filled)),
        false => Err(refusals),
    }
}

const LITERAL: &str = "write $${ for a literal ${";

fn value(inside: &str, lookup: Lookup<'_>) -> Result<String, Refusal> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        return Err(Refusal::because(format!("{} is not a variable's name", quoted(name))).hint(LITERAL));
    }
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Refusal::because(format!("the variable {name} is not set"))
            .hint(format!("set it, or give a default: ${{{name}:-…}}"))),
    }
}

fn is_name(name: &str) -> bool {
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    word && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Whether the text is one variable and nothing else, so that it may stand for a number.
fn is_one_variable(text: &str) -> bool {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(|inside| !inside.contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Vec<String>> {
        let lookup = |name: &str| match name {
            "HOST" => Some("localhost".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        match fill(text, &lookup) {
            Ok(given) => Ok(given.as_text().unwrap_or_default().to_owned()),
            Err(refusals) => Err(refusals.into_iter().filter_map(|refusal| refusal.reason).collect()),
        }
    }

    #[test]
    fn variables_stand_anywhere_in_a_text() {
        assert_eq!(filled("${HOST}:${PORT:-9092}/${EMPTY:-x}${EMPTY}."), Ok("localhost:9092/x.".to_owned()));
        assert_eq!(filled("no $variable {HOST}"), Ok("no $variable {HOST}".to_owned()));
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_one() {
        assert_eq!(filled("$${HOST} ${HOST}"), Ok("${HOST} localhost".to_owned()));
    }

    #[test]
    fn a_value_is_never_read_for_variables_again() {
        assert_eq!(fill("${A}", &|_| Some("${A}".to_owned())).unwrap().as_text().ok(), Some("${A}"));
    }

    #[test]
    fn every_missing_variable_is_told() {
        let wanted = ["the variable A is not set", "\"b c\" is not a variable's name", "the variable D is not set"];
        assert_eq!(filled("${A}${b c}${D}"), Err(wanted.map(str::to_owned).to_vec()));
        assert_eq!(filled("${HOST"), Err(vec!["a variable begins with \"${\" and has no \"}\"".to_owned()]));
    }
}
