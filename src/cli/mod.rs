//! The command line: verbs and their arguments. Results go to stdout, messages to stderr.
//!
//! The exit status is 0 for success, 1 for a finding or a refusal, and 2 for unusable input; that of `health` is 0 or 1.

mod admin_client;
mod arguments;
mod audit;
mod case;
mod consent;
#[cfg(feature = "demo")]
mod demo;
mod discover;
mod error;
mod examples;
mod explain;
mod findings;
mod generate;
mod health;
mod ledger;
mod ledger_access;
mod ledger_client;
mod ledger_location;
mod logging;
mod new_credential;
mod openapi;
pub mod output;
pub mod policy;
mod progress;
mod recipient_page;
mod run;
mod scrub;
mod serve;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use run::run;

use self::arguments::GatewayArgs;
use self::error::{EXIT_FINDINGS, EXIT_UNUSABLE};
use crate::credentials::development::LOCAL_NAMES;

/// Personal data leaves only to a known recipient, for a declared purpose, on a legal basis.
#[derive(Debug, Parser)]
#[command(name = "purposegate", version, about, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// Returns the command line of the program, with examples in the help of each verb.
pub fn command() -> clap::Command {
    examples::add_examples(Arguments::command())
}

/// Parses the arguments of the process.
///
/// # Errors
/// The exit status, after the help or the error is printed, if they ask for help or are wrong.
pub fn parse() -> Result<Arguments, ExitCode> {
    let parsed = command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| {
        // If this cannot be written, the exit status still reports the error.
        let _ = error.print();
        let is_health = std::env::args_os().nth(1).is_some_and(|verb| verb == health::VERB);
        match error.use_stderr() {
            false => ExitCode::SUCCESS,
            true if is_health => ExitCode::from(EXIT_FINDINGS),
            true => ExitCode::from(EXIT_UNUSABLE),
        }
    })
}

/// The verbs of the program.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the main job on this machine: a sample API, recipients, people and the gateway
    #[cfg(feature = "demo")]
    Demo {
        /// Send the requests, print expected and received responses, exit
        #[arg(long)]
        check: bool,
    },
    /// Run the gateway
    Serve(ConfigFile),
    /// Load the configuration, the policies and the ledger, and print every finding
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print the JSON schema of the configuration file, for editors
    Schema,
    /// Ask a running gateway if it is ready
    Health(health::HealthArgs),
    /// Explain why a field leaves or not, for a request now or for a decision in the disclosure log
    Explain(explain::ExplainArgs),
    /// Test, explain and compare policy packs
    Policy {
        #[command(subcommand)]
        verb: policy::PolicyVerb,
    },
    /// Scrub JSON from stdin to stdout with the gateway's scrubber
    Scrub(scrub::ScrubArgs),
    /// Propose a field mapping, from sample bodies or from an OpenAPI document
    Discover(discover::DiscoverArgs),
    /// Print the API as one recipient sees it, as an OpenAPI document
    Openapi(openapi::OpenapiArgs),
    /// Record, show, import and export people's consents
    Consent {
        #[command(flatten)]
        gateway: GatewayArgs,
        #[command(subcommand)]
        verb: consent::ConsentVerb,
    },
    /// Create, upgrade, copy and repair the ledger
    Ledger {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", global = true)]
        config: PathBuf,
        #[command(subcommand)]
        verb: ledger::LedgerVerb,
    },
    /// Report to people about their data, and record their requests
    Subject {
        #[command(flatten)]
        gateway: GatewayArgs,
        #[command(subcommand)]
        verb: subject::SubjectVerb,
    },
    /// Register, approve, end and list the disclosure cases that authorities cite
    Case {
        #[command(flatten)]
        gateway: GatewayArgs,
        #[command(subcommand)]
        verb: case::CaseVerb,
    },
    /// Verify, show and export the disclosure log
    Audit {
        #[command(subcommand)]
        verb: audit::AuditVerb,
    },
    /// Make API keys for recipients, and the page that tells one how to receive data
    Recipient {
        #[command(subcommand)]
        verb: RecipientVerb,
    },
    /// Make tokens for the admin API
    Admin {
        #[command(subcommand)]
        verb: AdminVerb,
    },
    /// Make certificates
    Certs {
        #[command(subcommand)]
        verb: CertsVerb,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each verb
    Man {
        /// The folder of the pages
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum RecipientVerb {
    /// Print the page that tells a recipient how to receive data, as HTML
    Page(recipient_page::PageArgs),
    /// Make an API key, show it once, and print the line that registers it
    Key {
        /// The recipient's name in the configuration
        name: String,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print the secret that signs notices to a recipient whose webhook has none of its own
    WebhookSecret {
        /// The recipient's name in the configuration
        name: String,
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[derive(Debug, Subcommand)]
enum AdminVerb {
    /// Make a token, show it once, and print the line that registers it
    Token {
        /// The name by which the token's acts are recorded
        name: String,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum CertsVerb {
    /// Make a development CA, a server certificate and a client certificate
    Dev {
        /// The folder of the files
        #[arg(long, value_name = "DIR", default_value = "certs")]
        out: PathBuf,
        /// A DNS name or IP address of the server (repeatable)
        #[arg(long = "name", value_name = "NAME", default_values = LOCAL_NAMES)]
        names: Vec<String>,
        /// The URI in the client certificate
        #[arg(long, value_name = "URI", default_value = "spiffe://demo.example/partner/registrar")]
        client: String,
    },
}

/// The format of verbs that print text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the doc comment of a variant would become part of `--help`")]
pub enum Format {
    Text,
    Json,
}
