//! `serve`: runs the gateway, and reloads or stops it on signals and file changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::gateway::{Gateway, InheritedSockets, ServiceManager, StartError};

/// Time for threads that still work when everything else has ended.
const SHUTDOWN_TIME: Duration = Duration::from_secs(5);
/// Time in which file changes are combined to one reload, because editors write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Serves until SIGTERM or SIGINT and through the drain notice; a second signal ends the notice. SIGHUP and changes of the configuration's files reload the configuration.
///
/// # Errors
/// [`StartError`].
pub(super) async fn serve(config: Config, inherited: InheritedSockets) -> Result<(), StartError> {
    let (folders, files) = (config.folders.clone(), config.files.clone());
    // Before the start, which can wait for a predecessor: a change meanwhile is reloaded afterwards.
    let (reload, reloads) = mpsc::channel(1);
    let _watching = watch_folders(&folders, files, reload.clone());
    tokio::spawn(async move {
        if let Ok(mut hangup) = signal(SignalKind::hangup()) {
            while hangup.recv().await.is_some() {
                // If a reload is queued already, it covers this signal, too.
                let _ = reload.try_send(());
            }
        }
    });
    let gateway = Gateway::bind_as_service(config, ServiceManager::from_env(), inherited).await?;
    let stop = gateway.stop();
    tokio::spawn(async move {
        let mut signals = EndSignals::new();
        signals.next().await;
        stop.announce();
        // The operator does not want to wait for the end of the notice.
        signals.next().await;
        stop.stop();
    });
    gateway.run(reloads).await;
    Ok(())
}

/// The signals that ask the process to end, SIGTERM and SIGINT. One that arrives between two calls of
/// [`EndSignals::next`] is not lost.
pub(super) struct EndSignals(Option<(Signal, Signal)>);

impl EndSignals {
    pub(super) fn new() -> EndSignals {
        let terminate = signal(SignalKind::terminate());
        EndSignals(terminate.and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?))).ok())
    }

    /// Returns at the next signal.
    pub(super) async fn next(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Watches folders rather than files, because editors and Kubernetes replace files by renaming.
fn watch_folders(
    folders: &[PathBuf],
    files: Vec<PathBuf>,
    reload: mpsc::Sender<()>,
) -> Option<RecommendedWatcher> {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(&event, &files)) {
            let _ = changed.try_send(());
        }
    })
    .inspect_err(|error| tracing::warn!(%error, "cannot watch files; send SIGHUP to reload"))
    .ok()?;
    for folder in folders {
        if let Err(error) = watcher.watch(Path::new(folder), RecursiveMode::NonRecursive) {
            tracing::warn!(%error, "cannot watch a folder; send SIGHUP to reload");
        }
    }
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            tokio::time::sleep(DEBOUNCE).await;
            while changes.try_recv().is_ok() {}
            let _ = reload.try_send(());
        }
    });
    Some(watcher)
}

/// Runs a future to its end on a runtime of its own.
///
/// # Errors
/// Where the runtime cannot be started.
pub(super) fn block_on<F: Future>(work: F) -> std::io::Result<F::Output> {
    // With a single processor, several threads would only wait for each other.
    let several = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
    let mut runtime = match several {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    let output = runtime.block_on(work);
    // A thread that waits for a dead file system or name server must not keep the process.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    Ok(output)
}

/// True if an event in a watched directory can change the configuration: it concerns a file of the configuration, a file
/// that a pattern or a pack may include, or the link `..data`, by which Kubernetes replaces all files at once.
fn is_change(event: &notify::Event, own: &[PathBuf]) -> bool {
    let written = event.kind.is_modify() || event.kind.is_create() || event.kind.is_remove();
    let ours = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name();
        matches!(extension, Some("toml" | "cedar"))
            || name.is_some_and(|name| name == "..data")
            || own.iter().any(|own| own.file_name() == name)
    };
    written && event.paths.iter().any(ours)
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, EventKind, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn changes_are_those_of_its_files() {
        let own = [PathBuf::from("/etc/gate/gate.conf"), PathBuf::from("/etc/tls/server.crt")];
        let event =
            |kind, path: &str| is_change(&notify::Event::new(kind).add_path(PathBuf::from(path)), &own);
        let written = EventKind::Create(CreateKind::File);
        for path in [
            "/etc/gate/gate.conf",
            "/etc/tls/server.crt",
            "/etc/gate/new.toml",
            "/packs/4.cedar",
            "/etc/gate/..data",
        ] {
            assert!(event(written, path), "{path}");
        }
        assert!(event(EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/etc/gate/..data"));
        assert!(!event(written, "/etc/gate/access.log"));
        assert!(!event(EventKind::Access(AccessKind::Read), "/etc/gate/gate.conf"));
    }
}
