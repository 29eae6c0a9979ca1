//! The documentation is true: examples load, commands parse, tables are complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use purposegate::cli::Arguments;
use purposegate::exchange::Refusal;
use purposegate::finding;
use purposegate::gateway::TRACE_VARIABLES;
use purposegate::ledger::EVENT_REFERENCE;
use purposegate::metrics::Metrics;

use crate::book::pages;
use crate::source;

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A fenced block: its place, its language, the words after the language, and its text without the indentation of lists.
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) info: String,
    pub(crate) text: String,
}

/// Returns the fenced blocks of a document.
pub(crate) fn fenced(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = document.lines().zip(1..);
    while let Some((opening, line)) = lines.next() {
        let indent = opening.len() - opening.trim_start().len();
        let Some(words) = opening.trim_start().strip_prefix("```") else { continue };
        let (language, info) = words.split_once(' ').unwrap_or((words, ""));
        let block = lines.by_ref().take_while(|(line, _)| line.trim() != "```");
        let block = block.map(|(line, _)| line.get(indent..).unwrap_or_default());
        let text = block.collect::<Vec<_>>().join("\n");
        found.push(Block { line, language: language.to_owned(), info: info.to_owned(), text });
    }
    found
}

/// Returns the fenced blocks of a document in one language.
pub(crate) fn blocks(document: &str, language: &str) -> Vec<String> {
    fenced(document).into_iter().filter(|block| block.language == language).map(|block| block.text).collect()
}

/// Returns a text in which each of these ports is replaced by one that is free.
pub(crate) fn on_free_ports(text: &str, ports: &[&str]) -> String {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // All are open at once, so that they differ.
    let sockets: Vec<_> = ports.iter().map(|_| free()).collect();
    // The digits of a free port may hold those of another port.
    let marked = ports.iter().zip(["<0>", "<1>", "<2>"]);
    let text = marked.clone().fold(text.to_owned(), |text, (port, mark)| text.replace(port, mark));
    marked.zip(&sockets).fold(text, |text, ((_, mark), socket)| {
        text.replace(mark, &socket.local_addr().unwrap().port().to_string())
    })
}

/// Returns the search path of commands, with the program first.
pub(crate) fn path_with_program() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_purposegate")).parent().unwrap();
    format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default())
}

/// Returns the first two cells of the rows about codes below a heading, and that each has a meaning and an advice.
fn codes(heading: &str) -> BTreeSet<(String, String)> {
    let document = read("docs/problem-codes.md");
    let section = document.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("| status |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.len() == 4 && cells[2].len() > 5 && cells[3].len() > 5, "{line}");
            (cells[0].to_owned(), cells[1].trim_matches('`').to_owned())
        })
        .collect()
}

#[test]
fn every_problem_code_is_documented_with_its_status() {
    let of = |refusal: &Refusal| (refusal.status().as_u16().to_string(), refusal.code().to_owned());
    let mut refusals: BTreeSet<_> = Refusal::ALL.iter().map(of).collect();
    refusals.insert(("as the API's".to_owned(), "upstream-refused".to_owned()));
    assert_eq!(codes("Refusals"), refusals);

    let code = read("src/gateway/admin/problem.rs");
    let part = regex::Regex::new(r#"AdminCode::\w+ => \("([a-z-]+)", StatusCode::(\w+)\)"#).unwrap();
    let of_admin = part.captures_iter(&code).map(|found| {
        let status = match &found[2] {
            "BAD_REQUEST" => 400,
            "UNAUTHORIZED" => 401,
            "FORBIDDEN" => 403,
            "NOT_FOUND" => 404,
            "METHOD_NOT_ALLOWED" => 405,
            "REQUEST_TIMEOUT" => 408,
            "CONFLICT" => 409,
            "GONE" => 410,
            "PAYLOAD_TOO_LARGE" => 413,
            "TOO_MANY_REQUESTS" => 429,
            "INTERNAL_SERVER_ERROR" => 500,
            "SERVICE_UNAVAILABLE" => 503,
            other => panic!("{other} has a number, too"),
        };
        (status.to_string(), found[1].to_owned())
    });
    let of_admin: BTreeSet<_> = of_admin.collect();
    assert_eq!(of_admin.len(), code.matches("=> (\"").count(), "{of_admin:?}");
    assert_eq!(codes("Problems of the admin API"), of_admin);
}

/// Returns the commands of a document that no test runs: the lines of shell blocks with a reason, and inline code.
fn commands(document: &str) -> Vec<String> {
    let shell = fenced(document).into_iter().filter(|block| block.language == "sh" && !block.info.is_empty());
    let lines = shell.map(|block| block.text).collect::<Vec<_>>().join("\n");
    let in_text = document.split('`').skip(1).step_by(2).filter(|code| code.split(' ').count() > 1);
    let all = lines
        .lines()
        .chain(in_text)
        .map(|line| line.trim().trim_end_matches(" &").replace("cargo run --release -- ", "purposegate "));
    all.filter(|line| line.starts_with("purposegate ")).collect()
}

/// Splits a command line into words as a shell does, up to `||`, `|` or the file to which its output goes.
fn arguments(command: &str) -> Vec<String> {
    let command = command.split(" || ").next().unwrap_or_default();
    let command = command.split(" > ").next().unwrap_or_default();
    let command = command.split(" | ").next().unwrap_or_default();
    let mut words = vec![String::new()];
    for (number, part) in command.split('"').enumerate() {
        if number % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
        } else {
            let mut split = part.split(' ');
            words.last_mut().unwrap().push_str(split.next().unwrap_or_default());
            words.extend(split.map(str::to_owned));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_documents_parses() {
    let mut parsed = 0;
    for name in pages() {
        for command in commands(&read(&name)) {
            match Arguments::try_parse_from(arguments(&command)) {
                // The version and the help are printed as errors that are none.
                Err(error) if error.use_stderr() => panic!("{name}: `{command}`: {error}"),
                _ => {}
            }
            parsed += 1;
        }
    }
    assert!(parsed >= 10, "{parsed}");
}

#[test]
fn the_reference_names_every_key_of_the_configuration() {
    let reference = read("docs/configuration.md");
    let mut keys = 0;
    for file in source::files(&repository().join("src/config")) {
        let code = std::fs::read_to_string(file).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        // A key is read by a call whose first argument is its name.
        let calls = [
            "text(",
            "texts(",
            "flag(",
            "number(",
            "size(",
            "duration(",
            "date(",
            "choice(",
            "item(",
            "entries(",
            "fields(",
            "tables(",
        ];
        for call in calls {
            for key in code.split(call).skip(1).filter_map(|rest| rest.strip_prefix('"')?.split('"').next()) {
                if key.contains(' ') {
                    continue; // A word for people in a finding.
                }
                let notations = [
                    format!("`{key}`"),
                    format!("`{key} "),
                    format!("`{key}."),
                    format!(".{key}`"),
                    format!("{key} ="),
                    format!("[{key}]"),
                ];
                assert!(
                    notations.iter().any(|notations| reference.contains(notations)),
                    "docs/configuration.md does not name `{key}`"
                );
                keys += 1;
            }
        }
    }
    assert!(keys >= 70, "{keys}");
}

/// Seconds after which commands of a page that hang are ended.
pub(crate) const LIMIT: &str = "900";
/// The ports of the quick start: API, gateway, admin API.
pub(crate) const PORTS: [&str; 3] = ["9000", "8080", "9901"];

/// Returns the blocks of the README's quick start that run. The last one ends the gateway and the API.
pub(crate) fn quick_start() -> Vec<String> {
    let readme = read("README.md");
    let from = readme.find("## Your API behind it").expect("the section is there");
    let section = &readme[from..];
    let section = &section[..section[2..].find("\n## ").expect("another section follows") + 2];
    let shell = fenced(section).into_iter().filter(|block| block.language == "sh");
    let mut blocks: Vec<String> =
        shell.filter(|block| block.info.is_empty()).map(|block| block.text).collect();
    assert!(blocks.len() >= 7, "{blocks:#?}");
    let admin = "[admin]\naddress = \"127.0.0.1:9901\"\n\n[listener]\n";
    blocks.iter_mut().for_each(|block| *block = block.replacen("[listener]\n", admin, 1));
    blocks
}

#[test]
fn the_quick_start_can_be_pasted() {
    for tool in ["bash", "curl", "python3"] {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("skipped: {tool} is not there");
            return;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let script = on_free_ports(&quick_start().join("\n"), &PORTS);
    // Background processes of the script end with it.
    let script = format!("set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}\n");
    let ran = Command::new("timeout")
        .args([LIMIT, "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path_with_program())
        .output()
        .unwrap();
    let (out, words) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{words}");
    let answers: Vec<&str> = out.lines().filter(|line| line.contains("\"status\"")).collect();
    assert_eq!(answers.len(), 2, "{out}\n{words}");
    assert!(!answers[0].contains("Ada"), "nobody is known yet: {out}");
    assert!(answers[1].contains("Ada Example") && answers[1].contains("ada@example.org"), "{out}\n{words}");
    assert!(!answers[1].contains("note"), "{out}");
    assert!(words.contains("; 0 warnings"), "{words}");
}

#[test]
fn every_metric_of_an_alert_is_declared() {
    let (rules, declared) = (read("deploy/prometheus-rules.yml"), read("src/metrics.rs"));
    let names = rules.split("purposegate_").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        rest[..end].trim_end_matches("_bucket")
    });
    let mut found = 0;
    for name in names {
        assert!(declared.contains(&format!("= \"{name}\"")), "there is no metric purposegate_{name}");
        found += 1;
    }
    assert!(found >= 6, "{found}");
}

/// Returns the first cells of the table below a heading, without their backticks.
fn first_cells(document: &str, heading: &str) -> Vec<String> {
    let section = document.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn every_finding_code_is_listed_and_documented() {
    let document = read("docs/findings.md");
    for (heading, codes) in [("Errors", finding::ERRORS), ("Warnings", finding::WARNINGS)] {
        assert!(codes.is_sorted_by(|a, b| a < b), "{heading} are sorted, each once");
        assert_eq!(first_cells(&document, heading), codes, "docs/findings.md lists the codes of {heading}");
    }
    assert!(finding::ERRORS.iter().all(|code| !finding::WARNINGS.contains(code)));
    let (mut errors, mut warnings) = (BTreeSet::new(), BTreeSet::new());
    for (file, code) in product_code() {
        for (call, found) in [("Finding::error(", &mut errors), ("Finding::warning(", &mut warnings)] {
            for argument in code.split(call).skip(1) {
                let argument = argument.trim_start();
                match argument.strip_prefix('"') {
                    Some(literal) => found.insert(literal.split('"').next().unwrap().to_owned()),
                    // The function receives the code from its caller, which spells it out.
                    None => {
                        let first = argument.split(',').next().unwrap();
                        let handed_on = first == "code" || first.ends_with("::UNKNOWN");
                        assert!(handed_on, "{}: {argument:.40}", file.display());
                        true
                    }
                };
            }
        }
        // Codes that are passed to a function.
        for (codes, found) in [(finding::ERRORS, &mut errors), (finding::WARNINGS, &mut warnings)] {
            let written = |known: &&&str| code.contains(&format!("\"{known}\""));
            let listing = file.ends_with("finding/codes.rs");
            found.extend(codes.iter().filter(written).filter(|_| !listing).map(|code| (*code).to_owned()));
        }
    }
    assert_eq!(errors.iter().map(String::as_str).collect::<Vec<_>>(), finding::ERRORS);
    assert_eq!(warnings.iter().map(String::as_str).collect::<Vec<_>>(), finding::WARNINGS);
}

/// Returns every source file without its unit tests.
fn product_code() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != "tests" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                if ["rig", "tests"].iter().any(|name| path.file_stem().unwrap() == *name) {
                    continue; // A file of unit tests.
                }
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text.split("#[cfg(test)]").next().unwrap().to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_kind_of_event_is_documented_with_its_members() {
    let document = read("docs/events.md");
    let kinds_alone = document.split("\n## Kinds\n").nth(1).unwrap();
    let rows: Vec<&str> = kinds_alone.lines().filter(|line| line.starts_with("| `")).collect();
    let mut kinds = first_cells(&document, "Kinds");
    kinds.sort();
    let mut known: Vec<&str> = EVENT_REFERENCE.iter().map(|(kind, ..)| *kind).collect();
    known.sort_unstable();
    assert_eq!(kinds, known);
    for (kind, sort, members) in EVENT_REFERENCE {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{kind}` |"))).unwrap();
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells[1], sort.name(), "{row}");
        let listed: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, members.concat(), "{row}");
    }
}

/// Metrics of the process, which the client of Prometheus adds on Linux.
pub(crate) const PROCESS_METRICS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// Each alert rule: its name and its text.
pub(crate) fn alerts() -> Vec<(String, String)> {
    let rules = read("deploy/prometheus-rules.yml");
    let blocks = rules.split("      - alert: ").skip(1);
    blocks
        .map(|block| block.split_once('\n').unwrap())
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

/// The metrics of the gateway that the expression of an alert names, each once.
fn metrics_of_alert(rule: &str) -> Vec<String> {
    let expression = rule.split("labels:").next().unwrap();
    let mut found: Vec<String> = Vec::new();
    for rest in expression.split("purposegate_").skip(1) {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let name = format!("purposegate_{}", rest[..end].trim_end_matches("_bucket"));
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The sections of a document below headings of this level, each with its title.
fn sections<'d>(document: &'d str, level: &str) -> Vec<(&'d str, &'d str)> {
    let begins = format!("\n{level} ");
    let parts = document.split(&*begins).skip(1);
    parts
        .map(|part| part.split_once('\n').unwrap())
        .map(|(title, text)| (title, text.split("\n## ").next().unwrap()))
        .collect()
}

/// A link to the section of another document for each name.
fn links(names: &[String], document: &str, quote: &str) -> String {
    let link = |name: &String| format!("[{quote}{name}{quote}]({document}#{})", name.to_lowercase());
    names.iter().map(link).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_metric_has_a_section() {
    let document = read("docs/metrics.md");
    let sections = sections(&document, "###");
    let alerts = alerts();
    for ((name, kind, labels), (_, help)) in Metrics::DECLARED.iter().zip(Metrics::HELP) {
        let (_, text) = sections
            .iter()
            .find(|(title, _)| title == name)
            .unwrap_or_else(|| panic!("docs/metrics.md lacks {name}"));
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let by = if labels.is_empty() { String::new() } else { format!(" by {}", labels.join(", ")) };
        let (initial, rest) = kind.split_at(1);
        let line = format!("{}{rest}{by}. {help}", initial.to_uppercase());
        assert!(text.trim_start().starts_with(&*line), "docs/metrics.md, {name}: {line}");
        let watching =
            alerts.iter().filter(|(_, rule)| metrics_of_alert(rule).iter().any(|metric| metric == name));
        let watching: Vec<String> = watching.map(|(alert, _)| alert.clone()).collect();
        let line = text.lines().find(|line| line.starts_with("Alerts: "));
        let expected =
            (!watching.is_empty()).then(|| format!("Alerts: {}.", links(&watching, "alerts.md", "")));
        assert_eq!(line, expected.as_deref(), "docs/metrics.md, {name}");
    }
    let of_process: Vec<&str> =
        sections.iter().map(|(title, _)| *title).filter(|title| title.starts_with("process_")).collect();
    assert_eq!(of_process, PROCESS_METRICS);
    assert_eq!(sections.len(), Metrics::DECLARED.len() + PROCESS_METRICS.len(), "a section of no metric");
}

#[test]
fn every_alert_has_a_section_to_which_its_rule_leads() {
    let document = read("docs/alerts.md");
    let (alerts, sections) = (alerts(), sections(&document, "##"));
    let titles: Vec<&str> = sections.iter().map(|(title, _)| *title).collect();
    assert_eq!(
        titles,
        alerts.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
        "docs/alerts.md, in the order of the rules"
    );
    for ((name, rule), (_, text)) in alerts.iter().zip(sections) {
        let url = format!(
            "\n          runbook_url: \"https://purposegate.example.org/docs/alerts.md#{}\"\n",
            name.to_lowercase()
        );
        assert!(rule.contains(&url), "{name}: {url}");
        let severity = rule.split("severity: ").nth(1).unwrap().split(' ').next().unwrap();
        let metrics = metrics_of_alert(rule);
        let metrics = if metrics.is_empty() {
            "`up` of Prometheus".to_owned()
        } else {
            links(&metrics, "metrics.md", "`")
        };
        let first = format!("Severity `{severity}`. Metrics: {metrics}.");
        assert!(text.trim_start().starts_with(&first), "docs/alerts.md, {name}: {first}");
        let parts: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("- **")?.split(":** ").next()).collect();
        assert_eq!(
            parts,
            ["Meaning", "Likely causes", "Look at", "Do", "Harmless if"],
            "docs/alerts.md, {name}"
        );
    }
}

#[test]
fn every_header_field_that_the_gateway_reads_or_writes_is_documented() {
    let document = read("docs/headers.md").to_lowercase();
    let files = [
        "caller/mod.rs",
        "position.rs",
        "privacy_control.rs",
        "purpose.rs",
        "refuse.rs",
        "respond.rs",
        "transfer.rs",
    ];
    let mut code: String = files
        .iter()
        .filter_map(|file| std::fs::read_to_string(repository().join("src/exchange").join(file)).ok())
        .map(|text| text.split("#[cfg(test)]").next().unwrap().to_owned())
        .collect();
    let forwarded = read("src/exchange/request_head.rs");
    code.push_str(forwarded.split("ALWAYS_FORWARDED").nth(1).unwrap().split("];").next().unwrap());
    let names = code.split("HeaderName::from_static(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(document.contains(&format!("`{name}`")) || document.contains(&format!("`{name}:")), "{name}");
    }
}

#[test]
fn every_environment_variable_is_documented() {
    let document = read("docs/operations.md");
    for (file, code) in product_code() {
        for call in ["env::var(\"", "env::var_os(\"", "try_from_env(\""] {
            for name in code.split(call).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(document.contains(&format!("| `{name}` |")), "{}: {name}", file.display());
            }
        }
    }
    let telemetry = read("docs/telemetry.md");
    let rows: String = telemetry.lines().filter(|line| line.starts_with("| `OTEL_")).collect();
    for name in TRACE_VARIABLES {
        assert!(rows.contains(&format!("`{name}`")), "{name}");
    }
    assert_eq!(rows.matches("`OTEL_").count(), TRACE_VARIABLES.len(), "{rows}");
}

/// Runs the tests of the alert rules with promtool.
#[test]
fn alert_rules_pass_their_tests() {
    let promtool = std::env::var_os("PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut command = Command::new(promtool);
    let tests = ["deploy/prometheus-rules-test.yml", "deploy/prometheus-rules-days-test.yml"];
    command.args(["test", "rules"]).args(tests).current_dir(repository());
    match command.output() {
        Ok(output) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        }
        Err(error) => eprintln!("SKIPPED: the alert rules are not tested, promtool does not run: {error}"),
    }
    // There is a test in which each rule fires.
    let tests = tests.map(read).concat();
    for (name, _) in alerts() {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name}");
    }
}
