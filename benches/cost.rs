//! Processor time that a small exchange costs, with and without what an operator can switch on.
//!
//! Each row has a gateway in a process of its own, with one worker thread on the first processor (`taskset`). In each round
//! every gateway gets the same number of requests for a record of about a kibibyte, one gateway after the other; a gateway's
//! time includes what it does shortly after the last of them, such as sending a batch. A row's figure is the median of its
//! rounds, and of their ratios to the first row of the same round.
//!
//! `cargo bench --bench cost`; `COST_ROUNDS` is the number of rounds, 9 by default.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may fail by panicking, and prints its table"
)]

mod gateway_process;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::{ToSpan, Zoned};

use crate::gateway_process::{GATEWAY, GatewayProcess, exchange, start_upstream};

const KEY: &str = "pgk_cost_0123456789abcdef";
/// Connections of a round, each with a thread.
const CONNECTIONS: usize = 8;
/// Requests on each connection in a round.
const REQUESTS: usize = 2000;
/// Time after a round in which a gateway ends its work.
const REST: Duration = Duration::from_secs(2);

/// One row of the table.
struct Row {
    name: &'static str,
    /// Members of the route.
    route: &'static str,
    /// Tables of the configuration. `ORIGIN` stands for the address to which records are pushed.
    tables: &'static str,
    traced: bool,
}

impl Row {
    const PLAIN: Row = Row { name: "nothing more", route: "", tables: "", traced: false };
}

const ROWS: &[Row] = &[
    Row::PLAIN,
    Row { name: "the same again", ..Row::PLAIN },
    Row { name: "every exchange traced", traced: true, ..Row::PLAIN },
    Row {
        name: "exchanges on record pushed",
        tables: "[audit.push]\nurl = \"http://ORIGIN/records\"\n",
        ..Row::PLAIN
    },
    Row { name: "access log", tables: "[access-log]\ndirectory = \"data/access\"\n", ..Row::PLAIN },
    Row { name: "observed", route: "mode = \"observe\"\nobserve-until = TOMORROW\n", ..Row::PLAIN },
];

fn configuration(row: &Row, upstream: SocketAddr) -> String {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
    let hash = purposegate::credentials::hash(KEY.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let tomorrow = Zoned::now().saturating_add(1.day()).date().to_string();
    format!(
        r#"policy = {pack:?}
[listener]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[audit]
durability = "batched"
{tables}
[[upstream]]
name = "crm"
url = "http://{upstream}"
[[recipient]]
name = "staff"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
credentials = [{{ api-key = "sha256:{hash}" }}]
[[route]]
name = "person"
upstream = "crm"
path = "/people/{{id}}"
unknown-subject = "no-facts"
subject = "@.id"
{route}
[route.fields]
"@.id" = "subject-identifier"
"@.name" = "name"
"@.email" = "email"
"@.status" = "non-personal"
"@.notes" = "non-personal"
"#,
        tables = row.tables.replace("ORIGIN", &upstream.to_string()),
        route = row.route.replace("TOMORROW", &tomorrow),
    )
}

/// Starts the gateway of a row on the first processor, which the client leaves to it.
fn start(row: &Row, upstream: SocketAddr) -> GatewayProcess {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0", GATEWAY]).env("TOKIO_WORKER_THREADS", "1");
    if row.traced {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{upstream}"));
        command.env("OTEL_BSP_SCHEDULE_DELAY", "1000");
        // A span that is dropped costs less.
        command.env("OTEL_BSP_MAX_QUEUE_SIZE", (2 * CONNECTIONS * REQUESTS).to_string());
    }
    GatewayProcess::start(command, &configuration(row, upstream))
}

/// Sends the requests of a round. Returns the gateway's processor time for each, in microseconds.
fn round(gateway: &GatewayProcess) -> f64 {
    let request = format!(
        "GET /people/c-1 HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ndata-purpose: customer-support\r\n\r\n"
    );
    let before = gateway.processor_time();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = None;
                for _ in 0..REQUESTS {
                    // The gateway ends a connection after a number of requests.
                    let answer = exchange(&mut stream, gateway.address, request.as_bytes()).or_else(|| {
                        stream = None;
                        exchange(&mut stream, gateway.address, request.as_bytes())
                    });
                    answer.expect("an answer of status 200");
                }
            });
        }
    });
    std::thread::sleep(REST);
    let spent = gateway.processor_time() - before;
    spent.as_secs_f64() * 1e6 / (CONNECTIONS * REQUESTS) as f64
}

/// Sorts, and returns the least, the middle and the greatest.
fn range(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [0, figures.len() / 2, figures.len() - 1].map(|at| figures[at])
}

fn main() {
    let rounds = std::env::var("COST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    // `cargo test --all-targets` runs the benchmarks, too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") && rounds.is_none() {
        return;
    }
    let upstream = start_upstream();
    let gateways: Vec<GatewayProcess> = ROWS.iter().map(|row| start(row, upstream)).collect();
    gateways.iter().for_each(|gateway| _ = round(gateway));
    let rounds: Vec<Vec<f64>> =
        (0..rounds.unwrap_or(9)).map(|_| gateways.iter().map(round).collect()).collect();
    println!("| | µs an exchange | beside the first row (least to greatest) |");
    println!("| --- | --- | --- |");
    for (at, row) in ROWS.iter().enumerate() {
        let [_, time, _] = range(rounds.iter().map(|round| round[at]).collect());
        let [least, ratio, greatest] = range(rounds.iter().map(|round| round[at] / round[0]).collect());
        println!("| {} | {time:.1} | {ratio:.2} ({least:.2} to {greatest:.2}) |", row.name);
    }
}
