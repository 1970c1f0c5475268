//! Who comes in and who may: login, logout, users, tokens.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;

use super::{Answer, Path};
use crate::accounts::SESSION_SECONDS;
use crate::door::{Admin, Viewer, cookie, set_cookie};
use crate::problem::Problem;
use crate::server::Server;
use crate::wire::{LoginBody, Me, Role, TokenBody, TokenMade, UserBody, UserList};

/// The shortest and the longest password, and the longest name.
const PASSWORD_MIN: usize = 12;
const PASSWORD_MAX: usize = 256;
const NAME_MAX: usize = 64;

/// Who the holder of the one-time token is.
const FIRST_USER: &str = "admin";

pub(super) async fn login(
    State(server): State<Arc<Server>>,
    body: Result<Json<LoginBody>, JsonRejection>,
) -> Answer<impl IntoResponse> {
    let Json(body) = body?;
    let name = body.user.clone().unwrap_or_default();
    if !server.attempts.begin(&name, Instant::now()) {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "SY6004",
            "too many logins failed within a minute",
            "try again in a minute",
        ));
    }
    let checked = {
        let server = server.clone();
        tokio::task::spawn_blocking(move || check(&server, &body)).await
    };
    let me = checked.map_err(|_| wrong())??;
    server.attempts.succeeded(&name);
    let secret = server.accounts.begin(&me.user)?;
    let cookie = set_cookie(&secret, SESSION_SECONDS, server.tls.is_some());
    Ok(([(header::SET_COOKIE, cookie)], Json(me)))
}

fn check(server: &Server, body: &LoginBody) -> Answer<Me> {
    match (&body.token, &body.user, &body.password) {
        (Some(token), None, None) if server.takes_first(token) => {
            let me = Me {
                user: FIRST_USER.to_owned(),
                role: Role::Admin,
            };
            server.accounts.put(&me, None)?;
            Ok(me)
        }
        (None, Some(user), Some(password)) if password.len() <= PASSWORD_MAX => {
            server.accounts.check(user, password)?.ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn wrong() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "SY6003",
        "the name, the password or the token is wrong",
        "the one-time token counts once; while nobody has a password, a new start prints another",
    )
}

pub(super) async fn logout(
    State(server): State<Arc<Server>>,
    _: Viewer,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let is_tls = server.tls.is_some();
    if let Some(secret) = cookie(&headers, is_tls) {
        server.accounts.end(secret)?;
    }
    let gone = set_cookie("", 0, is_tls);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]))
}

pub(super) async fn me(Viewer(me): Viewer) -> Json<Me> {
    Json(me)
}

pub(super) async fn users(State(server): State<Arc<Server>>, _: Admin) -> Answer<Json<UserList>> {
    let users = server.accounts.users()?;
    Ok(Json(UserList { users }))
}

pub(super) async fn put_user(
    State(server): State<Arc<Server>>,
    Admin(admin): Admin,
    Path(user): Path<String>,
    body: Result<Json<UserBody>, JsonRejection>,
) -> Answer<Json<Me>> {
    let Json(body) = body?;
    must_be_name(&user)?;
    if user == admin.user && body.role != Role::Admin {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "SY6014",
            "an admin cannot give up the role: nobody might be left who can give it",
            "another admin can take it",
        ));
    }
    let length = body.password.len();
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&length) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "SY6014",
            &format!("a password has {PASSWORD_MIN} to {PASSWORD_MAX} bytes"),
            "some words of your own are best",
        ));
    }
    let me = Me {
        user,
        role: body.role,
    };
    let kept = {
        let (server, me) = (server.clone(), me.clone());
        tokio::task::spawn_blocking(move || server.accounts.put(&me, Some(&body.password))).await
    };
    kept.map_err(|_| wrong())??;
    Ok(Json(me))
}

fn must_be_name(name: &str) -> Answer<()> {
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | '@');
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "SY6014",
        "a name has 1 to 64 letters, digits and - _ . @",
        "choose another",
    ))
}

pub(super) async fn make_token(
    State(server): State<Arc<Server>>,
    Viewer(me): Viewer,
    body: Result<Json<TokenBody>, JsonRejection>,
) -> Answer<impl IntoResponse> {
    let Json(body) = body?;
    must_be_name(&body.name)?;
    let role = body.role.min(me.role);
    let token = server.accounts.make_token(&me.user, &body.name, role)?;
    Ok((StatusCode::CREATED, Json(TokenMade { token })))
}
