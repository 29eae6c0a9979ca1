//! Looks at pages in a browser, and follows their links: nothing in the console, no request to elsewhere, no page that scrolls
//! sideways, no serious finding of axe-core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::http;
use crate::web_driver::Browser;

/// Widths in CSS pixels: a phone, a tablet, a desk.
const WIDTHS: [u32; 3] = [360, 800, 1280];
/// Maximum number of pages of one kind that are looked at: the pages of two decisions differ in words only.
const MAX_OF_A_KIND: usize = 2;
/// Maximum number of characters of axe-core's description of an element.
const MAX_ELEMENT_CHARS: usize = 160;

/// Returns the serious findings of axe-core about the page, one a line.
const RUN_AXE: &str = "axe.run({ resultTypes: ['violations'] }).then(result => done(result.violations
    .filter(found => ['serious', 'critical'].includes(found.impact))
    .flatMap(found => found.nodes.map(node => found.id + ': ' + found.help + ': ' + node.html))),
    error => done(['axe-core fails: ' + error]));";

/// Returns the pages that the page rules list under `GET`, by the path of the router.
pub(crate) fn listed_pages() -> BTreeSet<String> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway/console/page_rule.rs");
    let code = std::fs::read_to_string(rules).unwrap();
    let (_, table) = code.split_once("const PAGES: &[PageRule] = &[").unwrap();
    let (table, _) = table.split_once("\n];").unwrap();
    let first_text = |code: &str| code.split('"').nth(1).unwrap().to_owned();
    let short = ["get(", "outline("].into_iter().flat_map(|call| table.split(call).skip(1)).map(first_text);
    let long = table.split("method: \"GET\"").skip(1).map(|rest| {
        let (_, path) = rest.split_once("path:").unwrap();
        first_text(path)
    });
    short.chain(long).collect()
}

/// True if the router leads a path to a page.
fn is_page(page: &str, path: &str) -> bool {
    let (mut page, mut path) = (page.split('/'), path.split('/'));
    loop {
        match (page.next(), path.next()) {
            (None, None) => return true,
            (Some(rest), Some(_)) if rest.starts_with("{*") => return true,
            (Some(part), Some(text)) if part == text || part.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// A walk through the pages of a gateway.
pub(crate) struct PageWalk {
    pub(crate) browser: Browser,
    pub(crate) admin: SocketAddr,
    /// The source of axe-core; `None` if it is not at hand.
    axe: Option<String>,
    /// The folder for pictures: then each page is looked at in all views.
    pictures: Option<PathBuf>,
    listed: BTreeSet<String>,
    /// The number of visits by page.
    visits: BTreeMap<String, usize>,
    /// Number of pages that were looked at.
    seen: usize,
    findings: Vec<String>,
}

impl PageWalk {
    /// Begins a walk; `None`, and a message, if there is no browser.
    pub(crate) fn start(admin: SocketAddr) -> Option<PageWalk> {
        let browser = match Browser::start() {
            Ok(browser) => browser,
            Err(error) => {
                eprintln!("SKIPPED: the console is not looked at in a browser: {error}");
                return None;
            }
        };
        let axe = std::env::var_os("AXE_CORE").map(|file| std::fs::read_to_string(file).unwrap());
        if axe.is_none() {
            eprintln!(
                "SKIPPED: axe-core does not look at the console, AXE_CORE does not name its axe.min.js"
            );
        }
        let pictures = std::env::var_os("PURPOSEGATE_PICTURES").map(PathBuf::from);
        Some(PageWalk {
            browser,
            admin,
            axe,
            pictures,
            listed: listed_pages(),
            visits: BTreeMap::new(),
            seen: 0,
            findings: Vec::new(),
        })
    }

    /// Opens a page of the gateway.
    pub(crate) fn open(&mut self, path: &str) {
        let url = format!("http://{}{path}", self.admin);
        self.browser.open(&url);
    }

    /// Opens a page of the gateway and looks at it.
    pub(crate) fn visit(&mut self, path: &str) {
        self.open(path);
        if !self.browser.url().ends_with(path) {
            // A page that leads to another one.
            self.note_visit(path);
        }
        self.look(path);
    }

    /// Looks at the page that is open, with everything on it unfolded. The name is for findings and pictures.
    pub(crate) fn look(&mut self, name: &str) {
        let url = self.browser.url();
        let origin = format!("http://{}", self.admin);
        if let Some(path) = url.strip_prefix(&origin) {
            self.note_visit(path);
        }
        self.browser.evaluate(
            "window.folded = [...document.querySelectorAll('details:not([open])')];
            for (const part of window.folded) part.open = true;",
        );
        if let Some(axe) = &self.axe {
            self.browser.evaluate(axe);
        }
        let at = self.seen;
        self.seen += 1;
        for (number, (width, is_dark)) in
            WIDTHS.into_iter().flat_map(|width| [(width, false), (width, true)]).enumerate()
        {
            // Light and dark at one width each, or everything if there is time.
            let is_full = self.pictures.is_some() || [at % 3 * 2, (at + 1) % 3 * 2 + 1].contains(&number);
            if is_full || !is_dark {
                self.browser.set_view(width, is_dark);
                self.look_at_view(name, (width, is_dark), is_full);
            }
        }
        self.browser.evaluate("for (const part of window.folded) part.open = false;");
        self.look_at_logs(name, &origin, &url);
    }

    fn look_at_view(&mut self, name: &str, (width, is_dark): (u32, bool), is_full: bool) {
        let view = format!("{name} at {width} px, {}", if is_dark { "dark" } else { "light" });
        let overflow = self
            .browser
            .evaluate("const root = document.documentElement; return root.scrollWidth - root.clientWidth;");
        if overflow != 0 {
            self.findings.push(format!("{view}: {overflow} px wider than the window"));
        }
        if is_full && self.axe.is_some() {
            let found = self.browser.evaluate_later(RUN_AXE);
            let lines = found.as_array().unwrap().iter().map(|line| {
                let line: String = line.as_str().unwrap().chars().take(MAX_ELEMENT_CHARS).collect();
                format!("{view}: {line}")
            });
            self.findings.extend(lines);
        }
        if let Some(folder) = &self.pictures {
            let name: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
            let file = format!("{:02}{name}-{width}{}.png", self.seen, if is_dark { "-dark" } else { "" });
            self.browser.save_picture(&folder.join(file));
        }
    }

    fn look_at_logs(&mut self, name: &str, origin: &str, url: &str) {
        let status = self.browser.evaluate(
            "return performance.getEntriesByType('navigation').map(entry => entry.responseStatus)[0] ?? 0;",
        );
        let is_refused = status.as_u64().is_some_and(|status| status >= 400);
        for line in self.browser.take_console() {
            let is_fault = ["SEVERE", "WARNING"].contains(&line.level.as_str());
            // The browser logs the status of a page that is an error by itself.
            if is_fault && !(is_refused && line.message.starts_with(url)) {
                self.findings.push(format!("{name}: console: {}: {}", line.level, line.message));
            }
        }
        for request in self.browser.take_requests() {
            if request != url && !request.starts_with(&format!("{origin}/")) {
                self.findings.push(format!("{name}: request to {request}"));
            }
        }
    }

    /// Counts a visit to the page of a path, and returns the number of visits so far.
    fn note_visit(&mut self, path: &str) -> usize {
        let Some(page) = self.page_of(path) else { return 0 };
        let visits = self.visits.entry(page).or_default();
        *visits += 1;
        *visits
    }

    /// Returns the listed page of a path; a page whose path has no variable comes first.
    fn page_of(&self, path: &str) -> Option<String> {
        let path = path.split(['?', '#']).next().unwrap();
        let pages = self.listed.iter().filter(|page| is_page(page, path));
        pages.min_by_key(|page| page.matches('{').count() + 10 * page.matches("{*").count()).cloned()
    }

    /// Returns the paths of this gateway to which the page leads, without fragments.
    pub(crate) fn links(&mut self) -> BTreeSet<String> {
        let origin = format!("http://{}", self.admin);
        let links = self.browser.evaluate("return [...document.links].map(link => link.href);");
        let links = links.as_array().unwrap().iter().filter_map(Value::as_str);
        links.filter_map(|link| link.strip_prefix(&origin)?.split('#').next().map(str::to_owned)).collect()
    }

    /// Visits the pages to which these links lead, and so on, up to [`MAX_OF_A_KIND`] of each page. Links
    /// that save a file are left out.
    pub(crate) fn follow(&mut self, links: BTreeSet<String>) {
        let mut known = links.clone();
        let mut queue = VecDeque::from_iter(links);
        while let Some(path) = queue.pop_front() {
            let page = self.page_of(&path);
            let visits = page.as_ref().and_then(|page| self.visits.get(page)).copied().unwrap_or(0);
            if visits >= MAX_OF_A_KIND || path.ends_with("/report") {
                continue;
            }
            self.visit(&path);
            for link in self.links() {
                if known.insert(link.clone()) {
                    queue.push_back(link);
                }
            }
        }
    }

    /// Looks at the file that a link of the page saves, as the person who receives it does.
    pub(crate) fn look_at_file(&mut self, path: &str) {
        let cookie = format!("cookie: purposegate={}", self.browser.cookie("purposegate"));
        let answer = http::get(self.admin, path, &[&cookie]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("content-disposition").is_some_and(|value| value.starts_with("attachment")));
        self.note_visit(path);
        let file = tempfile::Builder::new().suffix(".html").tempfile().unwrap();
        std::fs::write(file.path(), &answer.body).unwrap();
        self.browser.open(&format!("file://{}", file.path().display()));
        self.look("saved file");
    }

    /// Fails with everything that was found, and with the listed pages that nobody visited.
    #[track_caller]
    pub(crate) fn end(self, must_be_complete: bool) {
        let missed = self.listed.iter().filter(|page| !self.visits.contains_key(*page));
        let missed: Vec<&String> = missed.filter(|_| must_be_complete).collect();
        assert!(missed.is_empty(), "not visited: {missed:#?}");
        assert!(self.findings.is_empty(), "{}", self.findings.join("\n"));
    }
}

#[test]
fn the_pages_are_read_from_their_table() {
    let listed = listed_pages();
    for page in ["/", "/sign-in", "/console/try", "/console/decisions/{id}", "/console/{*path}"] {
        assert!(listed.contains(page), "{page}: {listed:?}");
    }
    assert!(!listed.contains("/sign-out"), "it is no page");
    assert!(is_page("/console/routes/{name}", "/console/routes/x") && is_page("/", "/"));
    assert!(!is_page("/console/routes/{name}", "/console/routes") && !is_page("/", "/sign-in"));
}
