//! The door: who comes in. Host and Origin are checked before anything else, then who asks; each
//! handler says by its argument which role it needs. What changes something is noted.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::operations::now;
use crate::problem::{Problem, ProblemCode};
use crate::server::Server;
use crate::serving::whole;
use crate::wire::{AuditEntry, Me, Role};

/// The name of the session's cookie. Over TLS it is one that a browser takes from this very host
/// alone, and from it over TLS alone.
const fn cookie_name(is_tls: bool) -> &'static str {
    if is_tls {
        "__Host-shardyard_session"
    } else {
        "shardyard_session"
    }
}

/// The instance that a request was about, where its path does not say it.
#[derive(Clone, Debug)]
pub(crate) struct About(pub(crate) String);

/// What a request did, where its path does not say it.
#[derive(Clone, Debug)]
pub(crate) struct Did(pub(crate) String);

/// Of a request that only looked, whatever its method: it is not noted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked;

/// Lets in, or not; then tells browsers what they must not do.
pub(crate) async fn guard(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let what = format!("{} {}", request.method(), request.uri().path());
    let named = instance_of(request.uri().path());
    let (who, response) = match enter(&server, request.headers(), changes) {
        Err(problem) => (None, problem.into_response()),
        Ok(me) => {
            if let Some(me) = &me {
                request.extensions_mut().insert(me.clone());
            }
            let response = match whole(request, me.as_ref()).await {
                Ok(request) => next.run(request).await,
                Err(problem) => problem.into_response(),
            };
            (me, response)
        }
    };
    if changes && response.extensions().get::<Looked>().is_none() {
        note(&server, who, named, what, &response);
    }
    with_headers(response, server.tls.is_some())
}

fn note(
    server: &Server,
    who: Option<Me>,
    named: Option<String>,
    what: String,
    response: &Response,
) {
    let about = response.extensions().get::<About>().map(|it| it.0.clone());
    let what = match response.extensions().get::<Did>() {
        Some(did) => format!("{what}: {}", did.0),
        None => what,
    };
    let outcome = match response.extensions().get::<ProblemCode>() {
        Some(code) => format!("{} {}", response.status().as_u16(), code.0),
        None => response.status().as_u16().to_string(),
    };
    // Who could not be noted was still answered: the work may be done already.
    let _ = server.accounts.note(&AuditEntry {
        at: now(),
        user: who.map_or_else(|| "-".to_owned(), |me| me.user),
        instance: named.or(about),
        what,
        outcome,
    });
}

fn instance_of(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/api/v1/instances/")?;
    rest.split('/').next().map(str::to_owned)
}

fn enter(server: &Server, headers: &HeaderMap, changes: bool) -> Result<Option<Me>, Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|it| it.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !server.is_ours(host) {
        // A name that an attacker's DNS leads to us is not ours, whatever it resolves to.
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "SY6005",
            "the request is for another host",
            "ask by the address that it listens on, or start it with --allow-host NAME",
        ));
    }
    let origin = headers.get(header::ORIGIN).map(HeaderValue::to_str);
    let is_ours = |origin: &str| {
        // A proxy before us may speak TLS; where we do, nobody else does it for us.
        let in_clear = origin.strip_prefix("http://");
        let in_clear = in_clear.filter(|_| server.tls.is_none());
        let rest = in_clear.or_else(|| origin.strip_prefix("https://"));
        rest.is_some_and(|it| it.eq_ignore_ascii_case(host))
    };
    match origin {
        Some(Ok(origin)) if is_ours(origin) => {}
        Some(_) => return Err(foreign()),
        None => {}
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && changes
        && site != "same-origin"
        && site != "none"
    {
        return Err(foreign());
    }
    if let Some(token) = text(header::AUTHORIZATION).and_then(|it| it.strip_prefix("Bearer ")) {
        return Ok(server.accounts.of_token(token)?);
    }
    match cookie(headers, server.tls.is_some()) {
        None => Ok(None),
        // Every browser sends Origin with what changes something.
        Some(_) if changes && origin.is_none() => Err(foreign()),
        Some(secret) => Ok(server.accounts.of_session(secret)?),
    }
}

/// What makes a browser keep a session's secret for so many seconds; none is kept for 0.
pub(crate) fn set_cookie(secret: &str, seconds: i64, is_tls: bool) -> String {
    let name = cookie_name(is_tls);
    let secure = if is_tls { "; Secure" } else { "" };
    format!("{name}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}

/// The session's secret.
pub(crate) fn cookie(headers: &HeaderMap, is_tls: bool) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(';'))
        .filter_map(|it| it.trim().split_once('='))
        .find(|(name, _)| *name == cookie_name(is_tls))
        .map(|(_, secret)| secret)
}

fn foreign() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "SY6006",
        "the request comes from a page of another origin",
        "scripts use a token: Authorization: Bearer TOKEN",
    )
}

/// What browsers must not do with our answers. Styles within a page are refused like scripts are:
/// the console sets its own through the object model, which no policy forbids.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// For how long a browser that has been here speaks TLS only: half a year.
const TLS_ONLY: &str = "max-age=15768000";

fn with_headers(mut response: Response, is_tls: bool) -> Response {
    let headers = response.headers_mut();
    if is_tls {
        let only = HeaderValue::from_static(TLS_ONLY);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, only);
    }
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A user that may look.
#[derive(Debug)]
pub(crate) struct Viewer(pub(crate) Me);
/// A user that may change instances.
#[derive(Debug)]
pub(crate) struct Operator(pub(crate) Me);
/// A user that may say who may what.
#[derive(Debug)]
pub(crate) struct Admin(pub(crate) Me);

fn must_be(parts: &Parts, role: Role) -> Result<Me, Problem> {
    let Some(me) = parts.extensions.get::<Me>() else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "SY6001",
            "nobody is logged in",
            "POST /api/v1/login, or send a token: Authorization: Bearer TOKEN",
        ));
    };
    must_have(me, role)?;
    Ok(me.clone())
}

/// Whether a user has a role.
pub(crate) fn must_have(me: &Me, role: Role) -> Result<(), Problem> {
    if me.role >= role {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "SY6002",
        &format!("{} may not do this", me.user),
        "an admin gives roles: PUT /api/v1/users/NAME",
    ))
}

macro_rules! needs {
    ($($name:ident),*) => {$(
        impl FromRequestParts<Arc<Server>> for $name {
            type Rejection = Problem;

            async fn from_request_parts(
                parts: &mut Parts,
                _: &Arc<Server>,
            ) -> Result<Self, Problem> {
                must_be(parts, Role::$name).map(Self)
            }
        }
    )*};
}

needs!(Viewer, Operator, Admin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_tls_a_session_is_for_tls_and_this_host_alone() {
        let clear = set_cookie("secret", 5, false);
        assert_eq!(
            clear,
            "shardyard_session=secret; HttpOnly; SameSite=Strict; Path=/; Max-Age=5"
        );
        let secure = set_cookie("secret", 5, true);
        assert!(secure.starts_with("__Host-shardyard_session=secret; "));
        assert!(secure.ends_with("; Secure"), "{secure}");
        let mut headers = HeaderMap::new();
        let sent = HeaderValue::from_static("a=b; __Host-shardyard_session=secret");
        headers.insert(header::COOKIE, sent);
        assert_eq!(cookie(&headers, true), Some("secret"));
        assert_eq!(cookie(&headers, false), None);
        let only = |is_tls| {
            let response = with_headers(Response::default(), is_tls);
            let head = response.headers().get(header::STRICT_TRANSPORT_SECURITY);
            head.is_some()
        };
        assert!(only(true) && !only(false));
    }

    #[test]
    fn no_page_may_hold_a_script_or_a_style_or_ask_another_origin() {
        let (_, policy) = HEADERS
            .iter()
            .find(|it| it.0.starts_with("content-"))
            .unwrap();
        let parts: Vec<&str> = policy.split(';').map(str::trim).collect();
        assert!(parts.contains(&"default-src 'self'"), "{policy}");
        for part in parts {
            let sources: Vec<&str> = part.split_whitespace().skip(1).collect();
            for source in sources {
                assert!(["'self'", "'none'", "data:"].contains(&source), "{part}");
            }
        }
    }
}
