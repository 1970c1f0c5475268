//! The console: the files that `make console` builds, out of the binary. Where it was built without
//! them, a page says how to get them. It serves nothing from the disk.

use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/console"]
struct Files;

const INDEX: &str = "index.html";

/// The page where the binary holds no console.
const WITHOUT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Shardyard</title>\
    <h1>Shardyard</h1><p>The API runs: <a href=/api/v1/openapi.json>/api/v1/openapi.json</a>.\
    <p>This binary was built without the console. \
    Build it with Node 20: \
    <code>make console</code>, then build the binary again.</html>\n";

/// Gives a file of the console; a path that is none is a page of its own, made by the console.
pub(crate) async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let named = if path.is_empty() { INDEX } else { path };
    if let Some(file) = Files::get(named) {
        return given(named, file.data.into_owned());
    }
    // A missing script must not be answered by a page.
    if path.starts_with("assets/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    match Files::get(INDEX) {
        Some(file) => given(INDEX, file.data.into_owned()),
        None => Html(WITHOUT).into_response(),
    }
}

fn given(name: &str, data: Vec<u8>) -> Response {
    // Files under assets/ have their content's hash in their name.
    let caching = if name.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, kind(name)),
        (header::CACHE_CONTROL, caching),
    ];
    (headers, data).into_response()
}

/// The type of a file, by the end of its name.
fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
