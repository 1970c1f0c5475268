//! The command line over a server: it says and does what it would where the server runs, and
//! whoever may not, or is cut off, is told so.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::http::{ask, send};
use tests::{Ran, Served, Shardyard, kill, wait_until};

const LIMIT: Duration = Duration::from_secs(90);

/// The command line on another machine: a state folder of its own, and a token.
struct Elsewhere {
    own: Shardyard,
    url: String,
    token: String,
}

impl Elsewhere {
    fn new(served: &Served, role: &str) -> Self {
        let head = served.token(role).remove(0);
        let token = head.trim_start_matches("Authorization: Bearer ");
        Self {
            own: Shardyard::new(),
            url: format!("http://{}", served.address),
            token: token.to_owned(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.own.command(arguments);
        command
            .env("SHARDYARD_SERVER", &self.url)
            .env("SHARDYARD_TOKEN", &self.token);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ended(self.command(arguments).spawn().unwrap())
    }

    fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Ends with this exit code and this error.
    fn refused(&self, arguments: &[&str], code: i32, error: &str) -> Ran {
        let ran = self.run(arguments);
        let shown = format!(
            "{arguments:?}: {}\n{}\n{}",
            ran.code, ran.stdout, ran.stderr
        );
        assert_eq!(ran.code, code, "{shown}");
        assert!(ran.stderr.contains(&format!("error[{error}]")), "{shown}");
        ran
    }

    /// Runs with this on stdin.
    fn given(&self, arguments: &[&str], text: &str) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        ended(child)
    }
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same with what changes from look to look left out.
fn steady(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["memory_bytes", "lag_bytes"].contains(&name.as_str()));
            for field in fields.values_mut() {
                *field = steady(field.take());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|it| *it = steady(it.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// The same with each amount of memory made equal, and as far from its neighbours as any.
fn without_amounts(text: &str) -> String {
    let digits = |it: char| it.is_ascii_digit() || it == '.';
    let lines = text.lines().map(|line| {
        let words = line.split("  ").map(str::trim);
        let words = words.filter(|word| !word.is_empty()).map(|word| {
            let is_amount = word.ends_with("iB") || word.ends_with(" B");
            let amount = word.trim_start_matches(digits);
            if is_amount { amount } else { word }
        });
        words.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn titles(plan: &Value) -> Vec<&Value> {
    let phases = plan["phases"].as_array().unwrap();
    phases.iter().map(|it| &it["title"]).collect()
}

#[test]
fn an_instance_lives_through_a_server_as_it_does_where_the_server_runs() {
    let here = Shardyard::new();
    let name = here.name();
    let served = Served::start(&here);
    let there = Elsewhere::new(&served, "admin");

    let unanswered = there.refused(&["up", "--name", name], 2, "SY5002");
    assert!(
        unanswered
            .stderr
            .starts_with(&format!("Plan: deliver {name}\n"))
    );
    let up = there.ok(&["up", "--name", name, "--yes"]);
    assert!(
        up.stdout.starts_with(&format!("{name} delivered in ")),
        "{}",
        up.stdout
    );
    for line in ["Plan: deliver", "1/", "6 workloads running", " s\n"] {
        assert!(up.stderr.contains(line), "{line} is missing: {}", up.stderr);
    }
    let again = there.ok(&["up", "--name", name, "--yes"]);
    assert!(
        again.stdout.contains("is delivered already"),
        "{}",
        again.stdout
    );

    assert_eq!(there.ok(&["ls"]).stdout, here.ok(&["ls"]).stdout);
    let status = ["status", name];
    let (far, near) = (there.ok(&status).stdout, here.ok(&status).stdout);
    assert_eq!(without_amounts(&far), without_amounts(&near));
    let status = ["status", name, "-o", "json"];
    let (far, near) = (there.ok(&status).json(), here.ok(&status).json());
    assert_eq!(steady(far), steady(near));
    let logs = ["logs", name, "redis-2", "--tail", "7"];
    assert_eq!(there.ok(&logs).stdout, here.ok(&logs).stdout);
    let scale = ["scale", name, "--shards", "4", "--dry-run", "-o", "json"];
    let (far, near) = (there.ok(&scale).json(), here.ok(&scale).json());
    assert_eq!(titles(&far), titles(&near));
    let nobody = ["status", "nobody"];
    let (far, near) = (there.run(&nobody), here.run(&nobody));
    assert_eq!((far.code, far.stderr), (near.code, near.stderr));

    the_terminal_is_that_of_the_server(&there, name);
    for (arguments, error) in [
        (vec!["exec", name, "redis-1", "id"], "SY6018"),
        (vec!["trib", "backup", "127.0.0.1:1", "/tmp/none"], "SY6018"),
        (
            vec!["up", "--name", "other", "--allow-host-access", "--yes"],
            "SY6018",
        ),
    ] {
        there.refused(&arguments, 6, error);
    }

    let down = ["down", name, "--delete-data", "--yes"];
    there.refused(&down, 2, "SY5002");
    there.refused(
        &["down", name, "--delete-data", "--yes", "--confirm", "other"],
        6,
        "SY5003",
    );
    there.ok(&["down", name, "--delete-data", "--yes", "--confirm", name]);
    assert_eq!(
        here.ok(&["ls", "-o", "json"]).json()["instances"],
        json!([])
    );
    who_did_what_is_noted(&served, name);
}

fn the_terminal_is_that_of_the_server(there: &Elsewhere, name: &str) {
    assert_eq!(
        there.ok(&["cli", name, "set", "greeting", "hello"]).stdout,
        "OK\n"
    );
    assert_eq!(
        there.ok(&["cli", name, "get", "greeting"]).stdout,
        "hello\n"
    );
    let typed = "get greeting\nset a \"two words\"\n\nget 'a\nget a\nexit\nget a\n";
    let ran = there.given(&["cli", name], typed);
    assert_eq!(ran.stdout, "hello\nOK\ntwo words\n", "{}", ran.stderr);
    assert_eq!(ran.code, 0);
    there.refused(&["cli", name, "flushall"], 6, "SY6007");
    there.refused(&["cli", name, "config", "get", "*"], 6, "SY6012");
}

fn who_did_what_is_noted(served: &Served, name: &str) {
    let audit = served.ok(&format!("GET /api/v1/audit?instance={name}"), None);
    let text = audit.to_string();
    for did in ["up", "down", "scale"] {
        let did = format!("POST /api/v1/commands: {did}");
        assert!(text.contains(&did), "{did} is missing: {text}");
    }
    assert!(
        !text.contains("commands: status"),
        "who only looks is not noted"
    );
    let operations = served.ok("GET /api/v1/operations", None);
    let operations = operations["operations"].as_array().unwrap();
    let done = |verb: &str| {
        let mut all = operations.iter();
        all.any(|it| it["verb"] == verb && it["user"] == "admin" && it["state"] == "done")
    };
    assert!(done("up") && done("down"), "{operations:?}");
}

#[test]
fn each_command_asks_for_its_role_and_for_the_servers_version() {
    let here = Shardyard::new();
    let served = Served::start(&here);
    let viewer = Elsewhere::new(&served, "viewer");
    let operator = Elsewhere::new(&served, "operator");
    let admin = Elsewhere::new(&served, "admin");
    let (name, node) = ("nobody", "127.0.0.1:1");
    viewer.ok(&["ls"]);
    viewer.refused(&["status", name], 2, "SY4005");
    for arguments in [
        vec!["up", "--name", name, "--yes"],
        vec!["up", "--name", name, "--dry-run"],
        vec!["down", name],
        vec!["scale", name, "--shards", "5"],
        vec!["pause", name],
        vec!["cli", name, "get", "a"],
    ] {
        viewer.refused(&arguments, 6, "SY6002");
    }
    operator.refused(&["down", name], 2, "SY4005");
    for arguments in [
        vec!["info", node],
        vec!["call", node, "ping"],
        vec!["fix", node],
    ] {
        let all = [&["trib"], arguments.as_slice()].concat();
        operator.refused(&all, 6, "SY6002");
        admin.refused(&all, 5, "SY2001");
    }
    admin.refused(&["trib", "info", node, "--tls"], 2, "SY5016");

    let mut unknown = Elsewhere::new(&served, "viewer");
    unknown.token = "guessed".to_owned();
    let ran = unknown.refused(&["ls"], 6, "SY6001");
    assert!(ran.stderr.contains("shardyard login"), "{}", ran.stderr);

    let other = json!({ "version": "9.9.9", "command": "List" });
    let heard = served.ask("POST /api/v1/commands", Some(&other));
    assert_eq!(heard.status, 422);
    assert_eq!(heard.json()["code"], "SY6017");
    let title = heard.json()["title"].to_string();
    assert!(
        title.contains("9.9.9") && title.contains("0.1.0"),
        "{title}"
    );
}

#[test]
fn a_login_keeps_a_token_that_nobody_else_can_read() {
    let here = Shardyard::new();
    let served = Served::start(&here);
    let user = json!({ "role": "viewer", "password": "a long enough word" });
    served.ok("PUT /api/v1/users/ann", Some(&user));
    let mut there = Elsewhere::new(&served, "viewer");
    there.token = String::new();
    let ran = there.refused(&["ls"], 6, "SY6001");
    assert!(ran.stderr.contains("log in once"), "{}", ran.stderr);
    let login = ["login", "--user", "ann", "-o", "json"];
    assert_eq!(there.given(&login, "guessed\n").code, 6);
    let kept = there.given(&login, "a long enough word\n").json();
    there.ok(&["ls"]);
    there.refused(&["down", "nobody"], 6, "SY6002");
    let file = kept["token_file"].as_str().unwrap();
    assert_eq!(
        fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    there.refused(&["ls"], 6, "SY5015");
}

#[test]
fn a_server_that_cannot_be_asked_is_told_at_once() {
    let own = Shardyard::new();
    let check = |server: &str, code: i32, error: &str| {
        let ran = own.run(&["ls", "--server", server]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(error), "{server}: {}", ran.stderr);
    };
    check("http://127.0.0.1:1", 5, "SY5012");
    check("http://192.0.2.1:7470", 6, "SY5013");
    check("127.0.0.1:7470", 2, "SY5013");
    let ran = own.run(&["template", "ls", "--server", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 0, "templates are of this machine: {}", ran.stderr);
}

/// Begins an `up`, and waits until the server is at it.
fn begun(there: &Elsewhere, served: &Served, name: &str) -> Child {
    let mut command = there.command(&["up", "--name", name, "--yes"]);
    let child = command.spawn().unwrap();
    wait_until("the server is at it", LIMIT, || {
        let all = served.ok("GET /api/v1/operations", None);
        let phases = all["operations"][0]["phases"].as_array();
        phases.is_some_and(|it| !it.is_empty())
    });
    child
}

fn last_state(served: &Served) -> Value {
    served.ok("GET /api/v1/operations", None)["operations"][0]["state"].take()
}

#[test]
fn a_command_whose_client_goes_away_goes_on_at_the_server() {
    let here = Shardyard::new();
    let served = Served::start(&here);
    let there = Elsewhere::new(&served, "operator");
    let child = begun(&there, &served, here.name());
    kill(child.id(), Signal::KILL);
    assert_eq!(ended(child).code, -1);
    wait_until("it comes to its end", LIMIT, || {
        last_state(&served) != "running"
    });
    assert_eq!(last_state(&served), "done");
    assert_eq!(here.state(), "ready");
}

#[test]
fn an_interrupt_ends_the_command_at_the_server() {
    let here = Shardyard::new();
    let served = Served::start(&here);
    let there = Elsewhere::new(&served, "operator");
    let child = begun(&there, &served, here.name());
    kill(child.id(), Signal::INT);
    let ran = ended(child);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("is brought to its end"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("error[SY4002]"), "{}", ran.stderr);
    assert_eq!(last_state(&served), "interrupted");
    there.ok(&["up", "--name", here.name(), "--yes"]);
    assert_eq!(here.state(), "ready", "the next one goes on");
}

#[test]
fn a_server_that_goes_away_in_the_middle_is_told_with_the_next_move() {
    let here = Shardyard::new();
    let mut served = Served::start(&here);
    let there = Elsewhere::new(&served, "operator");
    let child = begun(&there, &served, here.name());
    served.die();
    let ran = ended(child);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("error[SY5014]"), "{}", ran.stderr);
    assert!(ran.stderr.contains("shardyard status"), "{}", ran.stderr);
}

#[test]
fn a_plan_that_is_refused_and_a_loss_that_is_not_typed_are_not_carried_out() {
    let here = Shardyard::new();
    let name = here.name();
    let served = Served::start(&here);
    Elsewhere::new(&served, "operator").ok(&["up", "--name", name, "--yes"]);
    let no = json!({ "no": {
        "code": "SY5003", "class": "Refused", "message": "the answer was no; nothing was done",
        "causes": [], "detail": [], "help": null,
    } });
    for (delete, answer, error) in [
        (false, no, "SY5003"),
        (true, json!("yes"), "SY6007"),
        (true, json!({ "typed": "another" }), "SY6007"),
    ] {
        let down = json!({ "name": name, "delete_data": delete, "dry_run": false });
        let body = json!({ "version": "0.1.0", "command": { "Down": down } });
        let stream = send(
            &served.address,
            "POST /api/v1/commands",
            &served.login,
            Some(&body),
        );
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut lines = lines.filter_map(|it| serde_json::from_str::<Value>(&it).ok());
        let mut next = |kind: &str| {
            let found = lines.find_map(|it| it.get(kind).cloned());
            found.unwrap_or_else(|| panic!("{kind} does not come"))
        };
        let id = next("begun");
        let id = id.as_str().unwrap();
        let number = next("question")["number"].clone();
        let path = format!("POST /api/v1/commands/{id}/answer");
        let answer = json!({ "question": number, "answer": answer });
        let stranger = served.token("viewer");
        assert_eq!(ask(&served.address, &path, &[], Some(&answer)).status, 401);
        assert_eq!(
            ask(&served.address, &path, &stranger, Some(&answer)).status,
            404
        );
        assert_eq!(served.ask(&path, Some(&answer)).status, 204);
        assert_eq!(next("fault")["code"], error);
        assert_eq!(here.state(), "ready");
    }
}

#[test]
fn a_question_is_waited_for_while_its_asker_is_there_and_no_longer() {
    let here = Shardyard::new();
    let served = Served::start(&here);
    let there = Elsewhere::new(&served, "operator");
    let mut child = there.command(&["up", "--name", here.name(), "--yes"]);
    // The command as the client sends it, without anybody who answers.
    let up = json!({
        "name": here.name(), "template": null, "given": {}, "in_arguments": [],
        "platform": { "engine": null, "expose": null, "fetch": "Missing", "host_access": false },
        "dry_run": false, "limit": { "secs": 60, "nanos": 0 },
    });
    assert!(child.spawn().unwrap().wait().unwrap().success());
    here.ok(&["down", here.name(), "--yes"]);
    let body = json!({ "version": "0.1.0", "command": { "Up": up } });
    let line = "POST /api/v1/commands";
    let stream = send(&served.address, line, &served.login, Some(&body));
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut lines = lines.filter(|it| it.starts_with('{') || it.starts_with('"'));
    assert!(lines.any(|it| it.starts_with("{\"question\"")), "it asks");
    assert_eq!(
        lines.next().as_deref(),
        Some("\"alive\""),
        "it says that it waits"
    );
    drop(lines);
    wait_until("it ends", LIMIT, || last_state(&served) == "failed");
    let problem = served.ok("GET /api/v1/operations", None)["operations"][0]["problem"].take();
    assert_eq!(problem["code"], "SY6019");
    assert_eq!(here.state(), "stopped");
}
