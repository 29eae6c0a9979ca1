//! Runs the verb that the arguments name, and turns its outcome into the exit status of the process.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::admin_client::AdminArgs;
use super::arguments::{DEFAULT_CONFIG, GatewayArgs};
use super::audit::{self, AuditVerb};
use super::case::{self, CaseVerb};
use super::consent::{self, ConsentVerb};
use super::discover;
use super::error::{EXIT_FINDINGS, EXIT_UNUSABLE, fail, print_message, with_causes};
use super::explain::{self, ExplainArgs};
use super::findings::{self, Counts, counted};
use super::generate;
use super::health;
use super::ledger::{self, LedgerVerb};
use super::ledger_access::LedgerAccess;
use super::ledger_location::LedgerLocation;
use super::logging;
use super::new_credential;
use super::openapi;
use super::policy::{self, PolicyVerb};
use super::scrub::{self, ScrubArgs, ScrubError};
use super::serve::{self, block_on};
use super::subject::{self, ReportContext, SubjectVerb};
use super::{AdminVerb, Arguments, CertsVerb, ConfigFile, Format, RecipientVerb, Verb, recipient_page};
use crate::config::{self, Config};
use crate::credentials::NewKey;
use crate::credentials::development::{self, ClientName};
use crate::exchange::route::{NoticeWebhook, Notify};
use crate::finding::{Finding, suggestion_or_list};
use crate::gateway::{InheritedSockets, log_finding};
use crate::keys::Keys;
use crate::policy::{Pack, versioning};
use crate::report::ReportedRecipient;
use crate::report::processing_comparison::ObservedPeriod;

/// Runs one verb.
pub fn run(arguments: Arguments) -> ExitCode {
    match arguments.verb {
        #[cfg(feature = "demo")]
        Verb::Demo { check } => super::demo::run(check),
        Verb::Serve(file) => run_serve(&file),
        Verb::Check { file, format } => check(&file, format),
        Verb::Schema => print_schema(),
        Verb::Health(arguments) => {
            let status =
                health::run(&arguments, &mut std::io::stdout().lock(), &mut std::io::stderr().lock());
            ExitCode::from(status)
        }
        Verb::Explain(arguments) => run_explain(&arguments),
        Verb::Policy { verb } => run_policy(&verb),
        Verb::Scrub(arguments) => run_scrub(&arguments),
        Verb::Discover(arguments) => {
            finish(discover::run(&arguments, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()))
        }
        Verb::Openapi(arguments) => {
            finish(openapi::run(&arguments, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()))
        }
        Verb::Consent { gateway, verb } => run_consent(&gateway, verb),
        Verb::Ledger { config, verb } => run_ledger(&config, &verb),
        Verb::Subject { gateway, verb } => run_subject(&gateway, verb),
        Verb::Case { gateway, verb } => run_case(&gateway, verb),
        Verb::Audit { verb } => run_audit(&verb),
        Verb::Recipient { verb: RecipientVerb::Page(arguments) } => {
            let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
            finish(recipient_page::run(&arguments, Timestamp::now(), &mut out, &mut err))
        }
        Verb::Recipient { verb: RecipientVerb::Key { name, format } } => make_key(&name, format),
        Verb::Recipient { verb: RecipientVerb::WebhookSecret { name, config } } => {
            print_webhook_secret(&name, &config)
        }
        Verb::Admin { verb: AdminVerb::Token { name, format } } => make_token(&name, format),
        Verb::Certs { verb: CertsVerb::Dev { out, names, client } } => {
            make_certificates(&out, &names, &client)
        }
        Verb::Completions { shell } => {
            finish(generate::print_completions(shell, &mut std::io::stdout().lock()).map(|()| 0))
        }
        Verb::Man { out } => finish(generate::write_manual(&out).map(|()| 0)),
    }
}

fn run_serve(file: &ConfigFile) -> ExitCode {
    // Before the process has threads.
    let inherited = InheritedSockets::from_env();
    let _logging = logging::start("info");
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => return stop_serving(&with_causes(&error)),
    };
    let (config, findings) = config::load(&file.config);
    let Some(config) = config else {
        log_or_report(&findings);
        return ExitCode::from(EXIT_UNUSABLE);
    };
    findings.iter().filter(|finding| finding.is_warning()).for_each(log_finding);
    match block_on(serve::serve(config, inherited)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => stop_serving(&with_causes(&error)),
        Err(error) => stop_serving(&format!("cannot start the runtime: {error}")),
    }
}

/// Prints the JSON schema of the configuration file.
fn print_schema() -> ExitCode {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{:#}", config::schema::json_schema()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("the schema cannot be printed: {error}")),
    }
}

/// Reports why the gateway ends: in the log if the log is JSON, or else as a message.
fn stop_serving(message: &str) -> ExitCode {
    if !logging::is_json() {
        return fail(message);
    }
    tracing::error!("{message}");
    ExitCode::from(EXIT_UNUSABLE)
}

fn check(file: &ConfigFile, format: Format) -> ExitCode {
    let (config, mut findings) = config::load(&file.config);
    if let Some(config) = &config {
        let of_ledger = ledger::findings(config, Timestamp::now());
        let of_state = [ledger::key_file_findings(config), of_ledger, audit::findings(config)];
        findings.extend(of_state.into_iter().flat_map(|found| found.acknowledged(&config.allow)));
    }
    let status = match &config {
        Some(_) if findings.iter().any(Finding::is_error) => ExitCode::from(EXIT_FINDINGS),
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(if file.config.exists() { EXIT_FINDINGS } else { EXIT_UNUSABLE }),
    };
    if format == Format::Json {
        let printed = writeln!(std::io::stdout(), "{}", findings::to_json(&findings));
        return if printed.is_ok() { status } else { ExitCode::from(EXIT_UNUSABLE) };
    }
    report(&findings);
    let counts = Counts::of(&findings);
    let (file, warnings) = (file.config.display(), counts.of_warnings());
    match config {
        Some(config) if counts.errors == 0 => {
            let routes = counted(config.routes.iter().count(), "route");
            let recipients = counted(config.recipients.len(), "recipient");
            let upstreams = counted(config.upstreams.len(), "upstream");
            print_message(&format!("{file}: {routes}, {recipients}, {upstreams}; {warnings}"));
        }
        _ => print_message(&format!("{file}: {}, {warnings}", counted(counts.errors, "error"))),
    }
    status
}

fn run_policy(verb: &PolicyVerb) -> ExitCode {
    // Standard error is not locked: other threads draw the progress of `coverage --mutate` there.
    let outcome = policy::run(verb, &mut std::io::stdout().lock(), &mut std::io::stderr());
    finish(outcome.map(|outcome| outcome as u8))
}

fn run_explain(arguments: &ExplainArgs) -> ExitCode {
    let now = Timestamp::now();
    if let Some(server) = arguments.remote() {
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        return finish(explain::run_remote(arguments, &server, now, &mut out, &mut err));
    }
    let Some(config) = load(arguments.gateway.config_file()) else { return ExitCode::from(EXIT_UNUSABLE) };
    let location = location(&config, &arguments.gateway.admin);
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(explain::run(arguments, &config, &location, now, &mut out, &mut err))
}

/// Runs a verb with access to the ledger: through the gateway that `--admin` names, or else by the configuration.
fn with_access(
    gateway: &GatewayArgs,
    run: impl FnOnce(&LedgerAccess<'_>, Option<&Config>) -> std::io::Result<u8>,
) -> ExitCode {
    if let Some(server) = gateway.admin.remote() {
        return finish(run(&LedgerAccess::Remote(server), None));
    }
    let Some(config) = load(gateway.config_file()) else { return ExitCode::from(EXIT_UNUSABLE) };
    finish(run(&LedgerAccess::Local(location(&config, &gateway.admin)), Some(&config)))
}

fn run_consent(gateway: &GatewayArgs, verb: ConsentVerb) -> ExitCode {
    with_access(gateway, |access, _| {
        consent::run(verb, access, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())
    })
}

fn run_ledger(config: &Path, verb: &LedgerVerb) -> ExitCode {
    let Some(config) = load(config) else { return ExitCode::from(EXIT_UNUSABLE) };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(ledger::run(verb, &config, Timestamp::now(), &mut out, &mut err))
}

fn run_case(gateway: &GatewayArgs, verb: CaseVerb) -> ExitCode {
    with_access(gateway, |access, _| {
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        case::run(verb, access, Timestamp::now(), &mut out, &mut err)
    })
}

fn run_subject(gateway: &GatewayArgs, verb: SubjectVerb) -> ExitCode {
    let now = Timestamp::now();
    with_access(gateway, |access, config| {
        let recipients = config.map_or(&[][..], |config| &config.recipients);
        let recipients: Vec<_> = recipients
            .iter()
            .map(|recipient| ReportedRecipient {
                facts: Arc::clone(&recipient.in_agreement),
                legal_name: recipient.contact.legal_name.clone(),
                address: recipient.contact.address.clone(),
                contact: recipient.contact.contact.clone(),
            })
            .collect();
        let packs = config.map_or(&[][..], |config| &config.packs);
        let in_force = packs.iter().filter_map(|versions| versioning::in_force(versions, |pack| pack, now));
        let packs: Vec<_> = in_force.map(Arc::clone).collect();
        let others = config.map_or(&[][..], |config| &config.audit.logs);
        let index = config.map(|config| &*config.audit.index);
        let retired = config.map_or(&[][..], |config| &config.audit.retired);
        let texts = config.map(|config| Arc::clone(&config.texts)).unwrap_or_default();
        let context =
            ReportContext { index, others, retired, packs: &packs, recipients: &recipients, texts: &texts };
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        subject::run(verb, access, context, now, &mut out, &mut err)
    })
}

fn location<'c>(config: &'c Config, admin: &AdminArgs) -> LedgerLocation<'c> {
    LedgerLocation {
        ledger: &config.ledger,
        keys: &config.keys.path,
        log: &config.audit.directory,
        names: config.language(),
        recipients: config.recipients.iter().map(|recipient| Arc::clone(&recipient.name)).collect(),
        namespaces: config.namespace_names.iter().cloned().collect(),
        admin: admin.remote_or(config.admin.address, config.admin.tls.is_some()),
    }
}

/// Runs a verb of `audit`. Folders alone are enough, so that a copy of a log can be verified without a configuration.
fn run_audit(verb: &AuditVerb) -> ExitCode {
    match verb {
        AuditVerb::Processing { config, from: Some(from), to: Some(to), format, .. } => {
            return run_comparison(config, ObservedPeriod { from: *from, to: *to }, *format);
        }
        AuditVerb::Processing { config, policy, format, .. } => {
            return run_processing(config, policy.as_deref(), *format);
        }
        AuditVerb::Index { at, index } => return run_index(at, index.as_deref()),
        AuditVerb::Circumstances { config, since } => return run_circumstances(config, *since),
        AuditVerb::AcceptLoss { config, reason } => return run_accept_loss(config, reason),
        AuditVerb::Verify { .. }
        | AuditVerb::Key { .. }
        | AuditVerb::Show { .. }
        | AuditVerb::Export { .. } => {}
    }
    let Some(at) = verb.log_location() else { return ExitCode::from(EXIT_UNUSABLE) };
    let file = match &at.config {
        Some(file) => Some(file.as_path()),
        None => at.folders.is_empty().then_some(Path::new(DEFAULT_CONFIG)),
    };
    let mut configured = None;
    if let Some(file) = file {
        let Some(config) = load(file) else { return ExitCode::from(EXIT_UNUSABLE) };
        let keys = match Keys::open(&config.keys.path) {
            Ok(found) => found,
            Err(error) => return fail(&with_causes(&error)),
        };
        configured = Some((keys, config));
    }
    let logs = match at.logs(configured.as_ref().map(|(keys, config)| (&config.audit, keys))) {
        Ok(logs) => logs,
        Err(why) => return fail(&why),
    };
    let configured = configured.as_ref().map(|(_, config)| audit::AuditContext {
        location: location(config, &AdminArgs::default()),
        vocabulary: Arc::clone(&config.vocabulary),
    });
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(audit::run(verb, &logs, configured.as_ref(), &mut out, &mut err))
}

fn run_processing(config: &Path, policy: Option<&Path>, format: Format) -> ExitCode {
    let packs = match policy {
        Some(folder) => match config::pack::read_pack(folder) {
            Ok(pack) => vec![Arc::new(pack)],
            Err(findings) => {
                report(&findings);
                return ExitCode::from(EXIT_UNUSABLE);
            }
        },
        None => {
            let Some(config) = load(config) else { return ExitCode::from(EXIT_UNUSABLE) };
            let now = Timestamp::now();
            let in_force =
                |versions: &Vec<_>| versioning::in_force(versions, |pack: &Arc<_>| pack, now).cloned();
            config.packs.iter().filter_map(in_force).collect()
        }
    };
    let packs: Vec<&Pack> = packs.iter().map(|pack| &**pack).collect();
    finish(audit::processing::print(&packs, format, &mut std::io::stdout().lock()))
}

/// Compares the record of processing with what the logs of the configuration observed.
fn run_comparison(file: &Path, period: ObservedPeriod, format: Format) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::from(EXIT_UNUSABLE) };
    if period.to < period.from {
        return fail("`--to` is before `--from`");
    }
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(audit::processing::compare(&config, period, format, &mut out, &mut err))
}

/// Prints the counted circumstances of the gateway of a configuration.
fn run_circumstances(file: &Path, since: Option<Date>) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::from(EXIT_UNUSABLE) };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(audit::circumstances::print(config.audit.circumstances.as_deref(), since, &mut out, &mut err))
}

/// Accepts the loss of the disclosure log of a configuration.
fn run_accept_loss(file: &Path, reason: &str) -> ExitCode {
    let Some(config) = load(file) else { return ExitCode::from(EXIT_UNUSABLE) };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(audit::accept_loss::accept(&config, reason, Timestamp::now(), &mut out, &mut err))
}

/// Builds the indexes of the given logs, or of those of the configuration.
fn run_index(at: &audit::LogLocation, index: Option<&Path>) -> ExitCode {
    let file = match &at.config {
        Some(file) => Some(file.as_path()),
        None => (at.folders.is_empty() || index.is_none()).then_some(Path::new(DEFAULT_CONFIG)),
    };
    let mut audit = None;
    if let Some(file) = file {
        let Some(config) = load(file) else { return ExitCode::from(EXIT_UNUSABLE) };
        audit = Some(config.audit);
    }
    let Some(index) = index.or(audit.as_ref().map(|audit| &*audit.index)) else {
        return fail("give the folder of the indexes: --index");
    };
    let mut logs = at.folders.clone();
    if let Some(audit) = audit.as_ref().filter(|_| logs.is_empty()) {
        logs.push(audit.directory.clone());
        logs.extend(audit.logs.iter().map(|log| log.path.clone()));
    }
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    finish(audit::index::build(index, &logs, &mut out, &mut err))
}

fn finish(outcome: std::io::Result<u8>) -> ExitCode {
    match outcome {
        Ok(status) => ExitCode::from(status),
        // The reader has closed its end (`audit show | head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn run_scrub(arguments: &ScrubArgs) -> ExitCode {
    // The descriptor itself, because the standard library's stdout searches everything for line ends.
    let out = match std::io::stdout().as_fd().try_clone_to_owned() {
        Ok(out) => std::fs::File::from(out),
        Err(error) => return fail(&error.to_string()),
    };
    let note = |words: &str| print_message(&format!("purposegate: {words}"));
    match scrub::run(arguments, std::io::stdin().lock(), out, note) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ScrubError::Findings(findings)) => {
            report(&findings);
            ExitCode::from(EXIT_UNUSABLE)
        }
        Err(error @ (ScrubError::Denied(_) | ScrubError::Withheld)) => {
            print_message(&format!("purposegate: {error}"));
            ExitCode::from(EXIT_FINDINGS)
        }
        // The reader has closed its end.
        Err(ScrubError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn make_key(name: &str, format: Format) -> ExitCode {
    let printed = NewKey::for_recipient()
        .map_err(std::io::Error::other)
        .and_then(|key| new_credential::print_key(&key, name, format, &mut std::io::stdout().lock()));
    finish(printed.map(|()| 0))
}

fn print_webhook_secret(name: &str, file: &ConfigFile) -> ExitCode {
    let Some(config) = load(&file.config) else { return ExitCode::from(EXIT_UNUSABLE) };
    let Some(recipient) = config.recipients.iter().find(|recipient| *recipient.name == *name) else {
        let known = config.recipients.iter().map(|recipient| &*recipient.name);
        let hint = suggestion_or_list(name, known).map(|hint| format!("; {hint}")).unwrap_or_default();
        return fail(&format!("there is no recipient `{name}` in the configuration{hint}"));
    };
    match &recipient.notify {
        Notify::Webhook(NoticeWebhook { secret: None, .. }) => {}
        Notify::Webhook(_) => {
            return fail(&format!("`{name}` has a `secret` of its own in the configuration"));
        }
        Notify::Feed | Notify::Manual => return fail(&format!("`{name}` has no webhook")),
    }
    match Keys::open(&config.keys.path) {
        Ok(keys) => {
            let printed = new_credential::print_webhook_secret(&keys, name, &mut std::io::stdout().lock());
            finish(printed.map(|()| 0))
        }
        Err(error) => fail(&with_causes(&error)),
    }
}

fn make_token(name: &str, format: Format) -> ExitCode {
    let printed = NewKey::for_admin()
        .map_err(std::io::Error::other)
        .and_then(|token| new_credential::print_token(&token, name, format, &mut std::io::stdout().lock()));
    finish(printed.map(|()| 0))
}

fn make_certificates(out: &Path, names: &[String], client: &str) -> ExitCode {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let clients = [ClientName { file: "client", uri: client }];
    match development::make_at(out, &names, &clients, Timestamp::now()) {
        Ok(files) => {
            let mut stdout = std::io::stdout().lock();
            for file in files {
                if writeln!(stdout, "{}", file.display()).is_err() {
                    return ExitCode::from(EXIT_UNUSABLE);
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// Loads a configuration, or prints its errors.
fn load(file: &Path) -> Option<Config> {
    findings::load(file).map_err(|errors| report(&errors)).ok()
}

/// Prints findings to stderr.
fn report<'f>(findings: impl IntoIterator<Item = &'f Finding>) {
    // If this cannot be written, the exit status still reports the failure.
    let _ = findings::print(findings, &mut std::io::stderr().lock());
}

/// Reports why the gateway does not start: in the log if the log is JSON, or else with excerpts of the files.
fn log_or_report(findings: &[Finding]) {
    match logging::is_json() {
        true => findings.iter().for_each(log_finding),
        false => report(findings),
    }
}
