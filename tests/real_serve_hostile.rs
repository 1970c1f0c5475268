//! What a stranger may try on the API: each is refused, quickly, with nothing touched, and the
//! server goes on serving others.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::http::{Heard, ask};
use tests::{Served, Shardyard, wait_until};

const LIMIT: Duration = Duration::from_secs(90);

/// Longer than any refusal may take, and shorter than a test may hang.
const PATIENCE: Duration = Duration::from_secs(45);

/// Sends bytes as they are, and gives the status of what comes back; 0 where the connection ends
/// without a word.
fn status_of(address: &str, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be refused before all is sent.
    let _ = stream.write_all(bytes);
    let mut head = [0_u8; 15];
    match stream.read_exact(&mut head) {
        Ok(()) => String::from_utf8_lossy(&head[9..12]).parse().unwrap(),
        Err(error) => {
            let kind = error.kind();
            assert_ne!(kind, std::io::ErrorKind::WouldBlock, "it hangs: {error}");
            0
        }
    }
}

/// A request with these head lines, which has no body.
fn plain(address: &str, line: &str, head: &[&str]) -> Heard {
    let head: Vec<String> = head.iter().map(|it| (*it).to_owned()).collect();
    ask(address, line, &head, None)
}

fn serves(served: &Served) {
    let began = Instant::now();
    assert_eq!(served.ask("GET /api/v1/me", None).status, 200);
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn who_is_not_known_comes_in_by_no_way() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let secret = served.token("admin").remove(0);
    let token = secret.split_whitespace().last().unwrap();
    let list = "GET /api/v1/instances";
    assert_eq!(plain(&served.address, list, &[&secret]).status, 200);
    for head in [
        "Authorization: Bearer ",
        "Authorization: Bearer guessed",
        &format!("Authorization: Basic {token}"),
        &format!("Authorization: Bearer {token}x"),
        &format!("Cookie: shardyard_session={token}"),
        "Cookie: shardyard_session=; shardyard_session=guessed",
        "X-Forwarded-User: admin",
        "X-Forwarded-For: 127.0.0.1",
        "X-Original-URL: /api/v1/me",
    ] {
        let heard = plain(&served.address, list, &[head]);
        assert_eq!(heard.status, 401, "{head}: {heard:?}");
        assert!(!heard.body.contains(token));
    }
    // A token in an address would be in logs and histories.
    let heard = plain(&served.address, &format!("{list}?token={token}"), &[]);
    assert_eq!(heard.status, 401);
}

#[test]
fn pages_of_others_can_neither_look_nor_act() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let port = served.address.rsplit(':').next().unwrap();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
        "0".to_owned(),
        String::new(),
    ] {
        let head = [format!("Host: {host}")];
        let heard = ask(&served.address, "GET /healthz", &head, None);
        assert!([400, 421].contains(&heard.status), "{host}: {heard:?}");
    }
    let no_host = b"GET /healthz HTTP/1.1\r\n\r\n";
    assert!([400, 421].contains(&status_of(&served.address, no_host)));

    let cookie = served.login[0].as_str();
    let own = format!("Origin: http://{}", served.address);
    let act = "POST /api/v1/logout";
    for head in [
        [cookie, "Origin: http://evil.example"],
        [cookie, "Origin: null"],
        [cookie, "Content-Type: text/plain"],
        [cookie, "Sec-Fetch-Site: cross-site"],
        [cookie, "Sec-Fetch-Site: same-site"],
    ] {
        assert_eq!(plain(&served.address, act, &head).status, 403, "{head:?}");
    }
    // Events are a look, and a page of another origin may not have them either.
    let events = plain(
        &served.address,
        "GET /api/v1/events",
        &[cookie, "Origin: http://evil.example"],
    );
    assert_eq!(events.status, 403);
    for method in ["GET", "POST", "PUT"] {
        let heard = plain(
            &served.address,
            "OPTIONS /api/v1/instances",
            &[
                "Origin: http://evil.example",
                &format!("Access-Control-Request-Method: {method}"),
            ],
        );
        assert!(heard.status >= 400, "{heard:?}");
        assert!(!heard.head.contains("access-control-allow"), "{heard:?}");
    }
    // A form can send text, and no JSON.
    let form = [
        cookie,
        &own,
        "Content-Type: text/plain",
        "Content-Length: 2",
    ];
    let text = format!(
        "POST /api/v1/instances HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n{{}}",
        served.address,
        form.join("\r\n")
    );
    assert_eq!(status_of(&served.address, text.as_bytes()), 415);
    // What acts is never a GET.
    for path in ["logout", "instances/x/down", "instances/x/scale", "tokens"] {
        let heard = served.ask(&format!("GET /api/v1/{path}"), None);
        assert!([404, 405].contains(&heard.status), "{path}: {heard:?}");
    }
    serves(&served);
}

#[test]
fn it_listens_on_this_host_alone_unless_it_speaks_tls() {
    let shardyard = Shardyard::new();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let ran = shardyard.run(&["serve", "--listen", listen]);
        assert_eq!(ran.code, 6, "{listen}: {}", ran.stderr);
        assert!(ran.stderr.contains("SY6016"), "{}", ran.stderr);
    }
    let help = shardyard.run(&["serve", "--help"]).stdout;
    assert!(help.contains("[default: 127.0.0.1:7470]"), "{help}");
}

#[test]
fn what_is_too_much_too_slow_or_malformed_harms_nobody_else() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let address = served.address.as_str();
    let login = served.login.join("\r\n");
    let request = |line: &str, head: &str, body: &str| {
        let text = format!("{line} HTTP/1.1\r\nHost: {address}\r\n{login}\r\n{head}\r\n\r\n{body}");
        status_of(address, text.as_bytes())
    };
    let json = "Content-Type: application/json\r\nConnection: close";
    let sized = |body: &str| format!("{json}\r\nContent-Length: {}", body.len());

    // Who says that much is sent is refused by that alone.
    let huge = format!("{json}\r\nContent-Length: 1073741824");
    assert_eq!(request("POST /api/v1/instances", &huge, "{"), 413);
    let long = "x".repeat(3 << 20);
    let body = format!("{{\"name\":\"{long}\"}}");
    assert_eq!(request("POST /api/v1/instances", &sized(&body), &body), 413);
    let deep = "[".repeat(100_000);
    let status = request("POST /api/v1/instances", &sized(&deep), &deep);
    assert!((400..=422).contains(&status), "{status}");
    for body in [
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"name\":\"a\",\"unknown\":1}",
        "{\"name\":1}",
        "{",
        "",
        "\u{feff}{}",
    ] {
        let status = request("POST /api/v1/instances", &sized(body), body);
        assert!((400..=422).contains(&status), "{body}: {status}");
    }
    let packed = format!("{}\r\nContent-Encoding: gzip", sized("{}"));
    let status = request("POST /api/v1/instances", &packed, "{}");
    assert!((400..=422).contains(&status), "{status}");
    // One message that two readers would cut at two places.
    let both = format!("{json}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked");
    let status = request(
        "POST /api/v1/lint",
        &both,
        "0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    );
    assert!((400..=422).contains(&status), "{status}");
    let heads = "X-Many: 1\r\n".repeat(100_000);
    let status = request("GET /api/v1/me", heads.trim_end(), "");
    assert!([0, 400, 431].contains(&status), "{status}");
    assert_eq!(request("GET /api/v1/me", "A: b\rC: d", ""), 400);
    serves(&served);

    for path in [
        "instances/..%2f..%2fetc",
        "instances/%00",
        "instances/a%0d%0aSet-Cookie:%20x=1",
        "instances/../../etc/passwd",
        "templates/..%2f..%2fetc%2fpasswd",
        "templates/%2fetc%2fpasswd",
        "operations/..%2f..",
        "instances/%3Cscript%3E",
        "//etc/passwd",
    ] {
        let heard = served.ask(&format!("GET /api/v1/{path}"), None);
        assert!((400..500).contains(&heard.status), "{path}: {heard:?}");
        assert!(!heard.head.contains("x=1"), "{heard:?}");
        assert!(heard.head.contains("nosniff"), "{heard:?}");
        assert!(heard.head.contains("application/problem+json"), "{heard:?}");
    }
    for path in [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/assets/../../x",
    ] {
        let heard = served.ask(&format!("GET {path}"), None);
        assert!(!heard.body.contains("root:"), "{path}: {heard:?}");
    }
    serves(&served);
}

#[test]
fn who_never_finishes_a_request_holds_up_nobody_and_is_cut_off() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(&served.address).unwrap();
            stream
                .write_all(b"GET /api/v1/me HTTP/1.1\r\nHost: ")
                .unwrap();
            stream
        })
        .collect();
    serves(&served);
    for stream in &mut slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok(), "it is still open: {ended:?}");
    }
}

#[test]
fn of_fifty_who_make_the_same_instance_one_does_and_no_answer_has_its_password() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let name = shardyard.name();
    let body = json!({ "name": name, "engine": "process" });
    let answers: Vec<Heard> = thread::scope(|scope| {
        let make = || served.ask("POST /api/v1/instances", Some(&body));
        let all: Vec<_> = (0..50).map(|_| scope.spawn(make)).collect();
        all.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let begun: Vec<&Heard> = answers.iter().filter(|it| it.status == 202).collect();
    assert_eq!(begun.len(), 1, "{answers:?}");
    let busy = answers.iter().filter(|it| it.json()["code"] == "SY4004");
    assert_eq!(busy.count(), 49, "{answers:?}");
    let id = begun[0].json()["id"].as_str().unwrap().to_owned();
    let get = format!("GET /api/v1/operations/{id}");
    wait_until("it is there", LIMIT, || {
        served.ok(&get, None)["state"] != "running"
    });
    let ended = served.ok(&get, None);
    assert_eq!(ended["state"], "done", "{ended}");

    let secret = shardyard
        .home()
        .join("instances")
        .join(name)
        .join("secrets/PASSWORD");
    let secret = fs::read_to_string(secret).unwrap();
    let secret = secret.trim();
    assert!(secret.len() > 10);
    let contract = served.ok("GET /api/v1/openapi.json", None);
    for (path, methods) in contract["paths"].as_object().unwrap() {
        let streams = path.ends_with("/events") || path.ends_with("/follow");
        if methods["get"] == Value::Null || streams {
            continue;
        }
        let path = path
            .replace("/templates/{name}", "/templates/redis-cluster")
            .replace("{name}", name)
            .replace("{workload}", "redis-1")
            .replace("{id}", &id);
        let heard = served.ask(&format!("GET {path}"), None);
        assert_eq!(heard.status, 200, "{path}: {heard:?}");
        assert!(!heard.body.contains(secret), "{path} shows the password");
    }

    // Deleted while it grows: whoever comes second is told who is at work.
    let instance = format!("/api/v1/instances/{name}");
    let wish = json!({ "shards": 4 });
    let grows = served.ok(&format!("POST {instance}/scale"), Some(&wish));
    let delete = json!({ "delete_data": true, "confirm": name });
    let heard = served.ask(&format!("POST {instance}/down"), Some(&delete));
    assert_eq!(
        (heard.status, heard.json()["code"].as_str()),
        (409, Some("SY4004"))
    );
    let get = format!("GET /api/v1/operations/{}", grows["id"].as_str().unwrap());
    wait_until("it has grown", LIMIT, || {
        served.ok(&get, None)["state"] != "running"
    });
    assert_eq!(served.ok(&get, None)["state"], "done");
    served.done(&format!("POST {instance}/down"), &delete);
}
