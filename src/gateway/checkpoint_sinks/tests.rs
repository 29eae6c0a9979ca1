//! Sinks against small servers: one that is down, one that cosigns, one that knows more than there is.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use tlog_tiles::{Hash, check_tree};

use super::*;
use crate::disclosure::WitnessKey;
use crate::disclosure::record::Record;
use crate::disclosure::{Durability, LogSettings};
use crate::keys::Keys;

const LONG: Duration = Duration::from_secs(60);

/// A log in a temporary folder.
struct Setup {
    log: Log,
    metrics: Metrics,
    folder: tempfile::TempDir,
}

fn setup() -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let settings = LogSettings {
        folder: folder.path().join("audit"),
        gateway: "gateway-1".to_owned(),
        durability: Durability::BeforeRelease,
        retention: LONG,
        origin: None,
        ledger: None,
        known_checkpoints: Vec::new(),
    };
    let log = Log::open(settings, &Keys::random().unwrap()).unwrap();
    Setup { log, metrics: Metrics::new().unwrap(), folder }
}

impl Setup {
    fn start(&self, sink: CheckpointSink) -> CheckpointSinks {
        CheckpointSinks::start(vec![sink], &self.log, &self.metrics)
    }

    /// Records something, and waits until it is published. Returns the size.
    async fn grow(&self) -> u64 {
        let mut checkpoints = self.log.checkpoints();
        checkpoints.borrow_and_update();
        self.log.append(Record::SecretErasure { secrets: 1, reason: "delivered" }).await.unwrap();
        tokio::time::timeout(LONG, checkpoints.changed()).await.unwrap().unwrap();
        checkpoints.borrow().as_ref().unwrap().size
    }

    fn failures(&self, kind: &str) -> u64 {
        self.metrics.audit_checkpoint_sink_failures.with_label_values(&[kind]).get()
    }
}

/// Serves until the test ends. Returns the server as a configuration names it.
async fn serve(router: Router) -> SinkServer {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix/", socket.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(socket, router).await.unwrap() });
    SinkServer { url: url.parse().unwrap(), tls: None, ca: None }
}

/// Polls until a function has a result.
async fn until<T>(find: impl Fn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = find() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap()
}

fn size_in(file: &Path) -> Option<u64> {
    Some(PublishedCheckpoint::parse(&std::fs::read(file).ok()?).unwrap().size)
}

#[tokio::test]
async fn a_file_has_the_last_checkpoint() {
    let setup = setup();
    let file = setup.folder.path().join("kept");
    let _sinks = setup.start(CheckpointSink::File(file.clone()));
    until(|| size_in(&file)).await;
    let size = setup.grow().await;
    until(|| size_in(&file).filter(|kept| *kept == size)).await;
    assert_eq!(setup.failures("file"), 0);
    let unwritable = setup.folder.path().join("none/kept");
    let _sinks = setup.start(CheckpointSink::File(unwritable));
    until(|| (setup.failures("file") > 0).then_some(())).await;
}

#[tokio::test]
async fn a_webhook_that_was_down_gets_the_latest_checkpoint() {
    type Shared = Arc<Mutex<(bool, Vec<Value>)>>;
    async fn receive(State(shared): State<Shared>, body: String) -> StatusCode {
        let mut shared = shared.lock().unwrap();
        if !shared.0 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        shared.1.push(serde_json::from_str(&body).unwrap());
        StatusCode::NO_CONTENT
    }
    let setup = setup();
    let shared = Shared::default();
    let server = serve(Router::new().route("/prefix/", post(receive)).with_state(Arc::clone(&shared))).await;
    let _sinks = setup.start(CheckpointSink::Webhook(server));
    until(|| (setup.failures("webhook") > 0).then_some(())).await;
    let size = setup.grow().await;
    shared.lock().unwrap().0 = true;
    let received = until(|| shared.lock().unwrap().1.first().cloned()).await;
    assert_eq!(received["size"], size, "the earlier ones are not sent any more");
    let note = PublishedCheckpoint::parse(received["note"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!((received["origin"].as_str(), received["size"].as_u64()), (Some(&*note.origin), Some(size)));
    assert_eq!(received["root"], STANDARD.encode(note.root));
}

/// Also if the sink has just failed, or its interval is not over.
#[tokio::test]
async fn the_last_checkpoint_of_a_stop_reaches_each_sink() {
    async fn receive(State(received): State<Arc<Mutex<Vec<u64>>>>, body: String) -> StatusCode {
        let mut received = received.lock().unwrap();
        received.push(serde_json::from_str::<Value>(&body).unwrap()["size"].as_u64().unwrap());
        if received.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
    }
    let setup = setup();
    let (file, received) = (setup.folder.path().join("kept"), Arc::default());
    let server =
        serve(Router::new().route("/prefix/", post(receive)).with_state(Arc::clone(&received))).await;
    let (witness, key) = TestWitness::new();
    let sinks = vec![
        CheckpointSink::File(file.clone()),
        CheckpointSink::Webhook(server),
        CheckpointSink::Witness { server: serve(witness.router()).await, key },
    ];
    let sinks = CheckpointSinks::start(sinks, &setup.log, &setup.metrics);
    until(|| size_in(&file).filter(|_| setup.failures("webhook") == 1)).await;
    until(|| Some(()).filter(|()| witness.state.lock().unwrap().size > 0)).await;
    let first = size_in(&file).unwrap();
    setup.log.append_detached(Record::SecretErasure { secrets: 1, reason: "delivered" });
    let checkpoints = setup.log.checkpoints();
    let log = setup.log;
    tokio::task::spawn_blocking(move || log.close()).await.unwrap();
    sinks.finish(LONG).await;
    let last = checkpoints.borrow().as_ref().unwrap().size;
    assert!(last > first);
    assert_eq!((size_in(&file), witness.state.lock().unwrap().size), (Some(last), last));
    assert_eq!(received.lock().unwrap().last(), Some(&last));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_sink_that_does_not_answer() {
    let setup = setup();
    // It accepts connections and never answers.
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let sinks =
        setup.start(CheckpointSink::Webhook(SinkServer { url: url.parse().unwrap(), tls: None, ca: None }));
    let connection = tokio::time::timeout(LONG, socket.accept()).await.unwrap().unwrap();
    setup.log.close();
    sinks.finish(Duration::ZERO).await;
    assert_eq!(setup.failures("webhook"), 0, "the request is under way");
    drop(connection);
}

#[tokio::test]
async fn a_sink_without_usable_tls_fails_and_is_counted() {
    let setup = setup();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", socket.local_addr().unwrap()).parse().unwrap();
    let sinks = setup.start(CheckpointSink::Webhook(SinkServer { url, tls: None, ca: None }));
    setup.grow().await;
    until(|| Some(()).filter(|()| setup.failures("webhook") > 0)).await;
    setup.log.close();
    sinks.finish(LONG).await;
}

/// A witness of one log.
struct TestWitness {
    pair: Ed25519KeyPair,
    name: &'static str,
    id: u32,
    state: Mutex<WitnessState>,
}

#[derive(Default)]
struct WitnessState {
    size: u64,
    root: Option<[u8; 32]>,
    /// The old sizes that were sent.
    asked: Vec<u64>,
}

impl TestWitness {
    fn new() -> (Arc<TestWitness>, WitnessKey) {
        let (pair, name) = (Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap(), "witness.example/w1");
        let encoded = [&[4], pair.public_key().as_ref()].concat();
        let id = signed_note::key_id(name, &encoded);
        let key = WitnessKey::parse(&format!("{name}+{id:08x}+{}", STANDARD.encode(&encoded))).unwrap();
        (Arc::new(TestWitness { pair, name, id, state: Mutex::default() }), key)
    }

    fn router(self: &Arc<TestWitness>) -> Router {
        async fn answer(State(witness): State<Arc<TestWitness>>, body: String) -> (StatusCode, String) {
            witness.answer(&body)
        }
        Router::new().route("/prefix/add-checkpoint", post(answer)).with_state(Arc::clone(self))
    }

    fn answer(&self, body: &str) -> (StatusCode, String) {
        let (request, note) = body.split_once("\n\n").unwrap();
        let mut lines = request.lines();
        let old: u64 = lines.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
        let proof: Vec<Hash> =
            lines.map(|line| Hash(STANDARD.decode(line).unwrap().try_into().unwrap())).collect();
        let checkpoint = PublishedCheckpoint::parse(note.as_bytes()).unwrap();
        let mut state = self.state.lock().unwrap();
        state.asked.push(old);
        if old != state.size {
            return (StatusCode::CONFLICT, format!("{}\n", state.size));
        }
        if let Some(root) = state.root.filter(|_| old < checkpoint.size) {
            let checked = check_tree(&proof, checkpoint.size, Hash(checkpoint.root), old, Hash(root));
            if checked.is_err() {
                return (StatusCode::UNPROCESSABLE_ENTITY, String::new());
            }
        }
        (state.size, state.root) = (checkpoint.size, Some(checkpoint.root));
        let text = note.get(..=note.rfind("\n\n").unwrap()).unwrap();
        let signature = self.pair.sign(format!("cosignature/v1\ntime 7\n{text}").as_bytes());
        let bytes = [&self.id.to_be_bytes()[..], &7u64.to_be_bytes(), signature.as_ref()].concat();
        (StatusCode::OK, format!("— {} {}\n", self.name, STANDARD.encode(bytes)))
    }
}

#[tokio::test]
async fn a_witness_cosigns_what_only_grew() {
    let setup = setup();
    let (witness, key) = TestWitness::new();
    let server = serve(witness.router()).await;
    let sink = CheckpointSink::Witness { server, key };
    let file = setup.folder.path().join(format!("audit.witness-{:08x}", witness.id));
    let sinks = setup.start(sink.clone());
    let first = until(|| size_in(&file)).await;
    let second = setup.grow().await;
    until(|| size_in(&file).filter(|kept| *kept == second)).await;
    assert_eq!(witness.state.lock().unwrap().asked, [0, first]);
    drop(sinks);
    // A sink that has lost its file learns the size from the witness; one that has it does not ask.
    std::fs::remove_file(&file).unwrap();
    let sinks = setup.start(sink.clone());
    until(|| size_in(&file)).await;
    assert_eq!(witness.state.lock().unwrap().asked, [0, first, 0, second]);
    drop(sinks);
    let third = setup.grow().await;
    let _sinks = setup.start(sink);
    until(|| size_in(&file).filter(|kept| *kept == third)).await;
    assert_eq!(witness.state.lock().unwrap().asked, [0, first, 0, second, second]);
    assert_eq!(setup.failures("witness"), 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap().matches("\n— ").count(), 2);
}

#[tokio::test]
async fn a_witness_that_knows_more_or_something_else_cosigns_nothing() {
    for state in [
        WitnessState { size: 1000, ..WitnessState::default() },
        WitnessState { size: 1, root: Some([7; 32]), ..WitnessState::default() },
    ] {
        let setup = setup();
        let (witness, key) = TestWitness::new();
        *witness.state.lock().unwrap() = state;
        let server = serve(witness.router()).await;
        let _sinks = setup.start(CheckpointSink::Witness { server, key });
        until(|| (setup.failures("witness") > 0).then_some(())).await;
        let names: Vec<_> = std::fs::read_dir(setup.folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing but the log");
    }
}
