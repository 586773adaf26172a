//! Lists over several pages: all of them, or an error; never a shorter list.

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::client::{GitHub, decode, nonsense};
use super::error::GitHubError;
use super::request::Request;

/// The most items on a page that GitHub gives.
pub(super) const PAGE: usize = 100;

/// The most pages that are read of one list.
const MOST_PAGES: usize = 100;

/// How often a list is read that changes while it is read.
const READINGS: usize = 3;

/// Where the items are in an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// The answer is the list.
    Bare,
    /// The list is a field of the answer, which may say how many items there are in all.
    Under(&'static str),
}

#[derive(Deserialize)]
struct Counted {
    total_count: Option<usize>,
}

impl GitHub {
    /// All items of a list.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        request: &Request,
        shape: Shape,
    ) -> Result<Vec<T>, GitHubError> {
        let request = request.clone().query("per_page", &PAGE.to_string());
        let mut missing = String::new();
        for _ in 0..READINGS {
            let pages = self.pages(&request, shape, MOST_PAGES).await?;
            let total = pages.last().and_then(|page| decode::<Counted>(page, &request.what).ok()?.total_count);
            let items: Vec<Value> = flatten(&pages, shape, &request.what)?;
            match total {
                // GitHub leaves out what it does not want to list (more than 1,000 check suites), or the list has changed
                // between two pages.
                Some(total) if items.len() < total => missing = format!("{} of {total} were listed", items.len()),
                _ => return items.into_iter().map(|item| item_of(item, &request.what)).collect(),
            }
        }
        Err(GitHubError::Incomplete { what: request.what.clone(), why: missing })
    }

    /// The first items of a list, as many as stand on one page.
    pub(super) async fn first<T: DeserializeOwned>(
        &self,
        request: &Request,
        shape: Shape,
        count: usize,
    ) -> Result<Vec<T>, GitHubError> {
        let request = request.clone().query("per_page", &count.clamp(1, PAGE).to_string());
        let answer = self.send(&request).await?;
        let items = flatten(&[answer.body], shape, &request.what)?;
        items.into_iter().take(count).map(|item| item_of(item, &request.what)).collect()
    }

    /// The bodies of all pages of a list.
    pub(super) async fn pages(
        &self,
        request: &Request,
        shape: Shape,
        most: usize,
    ) -> Result<Vec<bytes::Bytes>, GitHubError> {
        let mut pages = Vec::new();
        let mut page = request.clone();
        loop {
            let answer = self.send(&page).await?;
            let next = answer.link.as_ref().and_then(|link| link.to_str().ok()).and_then(next_of);
            if next.is_none() && items_of(&answer.body, shape, &page.what)?.len() >= PAGE {
                // A full last page is the same when another page follows it, and so is its ETag.
                self.forget(&page.url);
            }
            pages.push(answer.body);
            let Some(next) = next else { return Ok(pages) };
            if pages.len() >= most {
                let why = format!("it has more than {most} pages");
                return Err(GitHubError::Incomplete { what: page.what, why });
            }
            page.url = self.next_page(&page, &next)?;
        }
    }

    /// The address of the next page, which must be GitHub's own.
    fn next_page(&self, page: &Request, next: &str) -> Result<Url, GitHubError> {
        let url =
            page.url.join(next).map_err(|error| nonsense(&page.what, format!("the next page's address: {error}")))?;
        if url.origin() != self.base().origin() || page.method != Method::GET {
            return Err(nonsense(&page.what, "the next page is at another server".to_owned()));
        }
        Ok(url)
    }
}

fn items_of(body: &[u8], shape: Shape, what: &str) -> Result<Vec<Value>, GitHubError> {
    let value: Value = decode(body, what)?;
    let list = match shape {
        Shape::Bare => Some(value),
        Shape::Under(name) => match value {
            Value::Object(mut fields) => fields.remove(name),
            _ => None,
        },
    };
    match list {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(nonsense(what, "there is no list in the answer".to_owned())),
    }
}

fn flatten(pages: &[bytes::Bytes], shape: Shape, what: &str) -> Result<Vec<Value>, GitHubError> {
    let mut items = Vec::new();
    for page in pages {
        items.extend(items_of(page, shape, what)?);
    }
    Ok(items)
}

fn item_of<T: DeserializeOwned>(item: Value, what: &str) -> Result<T, GitHubError> {
    serde_json::from_value(item).map_err(|error| nonsense(what, error.to_string()))
}

/// The address with `rel="next"` in a `Link` header (RFC 8288).
fn next_of(link: &str) -> Option<String> {
    let mut rest = link;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let (parameters, following) = match after.find(",") {
            Some(comma) => after.split_at(comma),
            None => (after, ""),
        };
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|one| one.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = following;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_wherever_it_stands() {
        let table = [
            (
                r#"<https://x.test/a?page=2>; rel="next", <https://x.test/a?page=9>; rel="last""#,
                Some("https://x.test/a?page=2"),
            ),
            (
                r#"<https://x.test/a?page=1>; rel="prev", <https://x.test/a?b=1,2&page=3>; rel="next""#,
                Some("https://x.test/a?b=1,2&page=3"),
            ),
            (r#"</a?page=2>; title="x"; REL=next"#, Some("/a?page=2")),
            (r#"<a>; rel="first next""#, Some("a")),
            (r#"<a>; rel="last""#, None),
            (r#"<a>; rel="nextish", <b"#, None),
            ("", None),
        ];
        for (link, expected) in table {
            assert_eq!(next_of(link).as_deref(), expected, "{link}");
        }
    }
}
