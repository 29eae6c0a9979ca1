//! Links and references: what they lead to, by the ids and the nouns in them.

use std::collections::HashSet;

use super::{Classification, Surroundings};
use crate::discover::entity::About;
use crate::discover::name::{NameReading, Noun, PhraseScope, noun_of_type};
use crate::discover::tree::SampleNode;
use crate::discover::value::{ValueShape, is_url, shape};

/// A link: it is personal if it contains an id of a person, or leads to a person or to a record of one.
pub(super) fn by_link(
    name: &NameReading,
    node: &SampleNode,
    around: &Surroundings,
    ids: &HashSet<String>,
) -> Option<Classification> {
    let links: Vec<&str> = node.values.kept().filter(|text| is_url(text)).collect();
    if links.is_empty() || !(node.values.mostly(ValueShape::Url)) {
        let is_reference = name.is_any(&["reference", "ref"]);
        let leads = is_reference.then(|| node.values.kept().find_map(target)).flatten();
        return match leads {
            Some(Noun::Person | Noun::Author) => {
                Some(Classification::of("subject-identifier", 0.9, "a reference to a person"))
            }
            Some(Noun::Record) => {
                Some(Classification::of("subject-identifier", 0.6, "a reference to a record about a person"))
            }
            Some(Noun::Thing | Noun::Organisation) => {
                Some(Classification::not(0.8, "a reference to a thing or an organisation"))
            }
            Some(Noun::Context) | None => None,
        };
    }
    if links.iter().any(|link| segments(link).any(|segment| ids.contains(segment))) {
        return Some(Classification::of(
            "subject-identifier",
            0.85,
            "a link that contains an id of a person or of a record about one",
        ));
    }
    let targets: Vec<Noun> = links.iter().filter_map(|link| target(link)).collect();
    if targets.iter().any(|noun| matches!(noun, Noun::Person | Noun::Author)) {
        return Some(Classification::of("subject-identifier", 0.85, "a link to a person"));
    }
    if links.iter().any(|link| names_account(link)) {
        return Some(Classification::of("subject-identifier", 0.8, "a link to an account"));
    }
    if targets.contains(&Noun::Record) {
        return Some(Classification::of("subject-identifier", 0.6, "a link to a record about a person"));
    }
    if around.leads_elsewhere || leads_elsewhere(name) || links.iter().all(|link| is_paging(link)) {
        return Some(Classification::not(0.6, "a link to another page of a list, or to a document"));
    }
    if around.container.is_some() || name.category.is_some_and(|found| found.scope == PhraseScope::OfAnybody)
    {
        return None;
    }
    let is_own = around.about == About::Person
        || (around.about == About::Record && (around.holds_links || name.is_any(&OWN_LINKS)));
    if !targets.is_empty() && !is_own {
        return Some(Classification::not(0.75, "a link to a thing"));
    }
    let is_pure = links.iter().all(|link| segments(link).all(|segment| !looks_like_id(segment)));
    if is_pure && !is_own {
        return Some(Classification::not(0.6, "a link without an id"));
    }
    None
}

/// Names of the link of an object to itself.
const OWN_LINKS: [&str; 14] = [
    "self",
    "url",
    "uri",
    "link",
    "href",
    "permalink",
    "weblink",
    "weburl",
    "htmlurl",
    "webviewlink",
    "selflink",
    "fullurl",
    "apiurl",
    "resourceuri",
];

/// True if a part of a link begins as names of users do: `/@alice`, `/~alice`.
fn names_account(link: &str) -> bool {
    link.contains("/@") || link.contains("/~")
}

/// Relations of links (RFC 8288 and its registry) that lead to another page, to a list or to a document.
const ELSEWHERE: [&str; 28] = [
    "next",
    "prev",
    "previous",
    "first",
    "last",
    "start",
    "up",
    "nextlink",
    "prevlink",
    "nextpage",
    "previouspage",
    "nexturl",
    "previousurl",
    "collection",
    "search",
    "help",
    "docs",
    "documentation",
    "describedby",
    "servicedesc",
    "servicedoc",
    "terms",
    "termsofservice",
    "privacypolicy",
    "license",
    "type",
    "curies",
    "template",
];

/// True if a link with this relation leads away from the person or the record at which it stands.
pub(in crate::discover) fn leads_elsewhere(relation: &NameReading) -> bool {
    relation.is_any(&ELSEWHERE)
}

/// Parameters of a link to a part of a list.
const PAGING: [&str; 21] = [
    "page",
    "perpage",
    "pagesize",
    "pagetoken",
    "pagenumber",
    "pageinfo",
    "getpages",
    "cursor",
    "nextcursor",
    "skiptoken",
    "offset",
    "pageoffset",
    "skip",
    "top",
    "limit",
    "count",
    "size",
    "after",
    "before",
    "startat",
    "maxresults",
];

/// True if a link has the position in a list, or the number of its elements, as a parameter.
fn is_paging(link: &str) -> bool {
    let is_position = |parameter: &str| {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        NameReading::new(name).is_any(&PAGING)
    };
    link.split_once('?').is_some_and(|(_, query)| query.split('&').any(is_position))
}

/// The parts of a link between its separators.
fn segments(link: &str) -> impl Iterator<Item = &str> {
    link.split(['/', '?', '&', '=', '#', ':', '@', ',', ' '])
        .map(|part| part.split_once('.').map_or(part, |(stem, _)| stem))
        .filter(|part| !part.is_empty())
}

/// Returns what a link or a reference leads to: the last noun that an id follows.
fn target(link: &str) -> Option<Noun> {
    // The name of a host leads to nobody.
    let path =
        link.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or(link, |(_, path)| path);
    let parts: Vec<&str> = segments(path).collect();
    let pairs = parts.windows(2).filter_map(|pair| {
        let [noun, id] = pair else { return None };
        let found = noun_of_type(noun)?;
        // In a list of people a word is an id, too: `/users/alice`.
        let is_list = found == Noun::Person
            && NameReading::new(noun).is_plural()
            && link.contains(&format!("{noun}/{id}"));
        (is_list || looks_like_id(id)).then_some(found)
    });
    // A record of a person below a thing, or the other way around: people count most.
    let nouns: Vec<Noun> = pairs.collect();
    nouns.iter().copied().find(|noun| matches!(noun, Noun::Person | Noun::Author)).or(nouns.last().copied())
}

/// True if a part of a link is an id and no word.
pub(in crate::discover) fn looks_like_id(segment: &str) -> bool {
    matches!(
        shape(segment),
        ValueShape::Digits
            | ValueShape::Uuid
            | ValueShape::OpaqueId
            | ValueShape::CardNumber
            | ValueShape::Equipment
    ) || segment.bytes().any(|byte| byte.is_ascii_digit()) && segment.len() > 3
        || segment.bytes().any(|byte| byte.is_ascii_digit()) && segment.contains('-')
}
