//! The links to the other pages of a list.

use askama::Template;
use askama::filters::HtmlSafe;

/// Links below a list.
#[derive(Debug, Default, Template)]
#[template(path = "pager.html")]
pub(super) struct Pager {
    links: Vec<PagerLink>,
}

impl HtmlSafe for Pager {}

#[derive(Debug)]
struct PagerLink {
    path: String,
    words: &'static str,
    /// The relation to this page; empty if it has none.
    relation: &'static str,
}

impl Pager {
    /// Links to the pages around this one, in these words.
    pub(super) fn around(
        (previous, next): (Option<String>, Option<String>),
        [back, on]: [&'static str; 2],
    ) -> Pager {
        let link = |words, relation| move |path| PagerLink { path, words, relation };
        Pager {
            links: previous.map(link(back, "prev")).into_iter().chain(next.map(link(on, "next"))).collect(),
        }
    }

    /// Links of a list that is read in one direction: to its beginning, and onward.
    pub(super) fn onward(
        (first, next): (Option<String>, Option<String>),
        [begin, on]: [&'static str; 2],
    ) -> Pager {
        let link = |words, relation| move |path| PagerLink { path, words, relation };
        Pager { links: first.map(link(begin, "")).into_iter().chain(next.map(link(on, "next"))).collect() }
    }

    /// Adds a link to something else.
    pub(super) fn and(mut self, path: Option<String>, words: &'static str) -> Pager {
        self.links.extend(path.map(|path| PagerLink { path, words, relation: "" }));
        self
    }
}
