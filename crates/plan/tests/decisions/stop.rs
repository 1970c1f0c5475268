//! How an instance is taken down.

use model::ids::ServiceName;
use model::spec::ServiceKind;
use model::view::{Ending, WorkloadPhase};
use plan::stop::{Data, stop};

use crate::fixture::{Scene, name, redis_7, render, service, spec};

fn planned(scene: &Scene, data: Data) -> String {
    render(&stop(
        &scene.instance,
        &scene.workloads(),
        &scene.view,
        data,
    ))
}

#[test]
fn what_runs_is_stopped_and_the_data_stays() {
    let mut scene = Scene::whole(3, 0);
    scene.silence("redis-2", WorkloadPhase::Stopped);
    let reason = "why".to_owned();
    scene.silence("redis-3", WorkloadPhase::Held { reason });
    insta::assert_snapshot!(planned(&scene, Data::Keep), @"
    1. 2 workloads stopped
       ensure_stopped redis-1: stops, data kept
       ensure_stopped redis-3: stops, data kept
    ");
}

#[test]
fn nothing_is_done_where_nothing_runs() {
    let mut scene = Scene::whole(1, 1);
    scene.silence("redis-1", WorkloadPhase::Stopped);
    scene.silence("redis-2", WorkloadPhase::Ended(Ending::Exit(0)));
    assert_eq!(planned(&scene, Data::Keep), "nothing to do\n");
}

#[test]
fn before_data_is_deleted_the_hook_runs_and_what_stands_still_goes_too() {
    let mut spec = spec(1, 1);
    spec.services.push(service("export", ServiceKind::Job, 1));
    spec.hooks.before_delete = Some(ServiceName::new("export").unwrap());
    let mut scene = Scene::nothing(spec, redis_7());
    scene.instance.delivered = true;
    scene.run(&name("redis-1"));
    scene.run(&name("redis-2"));
    scene.silence("redis-2", WorkloadPhase::Stopped);
    insta::assert_snapshot!(planned(&scene, Data::Delete), @"
    1. export done, before anything is deleted
       ensure_done export-1: runs redis:7 to its end
    2. 1 workload stopped
       ensure_stopped redis-1: stops, data kept
    3. nothing left, data included
       ensure_deleted redis-1: is deleted with its data
       ensure_deleted redis-2: is deleted with its data
    ");
    insta::assert_snapshot!(planned(&scene, Data::Keep), @"
    1. 1 workload stopped
       ensure_stopped redis-1: stops, data kept
    ");
}

#[test]
fn nothing_is_deleted_where_nothing_was_made() {
    let scene = Scene::nothing(spec(3, 1), redis_7());
    assert_eq!(planned(&scene, Data::Delete), "nothing to do\n");
}
