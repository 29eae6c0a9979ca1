//! `serve`: runs the gateway, and reloads or stops it on signals and file changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::{Config, WatchList};
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
    // Before the start, which can wait for a predecessor: a change meanwhile is reloaded afterwards.
    let (reload, reloads) = mpsc::channel(1);
    let watcher = FolderWatcher::start(config.watch_list.clone(), reload.clone());
    let hangups = reload.clone();
    tokio::spawn(async move {
        if let Ok(mut hangup) = signal(SignalKind::hangup()) {
            while hangup.recv().await.is_some() {
                // If a reload is queued already, it covers this signal, too.
                let _ = hangups.try_send(());
            }
        }
    });
    let gateway = Gateway::bind_as_service(config, ServiceManager::from_env(), inherited).await?;
    if let Some(watcher) = watcher {
        tokio::spawn(watcher.follow(gateway.watch_list(), reload));
    }
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

/// Watches the folders of the configuration. Folders rather than files, because editors and Kubernetes replace files by
/// renaming.
struct FolderWatcher {
    watcher: RecommendedWatcher,
    /// The folders that are watched. None is given up before the end: one folder has one watch, however many names it has.
    folders: BTreeSet<PathBuf>,
    list: Arc<ArcSwap<WatchList>>,
}

impl FolderWatcher {
    /// Begins to watch these files, and asks for a reload after each change.
    fn start(list: WatchList, reload: mpsc::Sender<()>) -> Option<FolderWatcher> {
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let current = Arc::new(ArcSwap::from_pointee(WatchList::default()));
        let list_of_events = Arc::clone(&current);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(&event, &list_of_events.load())) {
                let _ = changed.try_send(());
            }
        })
        .inspect_err(|error| tracing::warn!(%error, "cannot watch files; send SIGHUP to reload"))
        .ok()?;
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                tokio::time::sleep(DEBOUNCE).await;
                while changes.try_recv().is_ok() {}
                let _ = reload.try_send(());
            }
        });
        let mut started = FolderWatcher { watcher, folders: BTreeSet::new(), list: current };
        started.watch(list);
        Some(started)
    }

    /// Watches these files from now on. Returns true if one of their folders was not watched before.
    fn watch(&mut self, list: WatchList) -> bool {
        let list = Arc::new(list);
        self.list.store(Arc::clone(&list));
        let mut any_new = false;
        for folder in &list.folders {
            // A folder that is watched already may have been removed and made again.
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => any_new |= self.folders.insert(folder.clone()),
                Err(error) => tracing::warn!(%error, "cannot watch a folder; send SIGHUP to reload"),
            }
        }
        any_new
    }

    /// Watches the files of each list, until there is no gateway that reloads.
    async fn follow(mut self, mut lists: watch::Receiver<WatchList>, reload: mpsc::Sender<()>) {
        // The gateway reads the configuration again before it takes over from a predecessor.
        lists.mark_changed();
        while lists.changed().await.is_ok() {
            let list = lists.borrow_and_update().clone();
            if self.watch(list) {
                // A file in a new folder can have changed after it was read and before the folder was watched.
                let _ = reload.try_send(());
            }
        }
    }
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

/// True if an event in a watched folder can change the configuration.
fn is_change(event: &notify::Event, list: &WatchList) -> bool {
    let written = event.kind.is_modify() || event.kind.is_create() || event.kind.is_remove();
    written && event.paths.iter().any(|path| list.concerns(path))
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, EventKind, ModifyKind, RenameMode};

    use super::*;

    #[test]
    fn changes_are_those_of_its_files() {
        let files = ["/etc/gate/gate.conf", "/etc/tls/server.crt"].map(PathBuf::from).into();
        let list = WatchList { files, ..WatchList::default() };
        let event =
            |kind, path: &str| is_change(&notify::Event::new(kind).add_path(PathBuf::from(path)), &list);
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
