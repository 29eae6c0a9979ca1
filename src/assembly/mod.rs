//! From a loaded configuration to the state that exchanges share: keys, ledger, disclosure log, access log, metrics and
//! the snapshot that decides on requests.
//!
//! The gateway serves this state on its listeners; an application puts [`crate::layer`] over the same state and needs
//! no gateway. The module binds no socket, handles no signal and watches no file.
//!
//! Invariants: the state is returned only after the ledger's history was compared with its last known position
//! ([`history`]), the disclosure log with what others know of it ([`own_log`]), and the notice of changes accepted the
//! policies ([`notice`]); a reload that fails changes nothing.

pub mod gateways;
pub mod history;
pub mod ledger_store;
pub mod logs;
pub mod notice;
pub mod own_log;
#[cfg(feature = "postgres")]
pub mod postgres_options;
#[cfg(feature = "gateway")]
pub mod predecessor;
pub mod running_gateways;

use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use self::own_log::RegisteredLogs;
use crate::access_log::AccessLog;
use crate::config::{AccessLogSection, AuditSection, CheckpointSink, Config, LimitsSection, ListenerSection};
use crate::disclosure::{Log, LogSettings};
use crate::exchange::pages::opt_out_state::OptOut;
use crate::exchange::{PurposePages, SharedState, Snapshot, Versions};
use crate::keys::Keys;
use crate::ledger::store::shared::{GatewayDescription, RegisteredGateway};
use crate::ledger::{Ledger, LedgerId, PositionMark, Store};
use crate::metrics::Metrics;
use crate::scrub::Pseudonyms;

/// Maximum number of recipients that only the ledger knows and that are logged one by one.
const MAX_LOGGED_RECIPIENTS: usize = 32;

/// The reason why a configuration cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// The key file cannot be read or created.
    #[error("the keys cannot be opened: {0}")]
    Keys(#[from] crate::keys::KeysError),
    /// The ledger's store cannot be opened or created.
    #[error("the ledger cannot be opened: {0}")]
    Store(#[from] ledger_store::OpenStoreError),
    /// The ledger cannot be read.
    #[error("the ledger cannot be opened: {0}")]
    Ledger(#[from] crate::ledger::LedgerOpenError),
    /// The ledger lacks events that were acknowledged.
    #[error(transparent)]
    History(#[from] history::HistoryTruncated),
    /// The disclosure log of the gateway, or its end, is missing.
    #[error(transparent)]
    OwnLog(Box<own_log::LogMissing>),
    /// The disclosure log would be begun with the origin of another one.
    #[error(transparent)]
    Origin(#[from] own_log::OriginInUse),
    /// The store of the ledger cannot be used.
    #[error("the ledger cannot be used: {0}")]
    Unusable(#[from] crate::ledger::StoreError),
    /// A running gateway of the ledger reads ids by other rules.
    #[error(transparent)]
    Gateways(#[from] gateways::NamespacesDiffer),
    /// A policy discloses more than its predecessor and was not announced in time.
    #[error("the policies cannot come into force: {0}")]
    Notice(#[from] notice::NoticeError),
    /// The disclosure log cannot be read, so the ledger's history cannot be compared with it.
    #[error("the disclosure log cannot be read: {0}")]
    ReadLog(#[from] crate::disclosure::ReadError),
    /// The disclosure log cannot be opened or created.
    #[error("the disclosure log cannot be opened: {0}")]
    Log(#[from] crate::disclosure::OpenLogError),
    /// The access log cannot be opened or created.
    #[error("the access log cannot be written: {0}")]
    AccessLog(std::io::Error),
    /// A metric is registered twice.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The reason why a reload is refused. The configuration loaded before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The ids in the ledger were read by rules that the configuration has changed.
    #[error(
        "`[namespace]` changed, by itself or by a route's `normalise`: restart the gateway to read the ids in the ledger \
         by its rules"
    )]
    NamespacesChanged,
    /// The events in the ledger were read with terms of another vocabulary.
    #[error("the vocabulary changed: restart the gateway to load the ledger with it")]
    VocabularyChanged,
    /// A policy discloses more than its predecessor and was not announced in time.
    #[error(transparent)]
    Notice(#[from] notice::NoticeError),
}

/// Opens keys, ledger and logs, creates those that do not exist, and returns the state over which
/// [`PurposeLayer`](crate::layer::PurposeLayer) is made.
///
/// Reads and writes files and starts the threads of ledger and log; it blocks meanwhile and needs no runtime. The
/// threads end when the last reference to the state is dropped. The sections `[listener]`, `[admin]`, `[[upstream]]`
/// and `drain` of the configuration have no effect here.
///
/// # Errors
/// [`AssemblyError`]: the first part that cannot be opened.
pub fn assemble(config: Config) -> Result<Arc<SharedState>, AssemblyError> {
    let keys = ledger_store::open_keys(&config.keys.path, &config.ledger.url, &config.audit.directory)?;
    let store = ledger_store::open(&config.ledger, &keys)?;
    let ledger = Ledger::with_store(store, &keys, config.language())?;
    assemble_over(config, &keys, ledger)
}

/// As [`assemble`], with a ledger in another store. `[ledger]` of the configuration has no effect then, except that the
/// mark of the ledger's last position is kept under its URL.
///
/// # Errors
/// [`AssemblyError`], also where the store has less than the disclosure log or the mark says that it had.
pub fn assemble_with_store(config: Config, store: Arc<dyn Store>) -> Result<Arc<SharedState>, AssemblyError> {
    let keys = Keys::open_or_create(&config.keys.path, &[&config.audit.directory])?;
    let ledger = Ledger::with_store(store, &keys, config.language())?;
    assemble_over(config, &keys, ledger)
}

fn assemble_over(
    config: Config,
    keys: &Keys,
    ledger: Arc<Ledger>,
) -> Result<Arc<SharedState>, AssemblyError> {
    history::compare(ledger.position(), history::last_known_position(&config)?)?;
    let registered = RegisteredLogs::of_archive(ledger.archive())?;
    if let Some(missing) = own_log::missing(&config, keys, &registered, Timestamp::now())?.into_iter().next()
    {
        return Err(AssemblyError::OwnLog(Box::new(missing)));
    }
    own_log::check_origin(&config, &registered, &[])?;
    join(&ledger, &config)?;
    notice::put_in_force(&ledger, &config, Timestamp::now())?;
    keep_mark(&ledger, &config);
    register_names(&ledger, &config);
    report_former_recipients(&ledger, ConfiguredRecipients::of(&config));
    let index = &config.audit.index;
    let other_logs = logs::of_other_gateways(&config.audit.logs, keys)?.into_iter();
    let other_logs = other_logs.map(|log| log.with_index(index)).collect();
    let (intents, notice_limit) = (config.audit.intents, config.audit.notice_limit);
    let retired_logs = config.audit.retired.clone();
    let circumstances = config.audit.circumstances.clone();
    let log = Log::open(log_settings(&config, ledger.archive().ledger_id()?), keys)?.with_index(index);
    own_log::state(&config, ledger.notice_store(), Timestamp::now())?;
    let access_log = match &config.access_log {
        None => AccessLog::default(),
        Some(AccessLogSection { directory, days }) => {
            AccessLog::open(directory, *days, Timestamp::now()).map_err(AssemblyError::AccessLog)?
        }
    };
    let LimitsSection { memory, memory_per_recipient } = config.limits;
    let metrics = Metrics::new()?;
    metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let shared = SharedState::new(
        snapshot(config),
        ledger,
        Arc::new(log),
        metrics,
        Pseudonyms::new(keys.pseudonym()),
        access_log,
        OptOut::new(keys.opt_out_links()),
    );
    let shared = shared
        .with_notice_limit(notice_limit)
        .with_other_logs(other_logs)
        .with_retired_logs(retired_logs)
        .with_intents(intents)
        .with_webhook_secrets(keys.webhook_secrets())
        .with_memory(memory, memory_per_recipient);
    Ok(Arc::new(match circumstances {
        Some(folder) => shared.with_circumstances(folder),
        None => shared,
    }))
}

/// Returns the properties of the gateway's disclosure log.
fn log_settings(config: &Config, ledger: Option<LedgerId>) -> LogSettings {
    let AuditSection { directory, durability, retention, origin, checkpoints, .. } = &config.audit;
    let file = |sink: &CheckpointSink| match sink {
        CheckpointSink::File(file) => Some(file.clone()),
        CheckpointSink::Log(_) | CheckpointSink::Webhook(_) | CheckpointSink::Witness { .. } => None,
    };
    LogSettings {
        folder: directory.clone(),
        gateway: config.name.to_string(),
        durability: *durability,
        retention: *retention,
        origin: origin.clone(),
        ledger,
        known_checkpoints: checkpoints.iter().filter_map(file).collect(),
    }
}

/// Makes this process one of the gateways of a shared ledger, and compares it with the others. It compares before it asks for
/// a lease, so that it keeps no other gateway from starting if it must not start itself; and again afterwards, so that of two
/// gateways that start at once, at least one sees the other.
fn join(ledger: &Ledger, config: &Config) -> Result<(), AssemblyError> {
    let own = gateways::describe(config, Ulid::generate());
    let has_other_rules = |other: &GatewayDescription| other.namespaces != own.namespaces;
    let mut waiting = |others: &[RegisteredGateway]| {
        tracing::info!(
            gateways = others.len(),
            "gateways on record read ids by other rules: waiting until they show that they run, or their leases are over"
        );
    };
    let running =
        running_gateways::find_running(&|| ledger.other_gateways(), &has_other_rules, &mut waiting)?;
    if !running.is_empty() {
        let gateways = running.into_iter().map(|other| other.name).collect();
        return Err(gateways::NamespacesDiffer { gateways }.into());
    }
    ledger.join(own.clone())?;
    report_differences(&gateways::compare(&own, &ledger.other_gateways()?)?);
    Ok(())
}

fn report_differences(differences: &[gateways::GatewayDifference]) {
    for difference in differences {
        tracing::warn!(%difference, "the gateways of this ledger differ");
    }
}

/// Replaces the routes, recipients, credentials and policies that decide on requests. Exchanges under way keep their
/// snapshot. Open files (keys, ledger, logs) stay open, even if the configuration now names others.
///
/// It writes to the ledger's file and blocks meanwhile.
///
/// # Errors
/// [`ReloadError`]; nothing has changed then, except that the ledger remembers the versions that it has seen.
pub fn reload(shared: &SharedState, config: Config) -> Result<(), ReloadError> {
    accept(shared, &config)?;
    apply(shared, config);
    Ok(())
}

/// The first half of [`reload`]: everything that can fail. Afterwards the ledger counts the policies as in force, so
/// [`apply`] has to follow.
pub(crate) fn accept(shared: &SharedState, config: &Config) -> Result<(), ReloadError> {
    if *shared.ledger.terms().namespaces() != *config.namespaces {
        return Err(ReloadError::NamespacesChanged);
    }
    if !shared.ledger.uses_same_terms(&*config.language()) {
        return Err(ReloadError::VocabularyChanged);
    }
    Ok(notice::put_in_force(&shared.ledger, config, Timestamp::now())?)
}

/// The second half of [`reload`].
pub(crate) fn apply(shared: &SharedState, config: Config) {
    register_names(&shared.ledger, &config);
    shared.ledger.describe(gateways::describe(&config, Ulid::nil()));
    let names = ConfiguredRecipients::of(&config);
    shared.replace_snapshot(snapshot(config));
    // It asks a server of the ledger, for which the new configuration does not wait.
    report_former_recipients(&shared.ledger, names);
}

/// Keeps the ledger's last position in a mark beside the key file. Without it only the disclosure log shows that a
/// ledger was lost.
fn keep_mark(ledger: &Ledger, config: &Config) {
    match PositionMark::open(&config.keys.path, &config.ledger.url.mark_name()) {
        Ok(mark) => ledger.set_position_mark(mark),
        Err(error) => tracing::info!(
            %error,
            "cannot mark the ledger's last position beside the key file: only the disclosure log shows a lost ledger"
        ),
    }
}

/// Registers the configured recipients and namespaces with the ledger.
fn register_names(ledger: &Ledger, config: &Config) {
    ledger.set_recipients(ConfiguredRecipients::of(config).recipients);
    ledger.set_namespaces(config.namespace_names.iter().cloned());
}

/// The recipients of a configuration.
struct ConfiguredRecipients {
    gateway: Arc<str>,
    recipients: Vec<Arc<str>>,
    /// True if the configuration acknowledges recipients that only the ledger knows.
    allows_former: bool,
}

impl ConfiguredRecipients {
    fn of(config: &Config) -> ConfiguredRecipients {
        ConfiguredRecipients {
            gateway: Arc::from(&*config.name),
            recipients: config.recipients.iter().map(|recipient| Arc::clone(&recipient.name)).collect(),
            allows_former: config.allow.allows("recipient-only-in-ledger"),
        }
    }
}

/// Warns about recipients that only the ledger knows: after a recipient was renamed, events about its old name have no effect.
fn report_former_recipients(ledger: &Ledger, names: ConfiguredRecipients) {
    let ConfiguredRecipients { gateway, recipients: mut names, allows_former } = names;
    if allows_former {
        return;
    }
    match ledger.archive().gateways() {
        Ok(registered) => names.extend(gateways::recipients_elsewhere(&gateway, &registered)),
        Err(error) => tracing::info!(
            error = &error as &dyn std::error::Error,
            "the gateways cannot be read: recipients that only others have are reported as unknown"
        ),
    }
    ledger.report_unregistered(names, warn_of_unregistered);
}

fn warn_of_unregistered(unregistered: &[Arc<str>]) {
    for name in unregistered.iter().take(MAX_LOGGED_RECIPIENTS) {
        tracing::warn!(
            recipient = &**name,
            "the ledger has events about a recipient that the configuration does not have: if it was renamed, they \
             have no effect"
        );
    }
    if unregistered.len() > MAX_LOGGED_RECIPIENTS {
        tracing::warn!(more = unregistered.len() - MAX_LOGGED_RECIPIENTS, "and more of these");
    }
}

/// Returns the addresses at which recipients reach the listeners: those that the configuration names. A listener without
/// TLS is behind something that ends TLS, or is internal if another one has TLS: no page says to send a key in clear, except
/// to the same machine.
fn public_addresses(listeners: &[ListenerSection]) -> Vec<String> {
    let is_public = |listener: &&ListenerSection| {
        listener.tls.is_some() || listeners.iter().all(|other| other.tls.is_none())
    };
    let addresses = listeners.iter().filter(is_public).flat_map(|listener| {
        let has_tls = listener.tls.is_some();
        listener.authorities.iter().map(move |authority| {
            let authority = authority.to_string();
            let scheme = if has_tls || !is_loopback(&authority) { "https" } else { "http" };
            format!("{scheme}://{authority}")
        })
    });
    addresses.collect()
}

/// True if the authority is that of the same machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

pub(crate) fn snapshot(config: Config) -> Snapshot {
    Snapshot {
        routes: config.routes,
        recipients: config.recipients,
        credentials: config.credentials,
        packs: config.packs.into_iter().map(Versions::new).collect(),
        purpose_header: config.purpose_header,
        exporter_region: config.exporter_region,
        pseudonym_epoch: config.keys.pseudonym_epoch,
        max_staleness: config.ledger.max_staleness,
        revision: config.revision,
        texts: config.texts,
        addresses: public_addresses(&config.listeners),
        purpose_pages: PurposePages::default(),
    }
}
