//! The agent as users run it, beside the real Litestream: what it says is compared with what the files say, with what
//! the writer did, with what went over the wire and with what restores.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "these are tests")]

#[path = "support/azurite.rs"]
mod azurite;
#[path = "replication/cost.rs"]
mod cost;
#[path = "replication/counting.rs"]
mod counting;
#[path = "replication/fleet.rs"]
mod fleet;
#[path = "replication/idle.rs"]
mod idle;
mod lab;
#[path = "replication/loss.rs"]
mod loss;
#[path = "replication/network.rs"]
mod network;
#[path = "replication/observer.rs"]
mod observer;
#[path = "replication/odd.rs"]
mod odd;
#[path = "replication/on_abs.rs"]
mod on_abs;
#[path = "replication/on_gs.rs"]
mod on_gs;
#[path = "replication/on_sftp.rs"]
mod on_sftp;
#[path = "replication/outage.rs"]
mod outage;
#[path = "replication/pitfalls.rs"]
mod pitfalls;
#[path = "replication/places.rs"]
mod places;
#[path = "replication/position.rs"]
mod position;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "replication/requests.rs"]
mod requests;
#[path = "support/sftp.rs"]
mod sftp_servers;
#[path = "replication/site.rs"]
mod site;
#[path = "replication/stall.rs"]
mod stall;
#[path = "replication/telling.rs"]
mod telling;
#[path = "replication/unknown.rs"]
mod unknown;

use std::path::Path;
use std::thread;

use lab::Lab;

type Story = fn(&Lab, &Path);

/// Plays stories at the same time, because they mostly wait; each has a folder of its own.
fn play(stories: &[Story]) {
    let lab = &Lab::find();
    thread::scope(|scope| {
        for story in stories {
            scope.spawn(|| {
                let home = tempfile::tempdir().unwrap();
                story(lab, home.path());
            });
        }
    });
}

#[test]
fn lag_and_unreplicated_bytes_of_every_version_on_every_store() {
    play(&[stall::every_version]);
}

#[test]
fn idle_database_is_never_behind() {
    play(&[idle::every_version]);
}

#[test]
fn outages_freeze_the_proof_and_end_by_themselves() {
    play(&[outage::credentials_revoked, outage::server_restarted, outage::agent_killed]);
}

#[test]
fn observer_elsewhere_misses_a_host_that_is_gone() {
    play(&[observer::host_is_gone]);
}

#[test]
fn commits_equal_the_writers_own_count() {
    play(&[counting::commits]);
}

#[test]
fn what_litestream_costs_is_estimated_as_a_server_counts_it() {
    play(&[cost::agrees_with_the_server]);
}

#[test]
fn one_listing_for_each_look_whatever_the_number_of_objects() {
    play(&[requests::of_a_written_database, requests::of_a_large_replica]);
}

#[test]
fn most_looks_at_a_bucket_read_a_header_and_list_nothing() {
    play(&[requests::of_a_written_database_by_name, requests::of_a_large_replica_by_name]);
}

#[test]
fn everything_before_a_recovery_point_restores() {
    play(&[loss::recovery_points_restore]);
}

#[test]
fn lost_files_are_not_called_safe() {
    play(&[loss::lost_files]);
}

#[test]
fn a_litestream_that_stopped_for_good_is_told_as_lag_to_the_byte() {
    play(&[pitfalls::stopped_for_good_after_a_pause]);
}

#[test]
fn a_litestream_that_takes_up_nothing_new_is_told() {
    play(&[pitfalls::takes_up_nothing_new_after_a_rename]);
}

#[test]
fn unknown_lag_is_told_with_its_reason() {
    play(&[unknown::path_with_a_slash, unknown::file_without_its_wal]);
}

#[test]
fn idle_churn_of_litestream_0_5_5_is_counted() {
    play(&[unknown::churn]);
}

#[test]
fn an_odd_newest_object_is_critical_and_does_not_hide_the_lag() {
    play(&[odd::newest_of_v05, odd::newest_of_v03]);
}

#[test]
fn what_becomes_bad_and_well_again_is_in_the_log() {
    play(&[telling::dead_bucket, telling::missing_database]);
}

#[test]
fn every_kind_of_store_at_once_is_watched_drilled_and_restored() {
    play(&[fleet::every_kind_at_once]);
}

#[test]
fn every_fault_of_a_network_is_told_by_every_kind_of_store_and_ends() {
    play(&[network::every_fault_of_every_kind]);
}

#[test]
fn a_replica_on_sftp_is_seen_from_elsewhere() {
    play(&[on_sftp::observer]);
}

#[test]
fn all_ways_to_log_in_to_google_and_azure_are_known() {
    play(&[on_gs::credentials, on_abs::credentials]);
}
