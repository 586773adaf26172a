//! Traces, to where OpenTelemetry's variables say (OpenTelemetry specification, "OTLP Exporter Configuration").

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::{Method, Request};
use serde_json::Value;
use url::Url;

use crate::http;
use crate::promotion::untrusted::line;

/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go.
#[derive(Clone)]
pub struct Collector {
    url: Url,
    headers: HeaderMap,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    /// The collector that the environment names: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` as it is, or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` with `v1/traces`; the headers of `OTEL_EXPORTER_OTLP_TRACES_HEADERS` or
    /// `OTEL_EXPORTER_OTLP_HEADERS`. None where it names none, or `OTEL_SDK_DISABLED` is `true`.
    ///
    /// # Errors
    /// Why the address or a header cannot be used.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        if variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let url = match (variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), variable("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(whole), _) => whole,
            (None, Some(base)) => format!("{}/v1/traces", base.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        let url = Url::parse(&url).map_err(|error| format!("the OTLP endpoint is not an address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the OTLP endpoint does not begin with `http://` or `https://`".to_owned());
        }
        let text = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
        let mut headers = HeaderMap::new();
        for pair in text.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("a header for OTLP is not `name=value`")?;
            // Percent-encoded, as in W3C baggage.
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "a header for OTLP has no name")?;
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| format!("the header {name} for OTLP cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Some(Self { url, headers }))
    }

    /// Sends a trace, once: a lost trace is no reason to wait.
    ///
    /// # Errors
    /// Why the collector does not have it.
    pub async fn send(&self, trace: &Value) -> Result<(), String> {
        let client = http::builder().timeout(TIMEOUT).build().map_err(|error| error.without_url().to_string())?;
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(::http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(trace.to_string().into());
        let answer = http::execute(&client, request).await.map_err(|error| format!("it cannot be reached: {error}"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&http::excerpt(answer, 1024).await).into_owned();
        Err(format!("it answers {status}: {}", line(&said, 200)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_are_read_as_specified() {
        let of = |variables: &[(&str, &str)]| {
            let variables: Vec<(String, String)> =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Collector::of(&move |wanted| {
                variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
            })
        };
        assert!(of(&[]).unwrap().is_none());
        let base = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi, x-tenant=a+b"),
        ]);
        let base = base.unwrap().unwrap();
        assert_eq!(base.url.as_str(), "http://collector:4318/v1/traces");
        assert_eq!(
            (&base.headers["authorization"], &base.headers["x-tenant"]),
            (&"Basic YTpi".parse().unwrap(), &"a+b".parse().unwrap())
        );
        let whole = of(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/x")]).unwrap().unwrap();
        assert_eq!(whole.url.as_str(), "http://collector/x");
        assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]).is_err());
        let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a/"), ("OTEL_SDK_DISABLED", "true")];
        assert!(of(&off).unwrap().is_none());
    }
}
