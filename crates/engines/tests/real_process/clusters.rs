//! Real clusters of the unchanged five-line config file, on every server that is here.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use model::image::ImageRef;
use model::port::Engine;
use model::view::ImageView;

use crate::fixture::{FIVE_LINES, LIMIT, Stage, cli, until};

/// Forms a cluster with the distribution's own tool and looks at what each node believes.
async fn form(image: &str) {
    let stage = Stage::new("cluster");
    let wanted = ImageRef::parse(image).unwrap();
    let images = BTreeSet::from([wanted.clone()]);
    let view = stage
        .engine
        .observe(&stage.instance, &images)
        .await
        .unwrap();
    if let ImageView::Missing { reason, .. } = &view.images[&wanted] {
        println!("left out: {reason}");
        return;
    }
    for number in 1..=6 {
        stage
            .run(&stage.server(number, image, FIVE_LINES))
            .await
            .unwrap();
    }
    let addresses: Vec<String> = (1..=6).map(|n| format!("{}:6379", stage.ip(n))).collect();
    let begun = Instant::now();
    let created = Command::new("timeout")
        .args(["60", "redis-cli", "--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(created.status.success(), "{created:?}");
    println!("{image}: formed after {:?}", begun.elapsed());
    let expected: BTreeSet<String> = addresses
        .iter()
        .map(|each| format!("{each}@16379"))
        .collect();
    for number in 1..=6 {
        let ip = stage.ip(number);
        until("it knows everybody by the right address", || {
            let nodes = cli(ip, &["cluster", "nodes"]);
            let known = nodes.lines().filter_map(|line| line.split(' ').nth(1));
            known
                .map(|address| address.split(',').next().unwrap().to_owned())
                .collect::<BTreeSet<_>>()
                == expected
        });
        until(
            "its replica has copied it, from the replica's own address",
            || {
                let replication = cli(ip, &["info", "replication"]);
                let field = |name: &str| {
                    let line = replication.lines().find_map(|line| line.strip_prefix(name));
                    line.and_then(|line| line.split(',').next())
                        .map(str::to_owned)
                };
                match field("role:").as_deref() {
                    Some("master") => field("slave0:ip=")
                        .is_some_and(|from| addresses.contains(&format!("{from}:6379"))),
                    _ => field("master_link_status:").as_deref() == Some("up"),
                }
            },
        );
    }
    assert!(begun.elapsed() < LIMIT + Duration::from_secs(60));
    let one = stage.server(1, image, FIVE_LINES);
    let stored = stage.view(&one).await.unwrap().storage;
    let identity = stored.identity.unwrap();
    assert_eq!(
        identity.id.to_string(),
        cli(stage.ip(1), &["cluster", "myid"])
    );
    assert!(identity.owns_slots);
}

#[tokio::test]
async fn redis_7_forms_a_cluster() {
    form("redis:7").await;
}

#[tokio::test]
async fn redis_8_forms_a_cluster() {
    form("redis:8.0").await;
}

#[tokio::test]
async fn valkey_8_forms_a_cluster() {
    form("valkey/valkey:8.1").await;
}

#[tokio::test]
async fn valkey_9_forms_a_cluster() {
    form("valkey/valkey:9.1").await;
}

/// What a server makes of its own accord is no data set, and what it was given is, in every
/// version and whether it was stopped well or not.
#[tokio::test]
async fn an_empty_server_has_no_data_set_and_a_filled_one_has() {
    let stage = Stage::new("data");
    let dump = "port 6379\nsave 3600 1\n";
    let images = [
        "redis:7",
        "redis:8.0",
        "valkey/valkey:8.1",
        "valkey/valkey:9.1",
    ];
    for image in images {
        for config in [FIVE_LINES, dump] {
            let mut redis = stage.server(1, image, config);
            redis.files[0].text =
                model::secret::Secret::new(config.replace("cluster-enabled yes\n", ""));
            if stage
                .run(&redis)
                .await
                .is_err_and(|fault| fault.code.0 == "SY3004")
            {
                continue;
            }
            assert!(
                !stage.view(&redis).await.unwrap().storage.has_dataset,
                "{image}"
            );
            stage.stop(&redis).await.unwrap();
            assert!(
                !stage.view(&redis).await.unwrap().storage.has_dataset,
                "{image} stopped"
            );
            stage.run(&redis).await.unwrap();
            stage.until_answers(1);
            assert_eq!(cli(stage.ip(1), &["set", "k", "v"]), "OK");
            stage.stop(&redis).await.unwrap();
            let storage = stage.view(&redis).await.unwrap().storage;
            assert!(storage.has_dataset, "{image} {config}");
            assert!(storage.size.as_bytes() > 100);
            stage.delete(&redis).await.unwrap();
        }
    }
}
