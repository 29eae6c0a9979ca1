//! Reads the settings of traces from the environment, by the names of OpenTelemetry's specification.
//!
//! An empty variable counts as unset. A value that cannot be used is an error: a gateway that traces otherwise than its
//! operator believes would be found out late. Errors name the variable and do not quote its value, which can be a secret.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use crate::gateway::http_client::HttpUrl;
use crate::traces::{Sampler, UnknownSampler};

/// The path of traces below `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_PATH: &str = "/v1/traces";

/// The one protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// Defaults of the specification.
const DEFAULT_TIMEOUT: u64 = 10_000;
const DEFAULT_QUEUE: u64 = 2048;
const DEFAULT_BATCH: u64 = 512;
const DEFAULT_DELAY: u64 = 5000;

/// Maximum number of exchanges in the queue.
const MAX_QUEUE: u64 = 1 << 16;

/// Maximum of times, in milliseconds.
const MAX_TIME: u64 = 10 * 60 * 1000;

/// The variables that are read. `OTEL_EXPORTER_OTLP_TRACES_…` precedes `OTEL_EXPORTER_OTLP_…`.
pub const VARIABLES: &[&str] = &[
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
];

/// How traces are made, and where they go.
#[derive(Clone)]
pub(in crate::gateway) struct TraceSettings {
    /// URL to which spans are sent.
    pub(in crate::gateway) endpoint: HttpUrl,
    /// Header fields of each request.
    pub(in crate::gateway) headers: Vec<(HeaderName, HeaderValue)>,
    /// PEM file with the authorities of the collector; `None`: those that the system trusts.
    pub(in crate::gateway) certificate: Option<PathBuf>,
    /// PEM files with the certificate and the key that the gateway shows.
    pub(in crate::gateway) identity: Option<(PathBuf, PathBuf)>,
    /// True if requests are compressed.
    pub(in crate::gateway) gzip: bool,
    /// Time for a request.
    pub(in crate::gateway) timeout: Duration,
    /// The attributes of this process.
    pub(in crate::gateway) resource: Vec<(String, String)>,
    /// Which exchanges are traced.
    pub(in crate::gateway) sampler: Sampler,
    /// Maximum number of exchanges that wait.
    pub(in crate::gateway) queue: usize,
    /// Maximum number of exchanges in a request.
    pub(in crate::gateway) batch: usize,
    /// Maximum time for which an exchange waits for others.
    pub(in crate::gateway) delay: Duration,
}

/// Omits the header fields, which can hold a secret.
impl std::fmt::Debug for TraceSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceSettings")
            .field("endpoint", &self.endpoint.authority())
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

/// A variable of the environment that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} cannot be used: {reason}")]
pub struct TraceSettingsError {
    /// The variable.
    pub variable: String,
    /// The reason.
    pub reason: String,
}

impl TraceSettings {
    /// Reads the settings; `None` if traces are off. `variable` returns the value of a variable of the environment; `gateway`
    /// is this gateway's name.
    ///
    /// # Errors
    /// [`TraceSettingsError`]: the first variable that cannot be used.
    pub(in crate::gateway) fn read(
        variable: impl Fn(&str) -> Option<String>,
        gateway: &str,
    ) -> Result<Option<TraceSettings>, TraceSettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let environment = ExporterVariables(&variable);
        if environment.is_off()? {
            return Ok(None);
        }
        let Some(endpoint) = environment.endpoint()? else { return Ok(None) };
        environment.check_protocol()?;
        let queue = environment.number("OTEL_BSP_MAX_QUEUE_SIZE", DEFAULT_QUEUE, MAX_QUEUE)?;
        let batch = environment.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", DEFAULT_BATCH, MAX_QUEUE)?;
        let delay = environment.number("OTEL_BSP_SCHEDULE_DELAY", DEFAULT_DELAY, MAX_TIME)?;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Some(TraceSettings {
            endpoint,
            headers: environment.headers()?,
            certificate: environment.of_exporter("CERTIFICATE").map(|(_, path)| path.into()),
            identity: environment.identity()?,
            gzip: environment.gzip()?,
            timeout: environment.timeout()?,
            resource: environment.resource(gateway)?,
            sampler: environment.sampler()?,
            queue: size(queue),
            batch: size(batch.min(queue)),
            delay: Duration::from_millis(delay),
        }))
    }
}

/// The variables that are not empty.
struct ExporterVariables<'e>(&'e dyn Fn(&str) -> Option<String>);

fn unusable(variable: &str, reason: impl ToString) -> TraceSettingsError {
    TraceSettingsError { variable: variable.to_owned(), reason: reason.to_string() }
}

impl ExporterVariables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    /// Returns name and value of a setting of the exporter: that for traces, or else that for every signal.
    fn of_exporter(&self, setting: &str) -> Option<(String, String)> {
        ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"].into_iter().find_map(|prefix| {
            let name = format!("{prefix}{setting}");
            self.get(&name).map(|value| (name, value))
        })
    }

    fn is_off(&self) -> Result<bool, TraceSettingsError> {
        let is_disabled =
            self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match self.get("OTEL_TRACES_EXPORTER").as_deref() {
            _ if is_disabled => Ok(true),
            Some("none") => Ok(true),
            Some("otlp") | None => Ok(false),
            Some(_) => Err(unusable("OTEL_TRACES_EXPORTER", "it is neither `otlp` nor `none`")),
        }
    }

    fn endpoint(&self) -> Result<Option<HttpUrl>, TraceSettingsError> {
        let Some((name, mut url)) = self.of_exporter("ENDPOINT") else { return Ok(None) };
        if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
            url = format!("{}{TRACES_PATH}", url.trim_end_matches('/'));
        }
        url.parse().map(Some).map_err(|error| unusable(&name, error))
    }

    fn check_protocol(&self) -> Result<(), TraceSettingsError> {
        match self.of_exporter("PROTOCOL") {
            Some((name, protocol)) if protocol != PROTOCOL => {
                Err(unusable(&name, format!("only `{PROTOCOL}` is supported")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, TraceSettingsError> {
        let Some((variable, list)) = self.of_exporter("HEADERS") else { return Ok(Vec::new()) };
        let field = |(name, value): (String, String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        let fields = pairs(&list).and_then(|pairs| pairs.into_iter().map(field).collect::<Option<_>>());
        fields.ok_or_else(|| unusable(&variable, "it is not a list `name=value,name=value` of header fields"))
    }

    fn identity(&self) -> Result<Option<(PathBuf, PathBuf)>, TraceSettingsError> {
        match (self.of_exporter("CLIENT_CERTIFICATE"), self.of_exporter("CLIENT_KEY")) {
            (Some((_, certificate)), Some((_, key))) => Ok(Some((certificate.into(), key.into()))),
            (None, None) => Ok(None),
            (Some((name, _)), None) | (None, Some((name, _))) => {
                Err(unusable(&name, "certificate and key belong together, and one is missing"))
            }
        }
    }

    fn gzip(&self) -> Result<bool, TraceSettingsError> {
        match self.of_exporter("COMPRESSION") {
            None => Ok(false),
            Some((name, value)) => match value.as_str() {
                "gzip" => Ok(true),
                "none" => Ok(false),
                _ => Err(unusable(&name, "it is neither `gzip` nor `none`")),
            },
        }
    }

    fn timeout(&self) -> Result<Duration, TraceSettingsError> {
        let milliseconds = match self.of_exporter("TIMEOUT") {
            Some((name, _)) => self.number(&name, DEFAULT_TIMEOUT, MAX_TIME)?,
            None => DEFAULT_TIMEOUT,
        };
        Ok(Duration::from_millis(milliseconds))
    }

    fn resource(&self, gateway: &str) -> Result<Vec<(String, String)>, TraceSettingsError> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let given = self.get(ATTRIBUTES).unwrap_or_default();
        let mut resource = pairs(&given).ok_or_else(|| {
            unusable(ATTRIBUTES, "it is not a list `key=value,key=value` with percent-encoding")
        })?;
        let mut own = vec![
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", gateway.to_owned()),
            ("telemetry.sdk.name", "purposegate".to_owned()),
            ("telemetry.sdk.language", "rust".to_owned()),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        match self.get("OTEL_SERVICE_NAME") {
            Some(name) => {
                resource.retain(|(key, _)| key != "service.name");
                own.push(("service.name", name));
            }
            None => own.push(("service.name", "purposegate".to_owned())),
        }
        for (key, value) in own {
            if !resource.iter().any(|(given, _)| given == key) {
                resource.push((key.to_owned(), value));
            }
        }
        Ok(resource)
    }

    fn sampler(&self) -> Result<Sampler, TraceSettingsError> {
        let name = self.get("OTEL_TRACES_SAMPLER");
        let argument = self.get("OTEL_TRACES_SAMPLER_ARG");
        let sampler = Sampler::named(name.as_deref().unwrap_or("parentbased_always_on"), argument.as_deref());
        sampler.map_err(|error| match error {
            UnknownSampler::Name => unusable("OTEL_TRACES_SAMPLER", error),
            UnknownSampler::Ratio => unusable("OTEL_TRACES_SAMPLER_ARG", error),
        })
    }

    /// Returns a number from 1 to `max`.
    fn number(&self, name: &str, default: u64, max: u64) -> Result<u64, TraceSettingsError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.trim().parse::<u64>().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| unusable(name, format!("it is not a number from 1 to {max}")))
    }
}

/// Reads `key=value,key=value` with percent-encoded values (W3C Baggage). `None` if a member has another form.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let members = list.split(',').map(str::trim).filter(|member| !member.is_empty());
    let pair = |member: &str| {
        let (key, value) = member.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        let value = percent_decode_str(value).decode_utf8().ok()?;
        (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
    };
    members.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, TraceSettingsError> {
        for (name, _) in variables {
            assert!(VARIABLES.contains(name), "{name}");
        }
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        TraceSettings::read(value, "gateway-1")
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn with(variables: &[(&str, &str)]) -> TraceSettings {
        read(&[&[ENDPOINT], variables].concat()).unwrap().unwrap()
    }

    #[test]
    fn traces_are_off_without_an_endpoint_and_where_they_are_switched_off() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none(), "empty is unset");
        assert!(read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap().is_none(), "for others");
        assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]).unwrap().is_some());
    }

    #[test]
    fn the_endpoint_of_traces_is_used_as_it_is() {
        assert_eq!(with(&[]).endpoint.to_string(), "http://collector:4318/v1/traces");
        let base = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/")]).unwrap().unwrap();
        assert_eq!(base.endpoint.to_string(), "https://c/otlp/v1/traces");
        let own = with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/spans")]);
        assert_eq!(own.endpoint.to_string(), "https://other/spans");
    }

    #[test]
    fn settings_have_the_defaults_and_names_of_the_specification() {
        let plain = with(&[]);
        assert_eq!((plain.queue, plain.batch, plain.gzip), (2048, 512, false));
        assert_eq!((plain.timeout, plain.delay), (Duration::from_secs(10), Duration::from_secs(5)));
        let attribute = |settings: &TraceSettings, key: &str| {
            let found: Vec<_> = settings.resource.iter().filter(|(known, _)| known == key).collect();
            assert_eq!(found.len(), 1, "{key}");
            found[0].1.clone()
        };
        assert_eq!(attribute(&plain, "service.name"), "purposegate");
        assert_eq!(attribute(&plain, "service.instance.id"), "gateway-1");
        let set = with(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic%20c2VjcmV0, x-tenant = a"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=pr%C3%BCf"),
            ("OTEL_SERVICE_NAME", "gate"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]);
        assert_eq!(
            (set.queue, set.batch, set.gzip),
            (100, 100, true),
            "a batch is not larger than the queue"
        );
        assert_eq!((set.timeout, set.delay), (Duration::from_millis(500), Duration::from_millis(50)));
        let fields: Vec<_> =
            set.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("authorization", &b"Basic c2VjcmV0"[..]), ("x-tenant", b"a")]);
        assert_eq!(attribute(&set, "service.name"), "gate");
        assert_eq!(attribute(&set, "deployment.environment.name"), "prüf");
        assert!(!format!("{set:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_an_error_that_does_not_quote_it() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://secret@collector"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "secret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "secret.pem"),
            ("OTEL_RESOURCE_ATTRIBUTES", "secret"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "65537"),
        ] {
            let error = read(&[(name, value), ENDPOINT]).unwrap_err();
            assert_eq!(error.variable, name);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let sampled = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        let error = read(&[&[ENDPOINT], &sampled[..]].concat()).unwrap_err();
        assert_eq!(error.variable, "OTEL_TRACES_SAMPLER_ARG");
    }
}
