//! Errors as HTTP tells them: `application/problem+json` with our code, and a status by the
//! error's class. It never hides a fault's code behind a status.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::fault::{Class, Fault};

use crate::wire::ProblemBody;

/// A fault on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    fault: Box<Fault>,
    status: StatusCode,
}

/// The code of a response's problem, for the audit trail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProblemCode(pub(crate) &'static str);

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: &str, help: &str) -> Self {
        let class = match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Class::Usage,
            StatusCode::INTERNAL_SERVER_ERROR => Class::Failed,
            _ => Class::Refused,
        };
        Self {
            fault: Box::new(Fault::new(code, class, message).with_help(help)),
            status,
        }
    }

    pub(crate) fn unknown(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "SY6008",
            &format!("there is no {what}"),
            "what there is stands in /api/v1/openapi.json",
        )
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status = status_of(&fault);
        let fault = Box::new(fault);
        Self { fault, status }
    }
}

/// What of a request cannot be read, and why.
fn unreadable(what: &str, status: StatusCode, why: String) -> Problem {
    let fault = Fault::new("SY6009", Class::Usage, format!("{what} cannot be read"))
        .with_cause(why)
        .with_help("its form stands in /api/v1/openapi.json");
    let fault = Box::new(fault);
    Problem { fault, status }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        unreadable("the body", rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        unreadable("the path", rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        unreadable("the query", rejection.status(), rejection.body_text())
    }
}

/// Codes that say that what was named is not there.
const NOT_THERE: [&str; 3] = ["SY4005", "SY4006", "SY5005"];

/// The HTTP status of a fault.
pub(crate) fn status_of(fault: &Fault) -> StatusCode {
    if NOT_THERE.contains(&fault.code.0) {
        return StatusCode::NOT_FOUND;
    }
    match fault.class {
        Class::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Class::Usage => StatusCode::BAD_REQUEST,
        Class::Unhealthy | Class::Busy | Class::Interrupted => StatusCode::CONFLICT,
        Class::NotConverged => StatusCode::GATEWAY_TIMEOUT,
        Class::Unreachable => StatusCode::BAD_GATEWAY,
        Class::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.fault.code.0;
        let body = ProblemBody::new(&self.fault, self.status.as_u16());
        let mut response = (self.status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.extensions_mut().insert(ProblemCode(code));
        response
    }
}
