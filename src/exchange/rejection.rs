//! A refusal with the details of its response.

use std::borrow::Cow;

use serde_json::Value;

use super::Refusal;
use super::upstream_fault::{ResponseError, UpstreamFault};

/// A refusal with the details that its response or the operator's log adds to the reason. No detail holds a value of
/// the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The reason.
    pub refusal: Refusal,
    /// The detail in place of the reason's usual one.
    pub detail: Option<Cow<'static, str>>,
    /// The fault of the upstream, for the operator's log.
    pub(crate) fault: Option<UpstreamFault>,
    /// Seconds after which the recipient may ask again.
    pub(crate) retry_after: Option<u32>,
    /// The methods that the path serves, for the `Allow` header.
    pub(crate) allow: Option<String>,
    /// The mapped members of the upstream's error. They are on record, and may leave at this moment.
    pub(crate) upstream: Option<Box<Value>>,
}

impl Rejection {
    /// A refusal with this detail in place of its usual one.
    pub fn new(refusal: Refusal, detail: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { detail: Some(detail.into()), ..Rejection::from(refusal) }
    }

    /// [`Refusal::RequestMalformed`], with the mistake and its correction.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection::new(Refusal::RequestMalformed, detail)
    }

    /// Adds the seconds after which the recipient may ask again.
    pub(crate) fn retry_after(self, seconds: Option<u32>) -> Rejection {
        Rejection { retry_after: seconds, ..self }
    }

    /// Adds the methods that the path serves.
    pub(crate) fn allow(self, methods: String) -> Rejection {
        Rejection { allow: Some(methods), ..self }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Rejection {
        Rejection { refusal, detail: None, fault: None, retry_after: None, allow: None, upstream: None }
    }
}

impl From<ResponseError> for Rejection {
    fn from(error: ResponseError) -> Rejection {
        Rejection { fault: error.fault, ..Rejection::from(error.refusal) }
    }
}

impl From<UpstreamFault> for Rejection {
    fn from(fault: UpstreamFault) -> Rejection {
        ResponseError::from(fault).into()
    }
}
