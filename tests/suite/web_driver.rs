//! A browser under the control of a test: chromium through chromedriver (W3C WebDriver, as JSON over HTTP).

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::wait;

/// The key codes of WebDriver ("Keyboard actions").
pub(crate) const TAB: char = '\u{E004}';
pub(crate) const ENTER: char = '\u{E007}';
pub(crate) const SPACE: char = ' ';

/// Number of times that Tab is pressed until an element should have the focus.
const MAX_TABS: usize = 200;
/// Time for an answer of the driver. The matrix takes seconds, many on a busy machine.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// A browser without a window. It ends with this value.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    /// The connection to the driver, which does not close it after an answer.
    connection: BufReader<TcpStream>,
    /// Path of the session at the driver.
    session: String,
    /// Cookies, cache and settings of the browser.
    profile: TempDir,
}

/// A line in the console of a page.
#[derive(Debug)]
pub(crate) struct ConsoleLine {
    pub(crate) level: String,
    pub(crate) message: String,
}

fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

impl Browser {
    /// Starts a browser; the error says what is missing.
    pub(crate) fn start() -> Result<Browser, String> {
        let mut driver = Command::new(program("CHROMEDRIVER", "chromedriver"))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("chromedriver does not start: {error}"))?;
        let output = BufReader::new(driver.stdout.take().unwrap());
        let started = output.lines().map_while(Result::ok).find_map(|line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let Some(port) = started else {
            let _ = driver.kill();
            let _ = driver.wait();
            return Err("chromedriver names no port".to_owned());
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(MAX_WAIT)).unwrap();
        let connection = BufReader::new(connection);
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser { driver, address, connection, session: String::new(), profile };
        let capabilities = browser.capabilities();
        let created = browser.ask("POST", "/session", &capabilities)?;
        browser.session = format!("/session/{}", created["sessionId"].as_str().unwrap());
        Ok(browser)
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut options = json!({
            "args": [
                "--headless",
                // Root, and most containers, cannot use the sandbox. The pages are our own.
                "--no-sandbox",
                "--disable-background-networking",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--hide-scrollbars",
                profile,
            ],
            "perfLoggingPrefs": { "enableNetwork": true, "enablePage": false },
        });
        if let Ok(binary) = std::env::var("CHROMIUM") {
            options["binary"] = json!(binary);
        }
        json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } })
    }

    /// Sends a command and returns its value, or the driver's error in words.
    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.connection.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.connection.read_line(&mut line).unwrap() > 0, "chromedriver closed the connection");
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{method} {path}: {error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    #[track_caller]
    fn post(&mut self, path: &str, body: &Value) -> Value {
        let path = format!("{}{path}", self.session);
        self.ask("POST", &path, body).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens a page and returns when it is loaded.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Returns the value of a function body.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Returns the value that a function body hands to `done`.
    #[track_caller]
    pub(crate) fn evaluate_later(&mut self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; {script}");
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Returns the URL of the page.
    #[track_caller]
    pub(crate) fn url(&mut self) -> String {
        self.evaluate("return location.href").as_str().unwrap().to_owned()
    }

    /// Returns the value of a cookie of the page, also of one that scripts cannot read.
    pub(crate) fn cookie(&mut self, name: &str) -> String {
        let path = format!("{}/cookie/{name}", self.session);
        let cookie = self.ask("GET", &path, &Value::Null).unwrap_or_else(|error| panic!("{error}"));
        cookie["value"].as_str().unwrap().to_owned()
    }

    /// Sends a command of the DevTools protocol.
    #[track_caller]
    fn command(&mut self, name: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    /// Sets the width of the page in CSS pixels, and the preferred colours.
    pub(crate) fn set_view(&mut self, width: u32, is_dark: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if is_dark { "dark" } else { "light" };
        // Without reduced motion, colours would be measured in the middle of a transition.
        let feature = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.command("Emulation.setEmulatedMedia", &feature);
    }

    /// Writes a picture of the whole page.
    pub(crate) fn save_picture(&mut self, file: &Path) {
        let picture = self.command("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        std::fs::write(file, BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    fn take_log(&mut self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": kind })).as_array().unwrap().clone()
    }

    /// Returns the lines of the console since the last call.
    pub(crate) fn take_console(&mut self) -> Vec<ConsoleLine> {
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let lines = self.take_log("browser");
        lines
            .iter()
            .map(|line| ConsoleLine { level: text(line, "level"), message: text(line, "message") })
            .collect()
    }

    /// Returns the URLs that pages requested since the last call. Those of the browser's own
    /// start page and of data in URLs, which leave nothing, are not among them.
    pub(crate) fn take_requests(&mut self) -> Vec<String> {
        let log = self.take_log("performance");
        let messages = log.iter().map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            message["message"].clone()
        });
        let urls = messages.filter_map(|message| match message["method"].as_str()? {
            "Network.requestWillBeSent" => {
                Some(message["params"]["request"]["url"].as_str().unwrap().to_owned())
            }
            "Network.webSocketCreated" => Some(message["params"]["url"].as_str().unwrap().to_owned()),
            _ => None,
        });
        urls.filter(|url| {
            !["chrome:", "chrome-untrusted:", "data:"].iter().any(|scheme| url.starts_with(scheme))
        })
        .collect()
    }

    /// Presses keys, one after another.
    #[track_caller]
    pub(crate) fn press(&mut self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Presses Tab until the element of a CSS selector has the focus.
    #[track_caller]
    pub(crate) fn tab_to(&mut self, selector: &str) {
        let focused = format!(
            "return document.activeElement !== null && document.activeElement.matches({})",
            json!(selector)
        );
        for _ in 0..MAX_TABS {
            if self.evaluate(&focused) == true {
                return;
            }
            self.press(&TAB.to_string());
        }
        panic!("{selector} cannot be reached with Tab");
    }

    /// Presses keys that lead to another page, and returns when it is loaded.
    #[track_caller]
    pub(crate) fn press_and_load(&mut self, keys: &str) {
        self.evaluate("document.documentElement.dataset.isLeft = 'yes'");
        self.press(keys);
        let session = format!("{}/execute/sync", self.session);
        let is_loaded =
            "return document.readyState === 'complete' && !document.documentElement.dataset.isLeft";
        wait(|| {
            // While the page is exchanged, there is nothing that could be asked.
            let answer = self.ask("POST", &session, &json!({ "script": is_loaded, "args": [] }));
            answer.is_ok_and(|is_loaded| is_loaded == true).then_some(())
        });
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty()
            && let Ok(mut stream) = TcpStream::connect(self.address)
        {
            // On a connection of its own: after a panic the other one may be in the middle of an answer.
            let request = format!("DELETE {} HTTP/1.1\r\nhost: {}\r\n\r\n", self.session, self.address);
            let _ = stream.set_read_timeout(Some(MAX_WAIT));
            let _ = stream.write_all(request.as_bytes());
            // The driver answers when the browser has ended.
            let _ = stream.read(&mut [0; 1]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
