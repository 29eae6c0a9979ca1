//! The command line: verbs and their arguments. stdout is data, stderr is words.
//!
//! Exit status: 0 it is as it should be, 1 a finding or a refusal, 2 unusable input.

pub mod audit;
pub mod case;
pub mod consent;
pub mod coverage;
#[cfg(feature = "demo")]
mod demo;
pub mod error;
pub mod explain;
mod findings;
pub mod ledger;
pub mod ledger_client;
pub mod ledger_location;
mod logging;
mod new_pack;
pub mod output;
pub mod policy;
mod processing;
pub mod recipient;
mod run;
mod schema;
pub mod scrub;
mod serve;
pub mod subject;
pub mod test;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub use run::run;

use crate::credentials::development::LOCAL_NAMES;

/// Personal data leaves only to a known recipient, for a declared purpose, on a legal basis.
#[derive(Debug, Parser)]
#[command(name = "purposegate", version, about, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What a person can ask of the program.
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
    /// Load everything and print every finding
    Check {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Say why a field leaves or not: with the configuration and the ledger as they are, or of a decision on the log
    Explain(explain::ExplainArgs),
    /// Test and question a policy pack
    Policy {
        #[command(subcommand)]
        verb: policy::PolicyVerb,
    },
    /// Scrub JSON from stdin to stdout with the gateway's own scrubber
    Scrub(scrub::ScrubArgs),
    /// Change and read what people have consented to
    Consent {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", global = true)]
        config: PathBuf,
        /// The admin address of the gateway that has the ledger, where it is not the configured one
        #[arg(long, value_name = "ADDRESS", global = true)]
        admin: Option<std::net::SocketAddr>,
        #[command(subcommand)]
        verb: consent::ConsentVerb,
    },
    /// Look after the ledger's file
    Ledger {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", global = true)]
        config: PathBuf,
        #[command(subcommand)]
        verb: ledger::LedgerVerb,
    },
    /// Tell people what is known about them, and keep track of what they ask for
    Subject {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", global = true)]
        config: PathBuf,
        /// The admin address of the gateway that has the ledger, where it is not the configured one
        #[arg(long, value_name = "ADDRESS", global = true)]
        admin: Option<std::net::SocketAddr>,
        #[command(subcommand)]
        verb: subject::SubjectVerb,
    },
    /// Register, approve and list the disclosure cases that authorities cite
    Case {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", global = true)]
        config: PathBuf,
        /// The admin address of the gateway that has the ledger, where it is not the configured one
        #[arg(long, value_name = "ADDRESS", global = true)]
        admin: Option<std::net::SocketAddr>,
        #[command(subcommand)]
        verb: case::CaseVerb,
    },
    /// Verify, show and export the disclosure log
    Audit {
        #[command(subcommand)]
        verb: audit::AuditVerb,
    },
    /// Make API keys for recipients
    Recipient {
        #[command(subcommand)]
        verb: RecipientVerb,
    },
    /// Make certificates
    Certs {
        #[command(subcommand)]
        verb: CertsVerb,
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
    /// Make an API key, show it once, and print the line that registers it
    Key {
        /// The recipient's name
        name: String,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
enum CertsVerb {
    /// Make a development CA, a server certificate and a client certificate
    Dev {
        /// The folder for the files
        #[arg(long, value_name = "DIR", default_value = "certs")]
        out: PathBuf,
        /// A DNS name or IP address of the server; several times for several
        #[arg(long = "name", value_name = "NAME", default_values = LOCAL_NAMES)]
        names: Vec<String>,
        /// The URI in the client certificate
        #[arg(long, value_name = "URI", default_value = "spiffe://demo.example/partner/registrar")]
        client: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}
