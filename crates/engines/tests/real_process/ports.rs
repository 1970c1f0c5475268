//! Ports that somebody else has.

use std::net::TcpListener;

use crate::fixture::{Stage, cli, until};

#[tokio::test]
async fn who_has_the_port_is_named_with_the_way_out() {
    let stage = Stage::new("taken");
    let redis = stage.redis(1);
    for (port, held) in [(6379, stage.ip(1)), (16379, stage.ip(1))] {
        let _holder = TcpListener::bind((held, port)).unwrap();
        let fault = stage.run(&redis).await.unwrap_err();
        assert_eq!(fault.code.0, "SY3005", "{fault}");
        let named = format!("(pid {}, user", std::process::id());
        assert!(fault.message.contains(&named), "{fault}");
        assert!(
            fault
                .message
                .ends_with(&format!("listens on {held}:{port}")),
            "{fault}"
        );
        assert!(fault.help.unwrap().contains("kill"));
    }
    stage.run(&redis).await.unwrap();
    // Its own process is no clash.
    stage.run(&redis).await.unwrap();
}

#[tokio::test]
async fn one_that_listens_on_all_addresses_blocks_ours() {
    let stage = Stage::new("wildcard");
    let mut redis = stage.server(1, "redis:7", "port 6381\n");
    redis.address.port = 6381;
    let everywhere = TcpListener::bind("0.0.0.0:6381").unwrap();
    let fault = stage.run(&redis).await.unwrap_err();
    assert!(
        fault.message.ends_with("listens on 0.0.0.0:6381"),
        "{fault}"
    );
    assert!(fault.help.unwrap().contains("bind 127.0.0.1"));
    drop(everywhere);
    stage.run(&redis).await.unwrap();
    until("it answers", || {
        cli(stage.ip(1), &["-p", "6381", "ping"]) == "PONG"
    });
}

#[tokio::test]
async fn an_address_of_another_host_is_refused() {
    let stage = Stage::new("elsewhere");
    let mut redis = stage.redis(1);
    redis.address.ip = "192.0.2.7".parse().unwrap();
    let fault = stage.run(&redis).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3006", "{fault}");
}
