//! The examples in the `--help` of each verb, and the environment variables. A test parses every example.

use clap::Command;

/// The environment variables of the program, for the help of the program as a whole.
const ENVIRONMENT: &str = "Environment:
  PURPOSEGATE_CONFIG      Configuration file of `health`, without --config
  PURPOSEGATE_LOG         Filter of the log: a level, or directives such as info,purposegate::ledger=debug
  PURPOSEGATE_LOG_FORMAT  json: log lines as JSON objects
  PURPOSEGATE_TOKEN       Token for the admin API, with --admin
";

/// Command lines for each verb.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("", &["purposegate demo", "purposegate check --config purposegate.toml"]),
    ("demo", &["purposegate demo", "purposegate demo --check"]),
    ("serve", &["purposegate serve --config /etc/purposegate/purposegate.toml"]),
    (
        "check",
        &["purposegate check", "purposegate check --config /etc/purposegate/purposegate.toml --format json"],
    ),
    ("schema", &["purposegate schema"]),
    ("health", &["purposegate health", "purposegate health --url http://127.0.0.1:9902"]),
    (
        "explain",
        &[
            "purposegate explain --route customer --recipient service-desk --purpose direct-marketing --subject 42",
            "purposegate explain --decision 01M8HSMCDZ7JP0DJMTP6MWK1K8",
            "purposegate explain --decision 01M8HSMCDZ7JP0DJMTP6MWK1K8 --admin https://gateway.internal:9901",
        ],
    ),
    (
        "policy new",
        &["purposegate policy new policies/ours --title 'Our privacy policy' --contact privacy@example.org"],
    ),
    (
        "policy test",
        &[
            "purposegate policy test --policy policies/ours",
            "purposegate policy test --policy policies/ours extra.toml",
        ],
    ),
    (
        "policy explain",
        &[
            "purposegate policy explain --policy policies/ours --recipient-kind domain-registrar --purpose domain-registration",
        ],
    ),
    ("policy matrix", &["purposegate policy matrix --policy policies/ours --format html"]),
    (
        "policy diff",
        &[
            "purposegate policy diff policies/ours-2026 policies/ours-2027",
            "purposegate policy diff policies/ours-2026 policies/ours-2027 --decisions seen.ndjson",
            "purposegate policy diff --mapping purposegate.toml next/purposegate.toml --decisions seen.ndjson",
        ],
    ),
    (
        "policy coverage",
        &[
            "purposegate policy coverage --policy policies/ours",
            "purposegate policy coverage --policy policies/ours --mutate",
        ],
    ),
    (
        "policy vocabulary",
        &["purposegate policy vocabulary --format text", "purposegate policy vocabulary --format ttl"],
    ),
    ("policy schema", &["purposegate policy schema --policy policies/ours --out schema"]),
    (
        "scrub",
        &[
            "purposegate scrub --route customers --recipient service-desk --purpose customer-support",
            "purposegate scrub --remove '$.items[*].email'",
        ],
    ),
    ("openapi", &["purposegate openapi --recipient acme-domains --purpose domain-registration api.json"]),
    (
        "discover",
        &[
            "purposegate discover --sample customers.json orders.json",
            "purposegate discover --route customers --sample customers.json --format json",
            "purposegate discover --sample customers.json --path /customers --upstream crm",
            "purposegate discover --openapi openapi.yaml",
            "purposegate discover --openapi openapi.yaml --annotate",
            "purposegate discover --traffic --admin https://gateway.internal:9901 --route customers",
        ],
    ),
    (
        "consent give",
        &[
            "purposegate consent give 42 product-news --channel web --notice 2026-1",
            "purposegate consent give 42 product-news --admin https://gateway.internal:9901 --token-file token",
        ],
    ),
    ("consent refuse", &["purposegate consent refuse 42 product-news --recipient acme-domains"]),
    ("consent withdraw", &["purposegate consent withdraw 42 product-news --channel phone"]),
    ("consent object", &["purposegate consent object 42 marketing --channel letter"]),
    ("consent opt-out", &["purposegate consent opt-out 42 acme-domains"]),
    ("consent restrict", &["purposegate consent restrict 42 --evidence ticket-7"]),
    ("consent lift", &["purposegate consent lift 42", "purposegate consent lift 42 --objection marketing"]),
    ("consent erase", &["purposegate consent erase 42"]),
    ("consent fact", &["purposegate consent fact 42 country=FR minor=false"]),
    (
        "consent show",
        &[
            "purposegate consent show 42 --at 2026-03-01",
            "purposegate consent show 42 --reason 'call 7' --admin https://gateway.internal:9901",
        ],
    ),
    ("consent import", &["purposegate consent import events.ndjson", "purposegate consent import -"]),
    ("consent export", &["purposegate consent export"]),
    ("ledger migrate", &["purposegate ledger migrate --config purposegate.toml"]),
    (
        "ledger copy",
        &["purposegate ledger copy sqlite:data/ledger.db postgres://ledger@db.internal/purposegate"],
    ),
    (
        "audit accept-loss",
        &["purposegate audit accept-loss --reason 'the disk of gateway-1 failed on 3 March'"],
    ),
    ("ledger accept-history", &["purposegate ledger accept-history --config purposegate.toml"]),
    (
        "subject disclosures",
        &["purposegate subject disclosures 42", "purposegate subject disclosures 42 --form hipaa"],
    ),
    (
        "subject report",
        &[
            "purposegate subject report 42 --format html",
            "purposegate subject report 42 --reason 'request of 3 March' --admin https://gateway.internal:9901",
        ],
    ),
    ("subject request", &["purposegate subject request 42 access --channel letter"]),
    ("subject answer", &["purposegate subject answer 42 access --evidence letter-9"]),
    ("subject opt-out-link", &["purposegate subject opt-out-link 42 --base https://api.example.org"]),
    ("subject requests", &["purposegate subject requests --overdue"]),
    (
        "case add",
        &[
            "purposegate case add C-7 --recipient police --purpose law-enforcement --subject 42 --category contact --end 2027-01-01 --reference '12 Js 4/26'",
        ],
    ),
    ("case approve", &["purposegate case approve C-7 --approver 'Ada Adler'"]),
    ("case end", &["purposegate case end C-7"]),
    ("case list", &["purposegate case list --format json"]),
    (
        "audit verify",
        &[
            "purposegate audit verify --config purposegate.toml",
            "purposegate audit verify backup/audit --key gateway-1/5f2c09ab+ecf72d52+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea --since checkpoint",
        ],
    ),
    ("audit key", &["purposegate audit key --config purposegate.toml"]),
    ("audit show", &["purposegate audit show --subject 42 --since 2026-01-01"]),
    (
        "audit processing",
        &[
            "purposegate audit processing --policy policies/ours",
            "purposegate audit processing --from 2026-11-01 --to 2026-11-30",
        ],
    ),
    ("audit circumstances", &["purposegate audit circumstances --since 2026-11-01"]),
    ("audit index", &["purposegate audit index --config purposegate.toml"]),
    ("audit export", &["purposegate audit export --since 2026-01-01"]),
    (
        "recipient page",
        &[
            "purposegate recipient page acme-domains",
            "purposegate recipient page acme-domains --purpose domain-registration --language de",
        ],
    ),
    ("recipient key", &["purposegate recipient key acme-domains"]),
    (
        "recipient webhook-secret",
        &["purposegate recipient webhook-secret acme-domains --config purposegate.toml"],
    ),
    ("admin token", &["purposegate admin token crm-sync"]),
    ("certs dev", &["purposegate certs dev --out certs --name gateway.internal"]),
    ("completions", &["purposegate completions bash", "purposegate completions zsh"]),
    ("man", &["purposegate man --out man"]),
];

/// Adds the examples and the environment to the help of a command and of those below it.
pub(super) fn add_examples(command: Command) -> Command {
    let command = add_to(command, "");
    let environment = match command.get_after_help() {
        Some(examples) => format!("{examples}\n\n{ENVIRONMENT}"),
        None => ENVIRONMENT.to_owned(),
    };
    command.after_help(environment)
}

fn add_to(command: Command, path: &str) -> Command {
    let examples = EXAMPLES.iter().find(|(verb, _)| *verb == path).map(|(_, lines)| lines);
    let command = match examples {
        Some(lines) => command.after_help(format!("Examples:\n  {}", lines.join("\n  "))),
        None => command,
    };
    command.mut_subcommands(|verb| {
        let path = format!("{path} {}", verb.get_name());
        add_to(verb, path.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use clap::ArgMatches;

    use super::*;
    use crate::cli;
    use crate::vocabulary::Vocabulary;

    /// Splits a command line as a shell does. Quotes are single.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (number, part) in line.split('\'').enumerate() {
            let mut pieces = if number % 2 == 1 { vec![part] } else { part.split(' ').collect() }.into_iter();
            words.last_mut().unwrap().push_str(pieces.next().unwrap_or_default());
            words.extend(pieces.map(str::to_owned));
        }
        words
    }

    fn matches(line: &str) -> ArgMatches {
        let matches = cli::command().try_get_matches_from(words(line));
        matches.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Returns the verb that a command line is about.
    fn verb(line: &str) -> String {
        let matches = matches(line);
        let (mut path, mut at) = (Vec::new(), &matches);
        while let Some((name, below)) = at.subcommand() {
            path.push(name.to_owned());
            at = below;
        }
        path.join(" ")
    }

    fn verbs(command: &Command, path: &str, found: &mut Vec<String>) {
        if !command.has_subcommands() {
            found.push(path.to_owned());
        }
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            verbs(verb, format!("{path} {}", verb.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_verb_has_examples_that_parse() {
        for (name, lines) in EXAMPLES.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(!lines.is_empty(), "{name}");
            for line in *lines {
                assert_eq!(verb(line), *name, "{line}");
            }
        }
        let mut all = Vec::new();
        verbs(&cli::command(), "", &mut all);
        for verb in all {
            assert!(EXAMPLES.iter().any(|(name, _)| *name == verb), "`{verb}` has no example");
        }
    }

    #[test]
    fn the_terms_of_the_examples_are_those_of_the_standard_vocabulary() {
        let vocabulary = Vocabulary::standard();
        let is_term = |argument: &str, name: &str| match argument {
            "purpose" | "by_name" | "objection" => Some(vocabulary.declared_purpose(name).is_ok()),
            "recipient_kind" => Some(vocabulary.kinds().find(name).is_some()),
            "categories" => Some(vocabulary.categories().find(name).is_some()),
            _ => None,
        };
        let mut terms = 0;
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            let matches = matches(line);
            let mut at = &matches;
            while let Some((_, below)) = at.subcommand() {
                at = below;
            }
            for argument in at.ids().map(clap::Id::as_str) {
                let Ok(Some(values)) = at.try_get_raw(argument) else { continue };
                for value in values.filter_map(|value| value.to_str()) {
                    let Some(is_term) = is_term(argument, value) else { continue };
                    assert!(is_term, "`{value}` in `{line}`");
                    terms += 1;
                }
            }
        }
        assert!(terms >= 10, "{terms}");
    }

    #[test]
    fn every_argument_has_a_text() {
        fn check(command: &Command) {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{}: {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&cli::command());
    }
}
