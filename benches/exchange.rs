//! Time of a whole exchange over loopback: recipient, gateway with all features on, upstream.
//!
//! The upstream answers from memory, or 10 ms later. The same request sent to the upstream directly is the lower bound.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::mem_forget,
    reason = "a benchmark may fail by panicking"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use purposegate::config;
use purposegate::gateway::Gateway;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Time that the upstream takes for a slow answer.
const SLOW: Duration = Duration::from_millis(10);

const KEY: &str = "pgk_bench_0123456789abcdef0123456789abcdef";

/// Returns a customer record of about one kibibyte.
fn person(n: usize) -> String {
    let notes =
        "called about an invoice; prefers to be written to; asked for a copy of the contract. ".repeat(6);
    format!(
        r#"{{"id":"c-{n:07}","type":"customer","status":"active","segment":"gold","created_at":"2021-03-04T05:06:07Z","locale":"de-DE","name":"Person Number {n}","email":"person{n}@example.org","phone":"+49 151 {n:07}","address":{{"street":"Long Street {n}","zip":"10115","city":"Berlin","country":"DE"}},"card":{{"brand":"visa","last4":"4242"}},"tags":["new","b2c","app"],"notes":"{notes}"}}"#
    )
}

fn list(people: usize) -> String {
    let items: Vec<String> = (0..people).map(person).collect();
    format!(r#"{{"items":[{}]}}"#, items.join(","))
}

const ROUTES: &str = r#"
[[schema]]
name = "customer"
subject = "@.id"
[schema.fields]
"@.id" = "subject-identifier"
"@.type" = "non-personal"
"@.status" = "non-personal"
"@.segment" = "non-personal"
"@.created_at" = "non-personal"
"@.locale" = "language"
"@.name" = "name"
"@.email" = "email"
"@.phone" = "phone"
"@.address" = "postal-address"
"@.card" = "payment-card-summary"
"@.tags" = "non-personal"
"@.notes" = "support-content"
[[route]]
name = "one"
upstream = "origin"
path = "/one"
schema = "customer"
[[route]]
name = "slow"
upstream = "origin"
path = "/slow"
schema = "customer"
[[route]]
name = "list"
upstream = "origin"
path = "/list"
record = "$.items[*]"
schema = "customer"
"#;

struct TestGateway {
    runtime: Runtime,
    gateway: SocketAddr,
    origin: SocketAddr,
    _folder: tempfile::TempDir,
}

fn test_gateway(durability: &str) -> TestGateway {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("binds");
    let origin = listener.local_addr().expect("address");
    runtime.spawn(serve(listener));
    let folder = tempfile::tempdir().expect("folder");
    let digits: String =
        purposegate::credentials::hash(KEY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!(
        "policy = \"{}/policies/one-partner-360\"\n[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[audit]\ndurability = \"{durability}\"\n[[upstream]]\nname = \"origin\"\nurl = \"http://{origin}\"\n[[recipient]]\nname = \"staff\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"direct-marketing\"]\ncredentials = [{{ api-key = \"sha256:{digits}\" }}]\n{ROUTES}",
        env!("CARGO_MANIFEST_DIR")
    );
    let file = folder.path().join("purposegate.toml");
    std::fs::write(&file, config).expect("writes");
    let (config, findings) = config::load(&file);
    let gateway =
        runtime.block_on(Gateway::bind(config.unwrap_or_else(|| panic!("{findings:?}")))).expect("binds");
    let consents: String = (0..10_000)
        .map(|n| format!("{{\"subject\":\"c-{n:07}\",\"kind\":\"consent-given\",\"purpose\":\"direct-marketing\",\"notice\":\"v1\"}}\n"))
        .collect();
    let mut bad = 0;
    runtime.block_on(gateway.shared_state().ledger.import(
        consents.as_bytes(),
        purposegate::ledger::Batch::default(),
        jiff::Timestamp::now(),
        |line| {
            bad += usize::from(line.outcome.is_err());
        },
    ));
    assert_eq!(bad, 0);
    let address = gateway.addresses()[0];
    let (reload, reloads) = tokio::sync::mpsc::channel(1);
    std::mem::forget(reload);
    runtime.spawn(gateway.run(reloads));
    TestGateway { runtime, gateway: address, origin, _folder: folder }
}

async fn serve(listener: TcpListener) {
    let (one, hundred) = (Bytes::from(person(1)), Bytes::from(list(100)));
    while let Ok((stream, _)) = listener.accept().await {
        let (one, hundred) = (one.clone(), hundred.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let path = request.uri().path();
                let body = if path == "/list" { hundred.clone() } else { one.clone() };
                let delay = if path == "/slow" { SLOW } else { Duration::ZERO };
                async move {
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    Response::builder().header("content-type", "application/json").body(Full::new(body))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connects");
    stream.set_nodelay(true).expect("is a socket");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("speaks");
    tokio::spawn(connection);
    sender
}

impl TestGateway {
    fn measure(&self, group: &mut BenchmarkGroup<'_, WallTime>, name: &str, address: SocketAddr, path: &str) {
        let mut sender = self.runtime.block_on(connect(address));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                self.runtime.block_on(async {
                    let request = Request::builder()
                        .uri(path)
                        .header("host", "localhost")
                        .header("x-api-key", KEY)
                        .header("data-purpose", "direct-marketing")
                        .body(Empty::new())
                        .expect("is a request");
                    // The gateway ends a connection after a number of requests.
                    if sender.ready().await.is_err() {
                        sender = connect(address).await;
                    }
                    let response = sender.send_request(request).await.expect("answers");
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.expect("ends").to_bytes().len()
                })
            });
        });
    }
}

fn exchanges(criterion: &mut Criterion) {
    let batched = test_gateway("batched");
    let durable = test_gateway("before-release");
    for (path, size) in [("/one", person(1).len()), ("/slow", person(1).len()), ("/list", list(100).len())] {
        let mut group = criterion.benchmark_group(format!("exchange{path}"));
        group.throughput(Throughput::Bytes(size as u64)).measurement_time(Duration::from_secs(5));
        batched.measure(&mut group, "origin alone", batched.origin, path);
        batched.measure(&mut group, "gateway, batched log", batched.gateway, path);
        durable.measure(&mut group, "gateway, log before release", durable.gateway, path);
        group.finish();
    }
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
