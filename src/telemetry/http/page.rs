//! The page, put together once from its three files, with the policy that lets a browser run these and nothing else.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page/page.css");
const INDEX: &str = include_str!("page/index.html");
const INDEX_SCRIPT: &str = include_str!("page/page.js");
const ENTER: &str = include_str!("page/enter.html");
const ENTER_SCRIPT: &str = include_str!("page/enter.js");

/// A document that needs nothing from outside.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) html: Bytes,
    pub(super) policy: HeaderValue,
}

impl Page {
    /// What a run looks like.
    pub(super) fn index() -> Self {
        Self::join(INDEX, INDEX_SCRIPT)
    }

    /// Asks for the token.
    pub(super) fn enter() -> Self {
        Self::join(ENTER, ENTER_SCRIPT)
    }

    fn join(html: &str, script: &str) -> Self {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            digest(script),
            digest(STYLE)
        );
        Self {
            html: html.replace("/*style*/", STYLE).replace("/*script*/", script).into(),
            // Made of letters, digits and signs; were it not, nothing at all is let run.
            policy: policy.parse().unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }
}

fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_its_style_and_script_as_the_policy_names_them() {
        for page in [Page::index(), Page::enter()] {
            let (html, policy) = (std::str::from_utf8(&page.html).unwrap(), page.policy.to_str().unwrap());
            for tag in ["style", "script"] {
                let (begin, end) = (format!("<{tag}>"), format!("</{tag}>"));
                assert_eq!(html.matches(&begin).count(), 1, "one {tag}");
                let inside = html.split_once(&begin).unwrap().1.split_once(&end).unwrap().0;
                assert!(inside.len() > 100 && policy.contains(&digest(inside)), "{tag}: {policy}");
            }
        }
    }

    #[test]
    fn a_page_names_nothing_outside_and_makes_no_html_of_text() {
        for text in [INDEX, INDEX_SCRIPT, ENTER, ENTER_SCRIPT, STYLE] {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in
                ["http:", "https:", "//www", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("]
            {
                assert!(!text.contains(word), "{word}");
            }
            assert!(
                !text.contains(" style=") && !text.contains(" onclick"),
                "the policy would keep these from working"
            );
        }
    }
}
