//! `streamgauge run`: the agent and its server, until told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::SignalKind;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use super::args::RunArgs;
use super::runtime::{Signals, block_on};
use super::sources::{Sources, configured, stores, web_config};
use super::supervise::supervise;
use super::version::{REVISION, VERSION};
use super::{drill, logging, notify};
use crate::delivery::http::{Guard, ReloadHandle, Room, Server};
use crate::delivery::render::published::ReportCell;
use crate::domain::limits::{LAST_SAVE_TIMEOUT, SHUTDOWN_TIMEOUT};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::run_on_thread;
use crate::infrastructure::clock::SystemClock;
use crate::infrastructure::config::{Loaded, Settings};
use crate::infrastructure::database::Watch;
use crate::infrastructure::endpoint::Endpoint;
use crate::infrastructure::journal::SqliteJournal;
use crate::infrastructure::notify::Receivers;
use crate::infrastructure::{process, supervisor};
use crate::usecase::notify::Outlet;
use crate::usecase::ports::{AskedBy, Clock, Journal};
use crate::usecase::watch::{Agent, AgentParts};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// When the configuration has problems or an address cannot be listened on.
pub fn main(args: &RunArgs) -> Result<ExitCode, Reason> {
    let sources = Sources::of_run(args);
    let loaded = sources.read()?;
    logging::init(&loaded.settings.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    block_on(serve(sources, loaded, |_| {}))??;
    Ok(ExitCode::SUCCESS)
}

/// Runs agent and server; `ready` is told the addresses that are listened on.
pub async fn serve(sources: Sources, loaded: Loaded, ready: impl FnOnce(&[SocketAddr])) -> Result<(), Reason> {
    process::count_panics();
    // Before anybody is told that it is ready: until then a signal to reload would end it.
    let signals = Signals::listen([SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()])?;
    let server = listen(&loaded.settings).await?;
    let cell = ReportCell::default();
    let (reload, reloads) = ReloadHandle::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let outlet = Outlet::new(Arc::clone(&clock), Arc::new(Receivers::new(notify::sender(&loaded.settings))));
    let stores = stores(&loaded.settings);
    sources.observe(Arc::clone(&stores));
    let parts = AgentParts {
        clock,
        watch: Box::new(Watch::new()),
        run_watch: run_on_thread,
        stores,
        configuration: Arc::new(sources),
        journal: loaded.settings.storage.as_deref().map(|path| Box::new(SqliteJournal::new(path)) as Box<dyn Journal>),
        publisher: Arc::new(cell.clone()),
        process: process::read,
        drills: Some(Arc::new(drill::runner(&loaded.settings, loaded.settings.drill_scratch())?)),
        alerts: Some(Arc::new(outlet)),
        version: VERSION,
        revision: REVISION,
    };
    let local = server.local_addrs();
    say_started(&loaded, &server.places());
    let agent = Agent::start(parts, configured(loaded), reloads)?;
    let (stop, stopped) = watch::channel(false);
    let stopping = |mut stopped: watch::Receiver<bool>| async move {
        // The sender going away is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    ready(&local);
    supervisor::ready();
    let supervising = tokio::spawn(supervise(cell.clone()));
    let mut agent = tokio::spawn(agent.run(stopping(stopped.clone())));
    let mut server = tokio::spawn(server.serve(cell, reload.clone(), stopping(stopped)));
    until_stopped(stop_signal(signals, &reload), &mut agent, &mut server).await?;
    tracing::info!("stopping");
    supervising.abort();
    supervisor::stopping();
    // Nobody is left to be told when both have ended already.
    let _ = stop.send(true);
    let (saved, answered) = tokio::join!(timeout(LAST_SAVE_TIMEOUT, agent), timeout(SHUTDOWN_TIMEOUT, server));
    match answered {
        Ok(ended) => ended.map_err(|error| ended_early("stop", Err(error)))?,
        Err(_) => tracing::warn!("not all requests finished in time"),
    }
    match saved {
        Ok(ended) => ended.map_err(|error| ended_early("stop", Err(error)))?,
        Err(_) => tracing::warn!("not all state was saved: the disk did not answer in time"),
    }
    Ok(())
}

/// Listens where the settings say, for whom they say.
async fn listen(settings: &Settings) -> Result<Server, Reason> {
    // Before anything asks how many there are.
    let room = Room::within(process::raise_descriptors());
    let web = &settings.web;
    let policy = web_config(settings)?.zip(web.config_file.clone());
    for warning in policy.iter().flat_map(|(policy, _)| &policy.warnings) {
        tracing::warn!("{warning}");
    }
    let addresses: Vec<String> = web.listen_address.iter().map(ToString::to_string).collect();
    let server = if web.systemd_socket { Server::activated()? } else { Server::bind(&addresses).await? };
    let endpoint = policy.map(|(policy, file)| Endpoint::follow(file, policy)).unwrap_or_default();
    Ok(server.with(Guard::new(&web.allowed_hosts, &process::host_name()), room, endpoint))
}

/// Says in the log what is run, and of what.
pub fn say_started(loaded: &Loaded, listens: &[String]) {
    let listens = listens.join(" ");
    let sources = loaded.sources.iter().map(|source| source.source.clone()).collect::<Vec<_>>().join(" ");
    let replicas: usize = loaded.targets.iter().map(|target| target.replicas.len()).sum();
    let (databases, receivers) = (loaded.targets.len(), loaded.settings.alerting.receivers.len());
    let storage = loaded.settings.storage.as_ref().map(|path| path.display().to_string());
    let (version, revision) = (VERSION, REVISION);
    tracing::info!(version, revision, sources, databases, replicas, receivers, listens, storage, "started");
}

/// Waits until it is to stop. An agent or a server that ends by itself is an error, so that whoever supervises this
/// process starts it anew: what the other of the two says would only look as if all were well.
async fn until_stopped(
    signal: impl Future<Output = ()>,
    agent: &mut JoinHandle<()>,
    server: &mut JoinHandle<()>,
) -> Result<(), Reason> {
    tokio::select! {
        () = signal => Ok(()),
        ended = agent => Err(ended_early("run the agent", ended)),
        ended = server => Err(ended_early("serve", ended)),
    }
}

fn ended_early(doing: &str, ended: Result<(), JoinError>) -> Reason {
    let why = ended.err().map_or_else(|| "it exited".to_owned(), |error| error.to_string());
    Reason::new(ReasonKind::Failed, format!("{doing}: internal error: {why}"))
        .with_hint("start it again, as systemd does with Restart=on-failure, and report this")
}

/// Waits for the signal to stop; SIGHUP reloads.
async fn stop_signal(mut signals: Signals, reload: &ReloadHandle) {
    while signals.next().await == SignalKind::hangup() {
        let reload = reload.clone();
        // What is wrong with the configuration is logged by the agent and seen in its metrics.
        tokio::spawn(async move {
            supervisor::reloading();
            drop(reload.reload(AskedBy::Owner).await);
            supervisor::ready();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_an_error() {
        let work = || tokio::spawn(pending::<()>());
        let panics = || tokio::spawn(async { panic!("told to panic") });
        let cases = [
            (panics(), work(), "run the agent: internal error: task "),
            (tokio::spawn(async {}), work(), "run the agent: internal error: it exited"),
            (work(), panics(), "serve: internal error: task "),
        ];
        for (mut agent, mut server, expected) in cases {
            let reason = until_stopped(pending(), &mut agent, &mut server).await.expect_err("it is still running");
            assert!(reason.message.starts_with(expected), "{reason}");
        }
        let signalled = until_stopped(async {}, &mut work(), &mut work()).await;
        assert_eq!(signalled, Ok(()));
    }
}
