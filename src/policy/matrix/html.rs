//! Renders the matrix as one self-contained HTML page, for a browser or on paper.

use std::fmt::Write as _;

use super::{Matrix, MatrixEntry, MatrixSection, letter};
use crate::vocabulary::Form;

const STYLE: &str = "
:root { font: 14px/1.4 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
body { margin: 2rem; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p { margin: .2rem 0 .6rem; max-width: 60rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid #b5b5b5; text-align: center; padding: 0; }
thead th { height: 9.5rem; vertical-align: bottom; min-width: 1.7rem; }
thead th span { writing-mode: vertical-rl; transform: rotate(180deg); padding: .3rem .1rem; font-weight: 500; }
tbody th { text-align: left; font-weight: 500; padding: .1rem .5rem; white-space: nowrap; }
td a { display: block; color: inherit; text-decoration: none; font-weight: 600; padding: .1rem .3rem; }
td a:hover, td a:focus { outline: 2px solid #000; }
.C { background: #bfe3c0; } .M { background: #dcd6f2; } .G { background: #f6e3b0; } .P { background: #bcdcee; }
td.if a { font-weight: 400; font-style: italic; } td.if a::after { content: '*'; }
.key span { display: inline-block; min-width: 1.6rem; text-align: center; border: 1px solid #b5b5b5; margin: 0 .3rem 0 1rem; }
.key span:first-child { margin-left: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; } dt { font-weight: 600; } dd { margin: 0; }
dt:target, dt:target + dd { background: #fff3a8; }
@media print {
  @page { size: A3 landscape; margin: 10mm; }
  :root { font-size: 10px; } body { margin: 0; } section { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
";

/// Returns the page. Each entry links to the first clause that its rule cites. The `title` attribute of the link
/// names rule, basis and condition.
pub fn html(matrix: &Matrix) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\">\n");
    let title = escaped(&matrix.title);
    let _ = writeln!(page, "<title>{title}: who receives what</title>\n<style>{STYLE}</style>");
    let _ = writeln!(
        page,
        "<h1>{title}</h1>\n<p>Version {}: who receives which data, for which purpose.</p>",
        escaped(&matrix.version)
    );
    page.push_str("<p class=\"key\"><span class=\"C\">C</span>clear<span class=\"M\">M</span>masked");
    page.push_str("<span class=\"G\">G</span>generalised<span class=\"P\">P</span>pseudonymised<span>*</span>only under a condition<span>°</span>not all that is below it</p>\n");
    page.push_str("<p>The title of a letter names its condition (*), and the categories below its own that leave otherwise (°). ");
    let _ = writeln!(page, "Left out: {}</p>", escaped(&matrix.left_out));
    for section in &matrix.sections {
        write_section(&mut page, section);
    }
    page.push_str("<h2>Clauses</h2>\n<dl>\n");
    for clause in &matrix.clauses {
        let id = escaped(&clause.id);
        let _ = writeln!(page, "<dt id=\"{id}\">{id}</dt><dd>{}</dd>", escaped(&clause.title));
    }
    page.push_str("</dl>\n</html>\n");
    page
}

fn write_section(page: &mut String, section: &MatrixSection) {
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escaped(&section.kinds.join(", ")));
    if section.rows.is_empty() {
        page.push_str("<p>Nothing personal.</p>\n</section>\n");
        return;
    }
    page.push_str("<table>\n<thead><tr><th></th>");
    for category in &section.categories {
        let _ = write!(page, "<th scope=\"col\"><span>{}</span></th>", escaped(category));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &section.rows {
        let operations = match row.is_disclosure() {
            true => String::new(),
            false => format!(" <i>{}</i>", row.operations.join(", ")),
        };
        let _ = write!(page, "<tr><th scope=\"row\">{}{operations}</th>", escaped(&row.purpose));
        for entry in &row.entries {
            match entry {
                Some(entry) => write_entry(page, entry),
                None => page.push_str("<td></td>"),
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn write_entry(page: &mut String, entry: &MatrixEntry) {
    let MatrixEntry { category, form, basis, rules, clauses, needs, except } = entry;
    let letter = letter(*form);
    let class = if *form == Form::Removed { "" } else { letter };
    let condition = if needs.is_empty() { "" } else { " if" };
    let needs = if needs.is_empty() { String::new() } else { format!("; only where {needs}") };
    let but = if except.is_empty() { String::new() } else { format!(" but {}", except.join(", ")) };
    let part = if except.is_empty() { "" } else { "°" };
    let title = format!(
        "{category}{but}: {}, {}; rule {}; {}{needs}",
        form.name(),
        basis.unwrap_or_default(),
        rules.join(", "),
        clauses.join(", ")
    );
    let anchor = clauses.first().map(String::as_str).unwrap_or_default();
    let _ = write!(
        page,
        "<td class=\"{class}{condition}\"><a href=\"#{}\" title=\"{}\">{letter}{part}</a></td>",
        escaped(anchor),
        escaped(&title)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
