//! `shardyard serve` on real servers: who comes in, and an instance's life through the API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::http::{ask, send};
use tests::{Client, Served, Shardyard, kill, wait_until};

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn each_route_asks_for_its_role_and_for_no_less() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let contract = served.ok("GET /api/v1/openapi.json", None);
    let ranks = ["none", "viewer", "operator", "admin"];
    let callers: Vec<(usize, Vec<String>)> = vec![
        (0, Vec::new()),
        (1, served.token("viewer")),
        (2, served.token("operator")),
        (3, served.token("admin")),
    ];
    let mut tried = 0;
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            let role = route["x-role"].as_str().unwrap();
            let rank = ranks.iter().position(|it| *it == role).unwrap();
            let named = path
                .replace("{name}", "nobody")
                .replace("{id}", "0")
                .replace("{workload}", "redis-1")
                .replace("{user}", "nobody");
            let line = format!("{} {named}", method.to_uppercase());
            // A stream does not end, so that its head alone is waited for elsewhere.
            let streams = path.ends_with("/events") || path.ends_with("/follow");
            for (caller, head) in &callers {
                if path == "/api/v1/login" || (streams && *caller >= rank) {
                    continue;
                }
                let body = json!({ "none": true });
                let body = (method != "get").then_some(&body);
                let heard = ask(&served.address, &line, head, body);
                let refused = match (*caller < rank, *caller) {
                    (false, _) => ![401, 403].contains(&heard.status),
                    (true, 0) => heard.status == 401,
                    (true, _) => heard.status == 403,
                };
                assert!(refused, "{line} as {}: {heard:?}", ranks[*caller]);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried} were tried");
}

#[test]
fn a_foreign_host_or_origin_and_guessed_passwords_are_refused() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let code = |line: &str, head: &[String], body: Option<&Value>| {
        let heard = ask(&served.address, line, head, body);
        (
            heard.status,
            heard.json()["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let host = ["Host: evil.test".to_owned()];
    assert_eq!(
        code("GET /healthz", &host, None),
        (421, "SY6005".to_owned())
    );
    let cookie = served.login[0].clone();
    let down = json!({ "dry_run": true });
    let path = "POST /api/v1/instances/orders/down";
    for origin in ["http://evil.test", "null"] {
        let head = [cookie.clone(), format!("Origin: {origin}")];
        assert_eq!(code(path, &head, Some(&down)), (403, "SY6006".to_owned()));
    }
    // A browser always says where a change comes from.
    assert_eq!(
        code(path, &[cookie], Some(&down)),
        (403, "SY6006".to_owned())
    );
    let user = json!({ "role": "viewer", "password": "a long enough word" });
    served.ok("PUT /api/v1/users/ann", Some(&user));
    let right = json!({ "user": "ann", "password": "a long enough word" });
    let wrong = json!({ "user": "ann", "password": "guessed" });
    let login = "POST /api/v1/login";
    assert_eq!(code(login, &[], Some(&right)).0, 200);
    for _ in 0..5 {
        assert_eq!(code(login, &[], Some(&wrong)), (401, "SY6003".to_owned()));
    }
    assert_eq!(code(login, &[], Some(&right)), (429, "SY6004".to_owned()));
    let page = served.ask("GET /", None);
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .contains("content-security-policy: default-src 'self'")
    );
}

#[test]
fn an_instance_is_delivered_healed_and_deleted_through_the_api() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let name = shardyard.name();
    let instance = format!("/api/v1/instances/{name}");
    let mut head = served.login.clone();
    head.push("Last-Event-ID: 0".to_owned());
    let events = send(&served.address, "GET /api/v1/events", &head, None);
    let body = json!({ "name": name, "engine": "process", "dry_run": true });
    let plan = served.ok("POST /api/v1/instances", Some(&body));
    assert!(!plan["phases"].as_array().unwrap().is_empty());
    assert_eq!(
        served.ok("GET /api/v1/instances", None)["instances"],
        json!([])
    );

    let body = json!({ "name": name, "engine": "process" });
    let up = served.done("POST /api/v1/instances", &body);
    assert!(!up["phases"].as_array().unwrap().is_empty());
    let status = served.ok(&format!("GET {instance}"), None);
    assert_eq!(status["state"], "ready");
    let slots = served.ok(&format!("GET {instance}/slots"), None);
    assert_eq!(slots["not_served"], 0);
    let told = BufReader::new(events)
        .lines()
        .map_while(Result::ok)
        .any(|line| line.starts_with("data:") && line.contains("\"state\":\"done\""));
    assert!(told, "the end of the operation is told");

    let exec = format!("POST {instance}/exec");
    let set = json!({ "command": ["set", "greeting", "hello"] });
    assert_eq!(served.ok(&exec, Some(&set))["text"], "OK");
    let flush = json!({ "command": ["flushall"] });
    assert_eq!(served.ask(&exec, Some(&flush)).json()["code"], "SY6007");

    // Both the supervisor and a server are killed: only the loop is left to heal it.
    let (server, supervisor) = (shardyard.pid("redis-1"), shardyard.supervisor().unwrap());
    kill(supervisor, Signal::KILL);
    kill(server, Signal::KILL);
    let get = format!("GET {instance}");
    wait_until("the loop heals it", LIMIT, || {
        let operations = served.ok("GET /api/v1/operations", None);
        operations["operations"][0]["user"] == "reconcile"
            && operations["operations"][0]["state"] == "done"
            && served.ok(&get, None)["state"] == "ready"
    });
    let read = json!({ "command": ["get", "greeting"] });
    assert_eq!(served.ok(&exec, Some(&read))["text"], "hello");

    let down = format!("POST {instance}/down");
    let delete = json!({ "delete_data": true });
    assert_eq!(served.ask(&down, Some(&delete)).json()["code"], "SY6007");
    served.done(&down, &json!({ "delete_data": true, "confirm": name }));
    assert_eq!(served.ask(&get, None).status, 404);
    let audit = served.ok(&format!("GET /api/v1/audit?instance={name}"), None);
    assert!(audit["entries"].as_array().unwrap().len() >= 4);
}

#[test]
fn a_move_stands_still_goes_on_and_ends_where_it_is_through_the_api() {
    let shardyard = Shardyard::new();
    let served = Served::start(&shardyard);
    let instance = format!("/api/v1/instances/{}", shardyard.name());
    let set = json!({ "MEMORY": "64MiB" });
    let body = json!({ "name": shardyard.name(), "engine": "process", "set": set });
    served.done("POST /api/v1/instances", &body);
    let mut client = Client::new(&shardyard.urls());
    for number in 0..2000 {
        let key = format!("key:{number}").into_bytes();
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(number);
        let _: String = client.ask(&key, &set).unwrap();
    }
    let pause = format!("POST {instance}/pause");
    let nobody = served.ask(&pause, None);
    assert_eq!(nobody.json()["code"], "SY4058", "{}", nobody.body);

    let wish = json!({ "shards": 4, "max_rate": 100 });
    let begun = served.ok(&format!("POST {instance}/scale"), Some(&wish));
    let get = format!("GET /api/v1/operations/{}", begun["id"].as_str().unwrap());
    let keys = || {
        served.ok(&get, None)["moving"]["keys_done"]
            .as_u64()
            .unwrap_or(0)
    };
    wait_until("slots move", LIMIT, || keys() > 0);
    assert_eq!(served.ok(&pause, None)["verb"], "scale");
    assert_eq!(served.ok(&get, None)["paused"], true);
    let mut before = u64::MAX;
    wait_until("the move stands still", LIMIT, || {
        let now = keys();
        let is_still = now == before;
        before = now;
        std::thread::sleep(Duration::from_millis(500));
        is_still
    });
    assert_eq!(served.ok(&get, None)["state"], "running");
    served.ok(&format!("POST {instance}/resume"), None);
    assert_eq!(served.ok(&get, None)["paused"], false);
    wait_until("it goes on", LIMIT, || keys() > before);

    let cancel = format!("POST {instance}/cancel");
    served.done(&cancel, &json!({}));
    assert_eq!(served.ok(&get, None)["state"], "interrupted");
    let status = served.ok(&format!("GET {instance}"), None);
    assert_eq!(status["state"], "ready", "{status}");
    let again = served.ask(&cancel, Some(&json!({ "dry_run": true })));
    assert_eq!(again.json()["code"], "SY4058", "{}", again.body);
    served.done(&format!("POST {instance}/down"), &json!({}));
}
