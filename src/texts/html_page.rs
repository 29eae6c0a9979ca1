//! The HTML around the content of a page: head, style, language.

use super::{PageLanguage, Sentence};

/// The style of all pages: for a screen of any width, for the dark, and for paper.
const STYLE: &str = "
:root { color-scheme: light dark; font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif; --text: #1b1b1b; --quiet: #575757;
  --back: #fff; --line: #d0d0d0; --strong-line: #8a8a8a; --accent: #1b4f8a; --on-accent: #fff; --accent-hover: #12365f; --panel: #f4f5f7; --alert: #8a1f11; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --quiet: #b0b0b0; --back: #16181b; --line: #3a3d42; --strong-line: #777c85;
  --accent: #8fbcf0; --on-accent: #10151b; --accent-hover: #b5d4f8; --panel: #202328; --alert: #ff9d8c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 3rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .6rem; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.03rem; margin: 1.4rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.from { font-weight: 600; margin-bottom: 1.2rem; }
.quiet { color: var(--quiet); font-size: .92rem; }
.alert { color: var(--alert); font-weight: 600; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); text-align: start; vertical-align: top; padding: .4rem 1rem .4rem 0; font-weight: normal; }
thead th { font-weight: 600; border-bottom: 2px solid var(--strong-line); }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .2rem 1.4rem; margin: .3rem 0 .9rem; }
dt { color: var(--quiet); } dd { margin: 0; }
ul { margin: .3rem 0 .9rem; padding-inline-start: 1.2rem; }
code, pre { font: .9em/1.45 ui-monospace, 'DejaVu Sans Mono', monospace; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .3rem; padding: .7rem .9rem; margin: .3rem 0 1rem; white-space: pre-wrap; }
h3 code { font-size: 1em; }
a { color: var(--accent); }
@media (max-width: 40rem) {
  main { padding: 1.2rem 1rem 2rem; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; }
  table, tbody, tr, th, td { display: block; } thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  th, td { border: 0; padding: .05rem 0; } tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td[data-label]::before { content: attr(data-label) ': '; color: var(--quiet); }
}
@media print {
  @page { size: A4; margin: 16mm; }
  :root { color-scheme: light; font-size: 10.5pt; --text: #000; --quiet: #444; --back: #fff; --line: #bbb; --strong-line: #666; --panel: #fff; --alert: #000; --accent: #000; }
  main { max-width: none; padding: 0; }
  tr, pre, .together { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
";

/// The policy of a page that is kept as a file: it loads nothing and runs nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'";

/// A page that is being written.
#[derive(Debug)]
pub struct HtmlPage<'l> {
    language: &'l PageLanguage,
    title: String,
    style: &'static str,
    is_file: bool,
}

impl<'l> HtmlPage<'l> {
    /// A page with this title, which is plain text.
    pub fn new(language: &'l PageLanguage, title: impl Into<String>) -> HtmlPage<'l> {
        HtmlPage { language, title: title.into(), style: "", is_file: false }
    }

    /// Adds rules to the style.
    #[must_use]
    pub fn with_style(self, style: &'static str) -> HtmlPage<'l> {
        HtmlPage { style, ..self }
    }

    /// Has the page state its policy itself: people keep it as a file, where no header states one.
    #[must_use]
    pub fn for_file(self) -> HtmlPage<'l> {
        HtmlPage { is_file: true, ..self }
    }

    /// Returns the page with this content, which is HTML.
    pub fn with(&self, content: &str) -> String {
        let HtmlPage { language, title, style, is_file } = self;
        let (tag, direction, title) = (escaped(language.tag()), language.direction(), escaped(title));
        let organisation = language.texts().organisation();
        let from = organisation
            .map_or_else(String::new, |name| format!("<p class=\"from\">{}</p>\n", escaped(name)));
        let policy = match is_file {
            true => format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n"),
            false => String::new(),
        };
        format!(
            "<!doctype html>\n<html lang=\"{tag}\" dir=\"{direction}\">\n<head>\n<meta charset=\"utf-8\">\n{policy}\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>{title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n{from}{content}</main>\n</body>\n</html>\n"
        )
    }
}

impl PageLanguage {
    /// Returns the beginning of a table with these columns.
    pub fn table(&self, columns: &[Sentence]) -> String {
        let head = |column: &Sentence| format!("<th scope=\"col\">{}</th>", self.html(*column, &[]));
        let head: String = columns.iter().map(head).collect();
        format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n")
    }

    /// Returns a cell with this content, which is HTML. A narrow screen shows it with the title of its column.
    pub fn cell(&self, column: Sentence, content: &str) -> String {
        format!("<td data-label=\"{}\">{content}</td>", escaped(&self.plain(column, &[])))
    }
}

/// Escapes a text for the content of an element and for a quoted attribute.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::texts::PageTexts;

    #[test]
    fn a_page_states_its_language_and_escapes_names() {
        let name = Some("<script>alert('a' & \"b\")</script>".to_owned());
        let texts = Arc::new(PageTexts::new(Vec::new(), "de", name));
        let page = HtmlPage::new(&texts.for_header(""), "A < B").for_file().with("<p>content</p>\n");
        assert!(page.starts_with("<!doctype html>\n<html lang=\"de\" dir=\"ltr\">"), "{page}");
        assert!(page.contains("<title>A &lt; B</title>") && page.contains("\n<p>content</p>\n</main>"));
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;a&#39; &amp; &quot;b&quot;)"), "{page}");
        assert!(page.contains("http-equiv=\"Content-Security-Policy\""));
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("url("),
            "nothing is loaded"
        );
    }
}
