//! What goes between a command line and a server comes out as it went in, what breaks a rule is not
//! taken, and each command asks for its role.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use control::command::{Answered, BackupRequest, ClusterInfo, ClusterNode, NodeStatus, Proof};
use control::command::{Changed, ShardStatus, Tended, Tried};
use control::command::{
    Cluster, Delivery, DownRequest, ExposeWish, FailoverRequest, Handover, ImportRequest,
    LogSubject, Manner, Measure, Pace, Platform, Row, ScaleRequest, Shape, Status, TemplateChoice,
    TendRequest, UpRequest, Which, Wish, WorkloadStatus,
};
use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{Epoch, InstanceName, NodeId, ServiceName, VariableName, WorkloadName};
use model::image::{ServerVersion, Software};
use model::instance::{EngineKind, TemplateFiles};
use model::migration::{Brake, MoveProgress};
use model::outline::{Outline, OutlinePhase, OutlineStep};
use model::port::Fetch;
use model::secret::Secret;
use model::size::ByteSize;
use model::slots::{Slot, SlotRange};
use model::spec::Credentials;
use model::workload::Fingerprint;
use serde_json::{Value, json};

use super::*;
fn orders() -> InstanceName {
    InstanceName::new("orders").unwrap()
}

fn workload() -> WorkloadName {
    WorkloadName::parse("redis-2").unwrap()
}

fn address() -> NodeAddress {
    NodeAddress::parse("10.0.0.4:6379").unwrap()
}

fn id() -> NodeId {
    NodeId::from_bytes([7; 20])
}

fn cluster() -> Cluster {
    Cluster {
        seed: address(),
        credentials: Some(Credentials {
            user: "default".to_owned(),
            password: Secret::new("hunter2"),
        }),
    }
}

fn up(host_access: bool) -> Command {
    let variable = VariableName::new("SHARDS").unwrap();
    let file = ("template.yaml".to_owned(), "name: é\n".to_owned());
    Command::Up(UpRequest {
        name: orders(),
        template: Some(TemplateChoice {
            named: "mine".to_owned(),
            files: TemplateFiles {
                files: BTreeMap::from([file]),
            },
        }),
        given: BTreeMap::from([(variable.clone(), "5".to_owned())]),
        in_arguments: BTreeSet::from([variable]),
        platform: Platform {
            engine: Some(EngineKind::Docker),
            expose: Some(ExposeWish::Host(Some("10.0.0.9".parse().unwrap()))),
            fetch: Fetch::Always,
            host_access,
        },
        dry_run: false,
        limit: Duration::from_millis(1500),
    })
}

fn scale(shape: Shape, dry_run: bool) -> Command {
    Command::Scale(ScaleRequest {
        name: orders(),
        verb: "rebalance",
        shape,
        pace: Pace {
            latency_max: Some(Duration::from_millis(5)),
            keys_per_second_max: None,
        },
        dry_run,
        limit: Duration::from_secs(u64::MAX),
    })
}

fn tend(wish: Wish) -> Command {
    Command::Tend(TendRequest {
        cluster: cluster(),
        wish,
        manner: Manner::default(),
        dry_run: false,
        limit: Duration::from_secs(1),
    })
}

fn exec() -> Command {
    Command::Exec {
        instance: orders(),
        workload: None,
        command: vec!["id".to_owned()],
        as_operator: true,
    }
}

fn backup() -> Command {
    let backup = json!({
        "cluster": { "seed": "10.0.0.4:6379", "credentials": null },
        "directory": "/backup",
        "wish": { "from_primaries": true, "allow_missing": false },
    });
    let request: BackupRequest = serde_json::from_value(backup).unwrap();
    Command::Backup(request)
}

/// Every command, with what it needs; nothing where nobody may give it over the API.
fn commands() -> Vec<(Command, Wanted)> {
    [of_an_instance(), of_any_cluster()].concat()
}

type Wanted = Option<(Role, Kind)>;

fn of_an_instance() -> Vec<(Command, Wanted)> {
    let weights = BTreeMap::from([(workload(), 2)]);
    let shares = Shape::Shares {
        by: Measure::Load,
        weights,
        threshold_percent: 2,
    };
    let alone = Shape::Alone {
        slot: Slot::new(16_383).unwrap(),
        onto: Some(workload()),
    };
    let down = |dry_run| DownRequest {
        name: orders(),
        delete_data: true,
        dry_run,
    };
    let changes = Some((Role::Operator, Kind::Changes));
    let looks = Some((Role::Viewer, Kind::Looks));
    let logs = Command::Logs {
        instance: orders(),
        of: Some(LogSubject::Service(ServiceName::new("redis").unwrap())),
        tail: 5,
        follow: true,
    };
    vec![
        (up(false), changes),
        (up(true), None),
        (Command::Down(down(false)), changes),
        (
            Command::Down(down(true)),
            Some((Role::Operator, Kind::Acts)),
        ),
        (scale(shares, false), changes),
        (scale(alone, true), Some((Role::Operator, Kind::Acts))),
        (scale(Shape::AsItIs, false), changes),
        (
            Command::Failover(FailoverRequest {
                name: orders(),
                which: Handover::At(address()),
                dry_run: false,
                limit: Duration::from_secs(1),
            }),
            changes,
        ),
        (Command::Pause(orders()), Some((Role::Operator, Kind::Acts))),
        (
            Command::Resume(orders()),
            Some((Role::Operator, Kind::Acts)),
        ),
        (Command::List, looks),
        (Command::Status(orders()), looks),
        (logs, looks),
        (Command::Doctor, looks),
        (exec(), None),
        (backup(), None),
    ]
}

fn of_any_cluster() -> Vec<(Command, Wanted)> {
    let beyond = Some((Role::Admin, Kind::Changes));
    let beyond_looks = Some((Role::Admin, Kind::Acts));
    vec![
        (
            Command::TribCreate {
                nodes: vec![address()],
                replicas: 1,
                credentials: None,
                dry_run: false,
                limit: Duration::from_secs(1),
            },
            beyond,
        ),
        (Command::TribCheck(cluster()), beyond_looks),
        (Command::TribInfo(cluster()), beyond_looks),
        (tend(Wish::Fix { unreachable: true }), beyond),
        (tend(Wish::SetTimeout(Duration::from_millis(5000))), beyond),
        (
            Command::Import(ImportRequest {
                cluster: cluster(),
                source: cluster(),
                copies: true,
                manner: Manner::default(),
                dry_run: false,
                limit: Duration::from_secs(1),
            }),
            beyond,
        ),
        (
            Command::TribCall {
                cluster: cluster(),
                command: vec!["PING".to_owned()],
                which: Which::Primaries,
            },
            beyond_looks,
        ),
    ]
}

#[test]
fn each_command_asks_for_its_role_and_becomes_an_operation_where_it_changes_something() {
    for (command, wanted) in commands() {
        let found = needs(&command).map(|it| (it.role, it.kind));
        assert_eq!(found.as_ref().ok(), wanted.as_ref(), "{command:?}");
        if let Err(fault) = found {
            assert_eq!(fault.code, Code("SY6018"));
        }
    }
    let ends = needs(&scale(Shape::AsItIs, false)).unwrap();
    assert_eq!(ends.alone, None, "it is for what is under way");
}

#[test]
fn a_command_arrives_as_it_was_given() {
    for (command, _) in commands() {
        let text = serde_json::to_string(&command).unwrap();
        let read: Command = serde_json::from_str(&text).unwrap();
        assert_eq!(read, command);
    }
}

#[test]
fn no_command_waits_for_longer_than_a_day() {
    let Command::Scale(request) = limited(scale(Shape::AsItIs, false)) else {
        panic!("another command");
    };
    assert_eq!(request.limit, Duration::from_secs(86_400));
}

#[test]
fn what_breaks_a_rule_is_not_taken() {
    let check = |command: Value| {
        let read = serde_json::from_value::<Command>(command.clone());
        assert!(read.is_err(), "{command}");
    };
    check(json!({ "Status": "../../etc" }));
    check(json!({ "Status": "" }));
    check(json!({ "TribInfo": { "seed": "localhost:6379", "credentials": null } }));
    check(json!({ "TribInfo": { "seed": "10.0.0.4:0", "credentials": null } }));
    let mut wild = serde_json::to_value(scale(Shape::AsItIs, false)).unwrap();
    wild["Scale"]["verb"] = json!("anything");
    check(wild);
    let alone = json!({ "Alone": { "slot": 16_384, "onto": null } });
    let mut far = serde_json::to_value(scale(Shape::AsItIs, false)).unwrap();
    far["Scale"]["shape"] = alone;
    check(far);
    let mut named = serde_json::to_value(up(false)).unwrap();
    named["Up"]["given"] = json!({ "A-B": "5" });
    check(named);
}

fn finding() -> Finding {
    Finding {
        code: Code("SY2105"),
        severity: Severity::Warning,
        subject: "redis-2".to_owned(),
        message: "it is so".to_owned(),
        help: None,
    }
}

fn fault() -> Fault {
    Fault::new("SY4002", Class::Interrupted, "ended")
        .with_cause("by \u{1b}[1m somebody")
        .with_detail(vec!["a line".to_owned()])
        .with_help("again")
}

fn outline() -> Outline {
    let step = OutlineStep {
        kind: "ensure_met".to_owned(),
        subject: "6 nodes".to_owned(),
        detail: "know each other".to_owned(),
    };
    Outline {
        based_on: Fingerprint(u64::MAX),
        phases: vec![OutlinePhase {
            title: "they meet".to_owned(),
            steps: vec![step],
        }],
        findings: vec![finding()],
    }
}

fn node() -> NodeStatus {
    NodeStatus {
        id: Some(id()),
        address: address(),
        workload: workload(),
        host: "vm".to_owned(),
        role: "standalone",
        version: ServerVersion::parse(Software::Valkey, "9.1.0"),
        memory: Some(ByteSize::mib(2)),
        memory_max: None,
        keys: Some(u64::MAX),
        linked: true,
        lag: Some(ByteSize::bytes(0)),
    }
}

fn status() -> Status {
    let slots = SlotRange::parse("0-5460").unwrap();
    Status {
        name: orders(),
        template: "redis-cluster".to_owned(),
        engine: "process".to_owned(),
        state: serde_json::from_value(json!("Degraded")).unwrap(),
        endpoints: vec![address()],
        credentials: Some(("default".to_owned(), PathBuf::from("/home/é/PASSWORD"))),
        tried: vec![Tried {
            address: address(),
            problem: Some("refused".to_owned()),
        }],
        shards: vec![ShardStatus {
            slots: vec![slots],
            primary: node(),
            replicas: vec![node()],
        }],
        others: vec![node()],
        workloads: vec![WorkloadStatus {
            name: workload(),
            address: None,
            phase: "running".to_owned(),
            restarts: 3,
        }],
        findings: vec![finding()],
        operator: Some(control::lock::Operator::me("up")),
    }
}

fn info() -> ClusterInfo {
    ClusterInfo {
        seed: address(),
        nodes: vec![ClusterNode {
            id: Some(id()),
            address: NodeAddress::parse("[::1]:7000").unwrap(),
            answers: true,
            is_primary: false,
            copies: Some(id()),
            slots: vec![SlotRange::parse("16383").unwrap()],
            keys: 1,
            epoch: Epoch(9),
        }],
    }
}

fn answers() -> Vec<Answered> {
    vec![
        Answered {
            address: address(),
            answer: Ok("PONG".to_owned()),
        },
        Answered {
            address: address(),
            answer: Err(fault()),
        },
    ]
}

fn replies() -> Vec<Reply> {
    let took = Duration::from_nanos(1_234_567_891);
    let proof = Some(Proof {
        operations: 1,
        errors: 2,
        longest_write_gap: took,
        acknowledged_writes_lost: 3,
    });
    let row = Row {
        name: "orders".to_owned(),
        template: "redis-cluster".to_owned(),
        engine: EngineKind::Process,
        state: None,
        shards: 3,
        workloads: 6,
        created_at: "2026-11-27T00:00:00Z".to_owned(),
        problem: Some("it cannot be read".to_owned()),
    };
    let told = Reply::Told {
        instance: orders(),
        operator: control::lock::Operator::me("scale"),
        word: Some(control::oversee::Word::Pause),
    };
    let tended = Tended {
        verb: "add-node",
        cluster: info(),
        findings: vec![finding()],
        changed: true,
        took,
        proof,
    };
    vec![
        Reply::Plan(outline()),
        Reply::Delivered(Box::new(Delivery {
            status: status(),
            created: true,
            changed: false,
            took,
        })),
        Reply::Changed(Box::new(Changed {
            status: status(),
            changed: true,
            took,
            proof,
        })),
        Reply::Down {
            instance: orders(),
            deleted: true,
            changed: false,
        },
        told,
        Reply::List(vec![row]),
        Reply::Status(Box::new(status())),
        Reply::Findings(vec![finding()]),
        Reply::Done,
        Reply::Exit(-1),
        Reply::Created(info()),
        Reply::Checked(info(), vec![finding()]),
        Reply::Info(info()),
        Reply::Tended(Box::new(tended)),
        Reply::Answers(answers()),
    ]
}

#[test]
fn a_reply_arrives_as_it_was_given() {
    for reply in replies() {
        let text = serde_json::to_string(&Line::Reply(Box::new(reply.clone()))).unwrap();
        assert!(!text.contains('\n'), "a line is a line: {text}");
        let Line::Reply(read) = serde_json::from_str(&text).unwrap() else {
            panic!("another line: {text}");
        };
        assert_eq!(*read, reply);
    }
}

#[test]
fn an_event_and_a_question_arrive_as_they_were_given() {
    let progress = MoveProgress {
        slots_done: 1,
        left: Some(Duration::from_secs(2)),
        brake: Some(Brake::Fence),
        ..MoveProgress::default()
    };
    let phase = outline().phases.remove(0);
    let text = "a\nb \u{0}".to_owned();
    for event in [
        Event::PhaseStarted {
            number: 1,
            of: 2,
            phase,
        },
        Event::PhaseProgress { done: 1, of: 2 },
        Event::PhaseFinished {
            title: text.clone(),
            took: Duration::from_nanos(1),
        },
        Event::StepFailed {
            subject: text.clone(),
            fault: fault(),
        },
        Event::Waiting {
            on: text.clone(),
            since: Duration::ZERO,
        },
        Event::Moving(progress),
        Event::Noticed(finding()),
        Event::LogLine {
            workload: "redis-1".to_owned(),
            line: text.clone(),
        },
        Event::JobOutput {
            workload: "job-1".to_owned(),
            line: text.clone(),
        },
    ] {
        let line = serde_json::to_string(&Line::Event(event.clone())).unwrap();
        assert!(!line.contains('\n'), "a line is a line: {line}");
        let Line::Event(read) = serde_json::from_str(&line).unwrap() else {
            panic!("another line: {line}");
        };
        assert_eq!(read, event);
    }
    for asked in [
        Asked::Plan {
            what: "deliver orders".to_owned(),
            plan: outline(),
            findings: vec![finding()],
        },
        Asked::Loss {
            name: "orders".to_owned(),
            lost: vec![text],
        },
    ] {
        let line = serde_json::to_string(&asked).unwrap();
        let read: Asked = serde_json::from_str(&line).unwrap();
        assert_eq!(read, asked);
        assert_eq!(Asked::from(read.question()), asked);
    }
}

/// Asks about a loss, and gives this answer.
fn after(answer: Answer) -> Result<(), Fault> {
    let (lines, mut heard) = mpsc::channel(8);
    let (answers, answered) = answers::channel();
    let questioner = Questioner {
        lines,
        answers: Mutex::new(answered),
        asked: AtomicU64::new(4),
        cancel: Cancel::new(),
    };
    // An answer to another question is none.
    answers
        .send((3, Answer::Typed("orders".to_owned())))
        .unwrap();
    answers.send((4, answer)).unwrap();
    let lost = vec!["all of it".to_owned()];
    let said = questioner.approve(Question::Loss {
        name: "orders",
        lost: &lost,
    });
    assert!(matches!(
        heard.try_recv().unwrap(),
        Line::Question { number: 4, .. }
    ));
    said
}

#[test]
fn a_loss_needs_its_name_whatever_the_other_end_says() {
    assert_eq!(after(Answer::Typed("orders".to_owned())), Ok(()));
    for answer in [Answer::Yes, Answer::Typed("order".to_owned())] {
        assert_eq!(after(answer).unwrap_err().code, Code("SY6007"));
    }
    assert_eq!(after(Answer::No(fault())).unwrap_err(), fault());
}

#[test]
fn a_question_whose_asker_has_gone_away_is_not_waited_for() {
    let (lines, heard) = mpsc::channel(8);
    drop(heard);
    let (_answers, answered) = answers::channel();
    let questioner = Questioner {
        lines,
        answers: Mutex::new(answered),
        asked: AtomicU64::new(0),
        cancel: Cancel::new(),
    };
    let plan = outline();
    let said = questioner.approve(Question::Plan {
        what: "deliver orders",
        plan: &plan,
        findings: &[],
    });
    assert_eq!(said.unwrap_err().code, Code("SY6019"));
}
