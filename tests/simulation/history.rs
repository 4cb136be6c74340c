//! How numbers went, over restarts: saved when it changed, and not when it did not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::history::{History, Point};
use streamgauge::domain::number::replica;
use streamgauge::domain::reason::Reason;
use streamgauge::domain::target::TargetName;
use streamgauge::usecase::ports::{Clock, EntryKey, EntryKind, Journal};
use streamgauge::usecase::watch::{Agent, AgentParts};
use tokio::sync::{mpsc, oneshot};

use crate::agent::{World, parts, reload, target};
use crate::scene::{Hand, until};
use crate::world::{put, wal};

/// What is kept, and the names whose history was written, as often as it was.
#[derive(Clone, Default)]
struct Kept {
    entries: Arc<Mutex<BTreeMap<EntryKey, String>>>,
    written: Arc<Mutex<Vec<String>>>,
    /// How often it was written until when history was recorded.
    recorded: Arc<Mutex<usize>>,
}

impl Journal for Kept {
    fn load(&mut self) -> Result<Vec<(EntryKey, String)>, Reason> {
        Ok(self.entries.lock().unwrap().clone().into_iter().collect())
    }

    fn save(&mut self, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> Result<(), Reason> {
        let mut kept = self.entries.lock().unwrap();
        kept.extend(entries.iter().cloned());
        gone.iter().for_each(|entry| drop(kept.remove(entry)));
        let histories = entries.iter().filter(|(entry, _)| entry.kind == EntryKind::History);
        self.written.lock().unwrap().extend(histories.map(|(entry, _)| entry.name.clone()));
        *self.recorded.lock().unwrap() += entries.iter().filter(|(entry, _)| entry.kind == EntryKind::Recorded).count();
        Ok(())
    }
}

impl Kept {
    fn written(&self) -> usize {
        self.written.lock().unwrap().len()
    }

    fn has(&self, name: &str) -> bool {
        self.entries.lock().unwrap().contains_key(&EntryKey::history(&TargetName(name.into())))
    }
}

fn published(world: &World) -> Option<History> {
    world.report.lock().unwrap().as_ref().map(|report| report.history.clone())
}

fn segments(history: &History, name: &str) -> Vec<Point> {
    history.series(name, Some("file"), &replica::LAST_SEGMENT)
}

/// A while passes, in which the agent looks at everything and saves.
async fn pass(world: &World, clock: &Hand, seconds: i64) {
    for _ in 0..3 {
        clock.pass(SignedDuration::from_secs(seconds / 3));
        for name in ["app", "idle"] {
            world.store(name).calls();
            until(|| (world.store(name).calls()[0] > 0).then_some(())).await;
        }
        let now = clock.now().wall();
        until(|| world.report.lock().unwrap().as_ref().filter(|report| report.generated_at > now).map(drop)).await;
    }
}

#[tokio::test]
async fn history_is_saved_when_it_changed_and_goes_with_its_database() {
    let (world, clock, kept) = (Arc::new(World::default()), Arc::new(Hand::new()), Kept::default());
    let targets = ["app", "idle"].map(|name| {
        put(&world.store(name).inner, 9, 1, 3, 0, Some(wal(100, 9)));
        target(name, false, name)
    });
    let start = || {
        let configured = world.configure_with(targets.to_vec(), 32, DrillLimits::default());
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let parts = AgentParts { clock, journal: Some(Box::new(kept.clone())), ..parts(&world) };
        let (reloads, requests) = mpsc::channel(8);
        let (stop, stopped) = oneshot::channel::<()>();
        let agent = Agent::start(parts, configured, requests).unwrap();
        (reloads, stop, tokio::spawn(agent.run(async move { drop(stopped.await) })))
    };
    let (_reloads, stop, ended) = start();
    until(|| published(&world).filter(|history| history.since("app").is_some() && history.since("idle").is_some()))
        .await;
    until(|| (!kept.entries.lock().unwrap().is_empty()).then_some(())).await;
    // What a crash leaves must not claim more than the history that it has.
    assert_eq!((kept.written(), *kept.recorded.lock().unwrap()), (0, 0));
    pass(&world, &clock, 660).await;
    until(|| (kept.written() == 2).then_some(())).await;

    // An idle fleet writes none, however often it is looked at.
    for _ in 0..3 {
        pass(&world, &clock, 660).await;
    }
    assert_eq!((kept.written(), *kept.recorded.lock().unwrap()), (2, 1));
    put(&world.store("app").inner, 0, 4, 4, 99, Some(wal(100, 12)));
    until(|| published(&world).filter(|history| segments(history, "app").len() == 2)).await;
    pass(&world, &clock, 660).await;
    until(|| (kept.written.lock().unwrap()[2..] == ["app"]).then_some(())).await;
    stop.send(()).unwrap();
    ended.await.unwrap();
    assert_eq!(kept.written(), 3, "all was saved before it ended");

    // The time in which nobody looked is a gap.
    clock.pass(SignedDuration::from_hours(1));
    *world.report.lock().unwrap() = None;
    let (reloads, stop, ended) = start();
    let history = until(|| published(&world).filter(|history| segments(history, "app").len() == 4)).await;
    let values: Vec<_> = segments(&history, "app").iter().map(|point| point.value.is_some()).collect();
    assert_eq!(values, [true, true, false, true]);
    assert_eq!(segments(&history, "idle").len(), 3);

    // It goes with its database, here and in the journal.
    world.configure_with(targets[..1].to_vec(), 32, DrillLimits::default());
    reload(&reloads).await.await.unwrap().unwrap();
    clock.pass(SignedDuration::from_secs(3_600));
    until(|| published(&world).filter(|history| history.since("idle").is_none())).await;
    clock.pass(SignedDuration::from_secs(60));
    until(|| (!kept.has("idle")).then_some(())).await;
    stop.send(()).unwrap();
    ended.await.unwrap();
    assert!(kept.has("app"));
}
