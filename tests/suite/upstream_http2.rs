//! Hostile upstreams over HTTP/2: what the gateway refuses, bounds and repeats.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, wait_until};
use crate::http::Answer;
use crate::tls_upstream::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameConnection, FrameUpstream, GOAWAY, HEADERS, PING,
    PUSH_PROMISE, RST_STREAM, SETTINGS, frame, json_answer, json_head, section,
};

const PERSON: &str = r#"{"id": "c-1", "name": "Ada Example", "secret": "x", "status": "active"}"#;
const RELEASED: &str = r#"{"id": "c-1", "name": "Ada Example", "status": "active"}"#;

const ROUTES: &str = r#"
[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "POST"]
path = "/customers/{id}"
subject = "@.id"
[route.fields]
"@.id" = "subject-identifier"
"@.name" = "name"
"@.status" = "non-personal"

[[route]]
name = "open"
upstream = "crm"
methods = ["GET", "POST"]
path = "/open"
personal = false
"#;

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// The upstream's section of the configuration, for a hostile upstream.
fn config_of(upstream: &FrameUpstream, keys: &str) -> String {
    let ca = upstream.certificates.path().join("ca.pem");
    let address = upstream.address;
    base(address).replace(
        &format!("url = \"http://{address}\"\ntimeout = \"10s\"\n"),
        &format!("url = \"https://{address}\"\nca = {ca:?}\n{keys}\n"),
    )
}

fn gateway_with(upstream: &FrameUpstream, keys: &str) -> TestGateway {
    let gateway = TestGateway::start(&format!("{}{ROUTES}", config_of(upstream, keys)));
    gateway.record_event("c-1", KNOWN);
    gateway
}

fn gateway(upstream: &FrameUpstream) -> TestGateway {
    gateway_with(upstream, "timeout = \"10s\"")
}

fn ask(gateway: &TestGateway, method: &str, path: &str) -> Answer {
    let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
    gateway.send(method, path, ("support", "customer-support"), &[], body)
}

/// Asks an upstream that answers each request with these frames, and then reads on.
fn answer_to(frames: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static, method: &str, path: &str) -> Answer {
    let upstream = FrameUpstream::start(move |connection| {
        while let Some(stream) = connection.request() {
            connection.write(&frames(stream));
        }
    });
    ask(&gateway(&upstream), method, path)
}

fn code(answer: &Answer) -> (u16, String) {
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

fn unreadable() -> (u16, String) {
    (502, "upstream-unreadable".to_owned())
}

fn unreachable() -> (u16, String) {
    (502, "upstream-unreachable".to_owned())
}

#[test]
fn an_answer_in_frames_is_scrubbed_and_its_trailers_dropped() {
    let answer = answer_to(|stream| json_answer(stream, PERSON), "GET", "/customers/c-1");
    assert_eq!((answer.status, answer.text().as_str()), (200, RELEASED));
    let with_trailers = |stream| {
        let trailers = section(&[("x-ada", "1")]);
        let frames = [
            json_head(stream),
            frame(DATA, 0, stream, PERSON.as_bytes()),
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers),
        ];
        frames.concat()
    };
    for path in ["/customers/c-1", "/open"] {
        let answer = answer_to(with_trailers, "GET", path);
        assert!(answer.status == 200 && answer.complete, "{path}");
        assert!(!answer.head.contains("ada") && !answer.trailers.contains("ada"), "{path}");
    }
}

#[test]
fn heads_that_break_the_rules_are_unreadable() {
    let head = |fields: Vec<(&'static str, &'static str)>| {
        move |stream| {
            let end = frame(DATA, END_STREAM, stream, PERSON.as_bytes());
            [frame(HEADERS, END_HEADERS, stream, &section(&fields)), end].concat()
        }
    };
    let json = ("content-type", "application/json");
    for fields in [
        vec![json],
        vec![(":status", "200"), (":status", "200"), json],
        vec![json, (":status", "200")],
        vec![(":status", "abc"), json],
        vec![(":status", "200"), ("connection", "close"), json],
        vec![(":status", "200"), ("transfer-encoding", "chunked"), json],
        vec![(":status", "200"), ("X-Upper", "1"), json],
        vec![(":status", "200"), ("content-length", "3"), json],
        vec![(":status", "200"), ("content-length", "300"), json],
        vec![(":status", "600"), json],
        vec![(":status", "999"), json],
    ] {
        let said = format!("{fields:?}");
        let answer = answer_to(head(fields), "GET", "/customers/c-1");
        assert_eq!(answer.status, 502, "{said}");
        assert!(!answer.text().contains("Ada"), "{said}");
    }
    let large = move |stream| {
        let value = "x".repeat(70 * 1024);
        let fields = section(&[(":status", "200"), json, ("x-large", &value)]);
        let mut frames = Vec::new();
        let pieces: Vec<&[u8]> = fields.chunks(16 * 1024).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let flags = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
            frames.extend(frame(kind, flags, stream, piece));
        }
        [frames, frame(DATA, END_STREAM, stream, PERSON.as_bytes())].concat()
    };
    assert_eq!(code(&answer_to(large, "GET", "/customers/c-1")), unreadable());
}

#[test]
fn interim_answers_are_bounded_over_http2() {
    let hints = |count: usize| {
        move |stream| {
            let fields = section(&[(":status", "103"), ("link", "</ada>")]);
            let hints = frame(HEADERS, END_HEADERS, stream, &fields).repeat(count);
            [hints, json_answer(stream, PERSON)].concat()
        }
    };
    assert_eq!(answer_to(hints(5), "GET", "/customers/c-1").text(), RELEASED);
    assert_eq!(answer_to(hints(32), "GET", "/customers/c-1").text(), RELEASED);
    assert_eq!(code(&answer_to(hints(1000), "GET", "/customers/c-1")), unreadable());
    // An upgrade is an interim answer in HTTP/2: it switches nothing.
    let upgrade = |stream| {
        let fields = section(&[(":status", "101")]);
        [frame(HEADERS, END_HEADERS, stream, &fields), json_answer(stream, PERSON)].concat()
    };
    let answer = answer_to(upgrade, "GET", "/customers/c-1");
    assert!(answer.status == 502 || answer.text() == RELEASED, "{}", answer.text());
}

#[test]
fn a_body_that_is_reset_is_not_whole() {
    for reason in [0, 2, CANCEL] {
        let whole = move |stream| {
            let body = frame(DATA, 0, stream, PERSON.as_bytes());
            [json_head(stream), body, reset(stream, reason)].concat()
        };
        let part = move |stream| {
            let body = frame(DATA, 0, stream, &PERSON.as_bytes()[..30]);
            [json_head(stream), body, reset(stream, reason)].concat()
        };
        let answer = answer_to(part, "GET", "/customers/c-1");
        assert!(answer.status == 502 && !answer.text().contains("Ada"), "{reason}: {}", answer.text());
        // What passes unread has no other end than that of the stream.
        let answer = answer_to(whole, "GET", "/open");
        assert!(answer.status == 502 || !answer.complete, "{reason}: {}", answer.head);
    }
    let before_head = |stream| reset(stream, 2);
    assert_eq!(code(&answer_to(before_head, "GET", "/customers/c-1")), unreachable());
}

#[test]
fn a_push_and_other_violations_end_the_connection() {
    let push = |stream: u32| {
        let fields =
            section(&[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")]);
        let promise = [&2_u32.to_be_bytes()[..], &fields].concat();
        [frame(PUSH_PROMISE, END_HEADERS, stream, &promise), json_answer(stream, PERSON)].concat()
    };
    let oversized = |stream: u32| [json_head(stream), frame(DATA, 0, stream, &[b' '; 17 * 1024])].concat();
    let on_idle_stream = |stream: u32| frame(DATA, 0, stream + 100, b"{}");
    let broken_hpack = |stream: u32| frame(HEADERS, END_HEADERS, stream, &[0xff; 20]);
    let continuation_alone = |stream: u32| frame(CONTINUATION, END_HEADERS, stream, b"");
    let window = |stream: u32| {
        // More than the window of a stream, which the gateway has not enlarged: it does not read.
        let mut frames = json_head(stream);
        (0..8).for_each(|_| frames.extend(frame(DATA, 0, stream, &[b' '; 16 * 1024])));
        [frames, reset(stream, 2)].concat()
    };
    /// The frames of an answer on a stream.
    type AnswerFrames = fn(u32) -> Vec<u8>;
    let cases: [(&str, AnswerFrames); 6] = [
        ("push", push),
        ("oversized", oversized),
        ("idle stream", on_idle_stream),
        ("hpack", broken_hpack),
        ("continuation", continuation_alone),
        ("window", window),
    ];
    for (name, frames) in cases {
        let answer = answer_to(frames, "GET", "/customers/c-1");
        assert_eq!(answer.status, 502, "{name}: {}", answer.text());
    }
}

/// Writes until the gateway closes the connection, and notes that it did.
fn flood(bytes: Vec<u8>, first: fn(u32) -> Vec<u8>) -> (FrameUpstream, Arc<Mutex<bool>>) {
    let ended = Arc::<Mutex<bool>>::default();
    let noted = Arc::clone(&ended);
    let upstream = FrameUpstream::start(move |connection: &mut FrameConnection| {
        let Some(stream) = connection.request() else { return };
        connection.write(&first(stream));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if !connection.write(&bytes) {
                *noted.lock().unwrap() = true;
                return;
            }
        }
    });
    (upstream, ended)
}

#[test]
fn floods_of_frames_end_the_connection() {
    let nothing: fn(u32) -> Vec<u8> = |_| Vec::new();
    let head: fn(u32) -> Vec<u8> = json_head;
    let open_head: fn(u32) -> Vec<u8> = |stream| frame(HEADERS, 0, stream, &section(&[(":status", "200")]));
    for (name, bytes, first) in [
        ("ping", frame(PING, 0, 0, b"12345678").repeat(500), nothing),
        ("ping answers", frame(PING, 1, 0, b"12345678").repeat(500), nothing),
        ("settings", frame(SETTINGS, 0, 0, b"").repeat(500), nothing),
        ("unknown frames", frame(0xbb, 0, 0, b"12345678").repeat(500), nothing),
        ("empty data", frame(DATA, 0, 1, b"").repeat(500), head),
        ("continuations", frame(CONTINUATION, 0, 1, b"").repeat(500), open_head),
        (
            "large continuations",
            frame(CONTINUATION, 0, 1, &section(&[("x-a", &"x".repeat(8000))])),
            open_head,
        ),
    ] {
        let (upstream, ended) = flood(bytes, first);
        let answer = ask(&gateway(&upstream), "GET", "/customers/c-1");
        assert!(answer.status == 502, "{name}: {} {}", answer.status, answer.text());
        wait_until(|| *ended.lock().unwrap());
    }
}

#[test]
fn a_request_that_was_not_processed_is_sent_once_more() {
    // The first request of each case is refused.
    type First = fn(u32) -> Vec<u8>;
    let goaway = |last: u32, reason: u32| {
        let payload = [&last.to_be_bytes()[..], &reason.to_be_bytes(), b"debug data of Ada"].concat();
        frame(GOAWAY, 0, 0, &payload)
    };
    let refuse: First = |stream| reset(stream, REFUSED_STREAM);
    for (name, first) in [("refused", None), ("goaway", Some(goaway(0, 0))), ("error", Some(goaway(0, 2)))] {
        let requests = Arc::<Mutex<u32>>::default();
        let counted = Arc::clone(&requests);
        let upstream = FrameUpstream::start(move |connection| {
            while let Some(stream) = connection.request() {
                *counted.lock().unwrap() += 1;
                if connection.number == 0 {
                    connection.write(&first.clone().unwrap_or_else(|| refuse(stream)));
                } else {
                    connection.write(&json_answer(stream, PERSON));
                }
            }
        });
        let gateway = gateway(&upstream);
        assert_eq!(ask(&gateway, "GET", "/customers/c-1").text(), RELEASED, "{name}");
        assert_eq!(*requests.lock().unwrap(), 2, "{name}");
        assert_eq!(upstream.connections.load(Ordering::SeqCst), 2, "{name}: on a new connection");
    }
}

#[test]
fn a_request_is_not_sent_a_third_time_and_not_with_its_body() {
    let requests = Arc::<Mutex<u32>>::default();
    let counted = Arc::clone(&requests);
    let upstream = FrameUpstream::start(move |connection| {
        while let Some(stream) = connection.request() {
            *counted.lock().unwrap() += 1;
            connection.write(&reset(stream, REFUSED_STREAM));
        }
    });
    let gateway = gateway(&upstream);
    assert_eq!(code(&ask(&gateway, "GET", "/customers/c-1")), unreachable());
    assert_eq!(*requests.lock().unwrap(), 2);
    assert_eq!(code(&ask(&gateway, "POST", "/open")), unreachable());
    assert_eq!(*requests.lock().unwrap(), 3);
    // An upstream that processed the request is not asked again, for whatever reason it stopped.
    let requests = Arc::<Mutex<u32>>::default();
    let counted = Arc::clone(&requests);
    let upstream = FrameUpstream::start(move |connection| {
        let Some(stream) = connection.request() else { return };
        *counted.lock().unwrap() += 1;
        let payload = [stream.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        connection.write(&frame(GOAWAY, 0, 0, &payload));
    });
    let gateway = gateway_with(&upstream, "timeout = \"10s\"");
    assert_eq!(code(&ask(&gateway, "GET", "/customers/c-1")), unreachable());
    assert_eq!(*requests.lock().unwrap(), 1);
}

#[test]
fn timeouts_hold_over_http2_and_the_stream_is_reset() {
    let frames = Arc::<Mutex<Vec<(u8, u32, Vec<u8>)>>>::default();
    let seen = Arc::clone(&frames);
    let start = |first: fn(u32) -> Vec<u8>| {
        let seen = Arc::clone(&seen);
        FrameUpstream::start(move |connection| {
            let Some(stream) = connection.request() else { return };
            connection.write(&first(stream));
            while let Some((kind, _, stream, payload)) = connection.read() {
                seen.lock().unwrap().push((kind, stream, payload));
            }
        })
    };
    let silent = start(|_| Vec::new());
    let stalled =
        start(|stream| [json_head(stream), frame(DATA, 0, stream, &PERSON.as_bytes()[..10])].concat());
    for (upstream, keys) in [(&silent, "timeout = \"300ms\""), (&stalled, "idle-timeout = \"300ms\"")] {
        frames.lock().unwrap().clear();
        let gateway = gateway_with(upstream, keys);
        assert_eq!(ask(&gateway, "GET", "/customers/c-1").status, 504, "{keys}");
        let cancelled = |(kind, _, payload): &(u8, u32, Vec<u8>)| {
            *kind == RST_STREAM && payload.as_slice() == CANCEL.to_be_bytes()
        };
        wait_until(|| frames.lock().unwrap().iter().any(cancelled));
    }
    let dripping = FrameUpstream::start(|connection| {
        let Some(stream) = connection.request() else { return };
        connection.write(&json_head(stream));
        while connection.write(&frame(DATA, 0, stream, b" ")) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let gateway = gateway_with(&dripping, "body-timeout = \"300ms\"");
    assert_eq!(ask(&gateway, "GET", "/customers/c-1").status, 504);
}

#[test]
fn an_upload_without_a_window_ends_with_its_exchange() {
    // SETTINGS_INITIAL_WINDOW_SIZE is 0: no byte of a body can be sent.
    let silent = FrameUpstream::start_with(&[(4, 0)], |connection| {
        connection.rest();
    });
    let gateway = gateway_with(&silent, "timeout = \"300ms\"");
    assert_eq!(ask(&gateway, "POST", "/open").status, 504);
    // An answer before the body is one. The connection, on which the body waits for ever, gets no further request and is
    // closed. The first body of a connection can be sent before the settings arrive.
    let ended = Arc::<Mutex<usize>>::default();
    let counted = Arc::clone(&ended);
    let early = FrameUpstream::start_with(&[(4, 0)], move |connection| {
        while let Some(stream) = connection.request() {
            connection.write(&json_answer(stream, "{}"));
        }
        *counted.lock().unwrap() += 1;
    });
    let gateway = gateway_with(&early, "timeout = \"10s\"");
    for requests in 1..7_usize {
        assert_eq!(ask(&gateway, "POST", "/open").status, 200);
        assert!(early.connections.load(Ordering::SeqCst) >= requests.div_ceil(2), "{requests}");
    }
    wait_until(|| *ended.lock().unwrap() >= 3);
}

#[test]
fn an_upstream_limits_the_streams_of_a_connection() {
    // SETTINGS_MAX_CONCURRENT_STREAMS is 1.
    let open = Arc::<Mutex<(u32, u32)>>::default();
    let counted = Arc::clone(&open);
    let upstream = FrameUpstream::start_with(&[(3, 1)], move |connection| {
        while let Some(stream) = connection.request() {
            {
                let mut open = counted.lock().unwrap();
                open.0 += 1;
                open.1 = open.1.max(open.0);
            }
            std::thread::sleep(Duration::from_millis(50));
            counted.lock().unwrap().0 -= 1;
            connection.write(&json_answer(stream, PERSON));
        }
    });
    let gateway = gateway(&upstream);
    assert_eq!(ask(&gateway, "GET", "/customers/c-1").text(), RELEASED);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(ask(&gateway, "GET", "/customers/c-1").text(), RELEASED));
        }
    });
    let connections = upstream.connections.load(Ordering::SeqCst);
    assert!((2..=8).contains(&connections), "{connections}");
}

#[test]
fn a_recipient_that_leaves_resets_the_stream() {
    let frames = Arc::<Mutex<Vec<(u8, u32, Vec<u8>)>>>::default();
    let seen = Arc::clone(&frames);
    let upstream = FrameUpstream::start(move |connection| {
        let Some(_) = connection.request() else { return };
        while let Some((kind, _, stream, payload)) = connection.read() {
            seen.lock().unwrap().push((kind, stream, payload));
        }
    });
    let gateway = gateway(&upstream);
    let stream = gateway.begin_get("/customers/c-1", "support", "customer-support");
    wait_until(|| upstream.connections.load(Ordering::SeqCst) > 0);
    // The request is on its way once the connection is made; its reset follows it.
    std::thread::sleep(Duration::from_millis(300));
    drop(stream);
    wait_until(|| frames.lock().unwrap().iter().any(|(kind, ..)| *kind == RST_STREAM));
}
