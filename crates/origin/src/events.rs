//! What happened, for operators: the newest events in memory, numbered, and whoever reads them from there.
//!
//! Every output (`/api/v1/events` in its three forms, webhooks, the MQTT broker) is a [`Reader`] with a place of its own in one
//! ring. Nothing is queued anywhere else, so a reader that is slow or away costs nobody anything; once it is further behind than the
//! ring is long, it is told how many events it lost.

mod kind;
mod mqtt;
mod outputs;
mod webhook;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::clock::Clocks;

pub use kind::{KINDS, Kind};
pub use outputs::{Outputs, Tally};

/// Events kept: what a reader may be behind. Half an hour of a server on which two streams come or go each second, some 2 MB.
pub const KEPT: usize = 4_096;

/// Events that a reader gets at a time.
const BATCH_MAX: usize = 256;

/// Characters of an event's text.
const TEXT_MAX: usize = 400;

/// A limit that is reached is reached thousands of times a second; operators need to be told of it less often.
const LIMIT_INTERVAL: Duration = Duration::from_secs(10);

/// Numbers begin with the start's milliseconds times this, so that they rise over a restart unless more events than that come in each
/// millisecond. They stay below 2^53, where JavaScript counts exactly, until 2255.
const NUMBERS_PER_MS: u64 = 1_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Rises by one with each event, and over restarts.
    pub id: u64,
    /// When, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
    /// The stream's app; empty where it is about no stream.
    pub app: String,
    /// The stream's name.
    pub stream: String,
    /// The rest, for people.
    pub text: String,
}

impl Event {
    /// As JSON, on one line.
    pub fn json(&self) -> String {
        // Nothing in an event can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a reader gets at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Number of the newest event there is.
    pub newest: u64,
    /// Events between the place that was read from and the first one here that are no longer kept.
    pub lost: u64,
    /// The place that was read from is one of an earlier life of this server, whose events are gone.
    pub restarted: bool,
    /// Events behind that place, oldest first; not all there are, if the last one's number is not the newest.
    #[serde(serialize_with = "plain")]
    pub events: Vec<Arc<Event>>,
}

fn plain<S: Serializer>(events: &[Arc<Event>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(events.iter().map(AsRef::as_ref))
}

/// The newest events.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    /// The newest event's number.
    newest: watch::Sender<u64>,
    /// Its value before the first event.
    base: u64,
    limits: Mutex<HashMap<&'static str, Limit>>,
    clocks: Clocks,
    /// What became of posts to webhooks.
    pub webhooks: Tally,
    /// What became of messages to the MQTT broker.
    pub mqtt: Tally,
}

/// When operators were last told of a limit, monotonic, and how often it was reached since.
#[derive(Debug, Default)]
struct Limit {
    told: Option<Duration>,
    times: u64,
}

impl Events {
    /// Nothing has happened yet.
    pub fn new(clocks: Clocks) -> Arc<Events> {
        let base = clocks.wall().unix_millis().unsigned_abs().saturating_mul(NUMBERS_PER_MS);
        Arc::new(Events {
            kept: Mutex::default(),
            newest: watch::Sender::new(base),
            base,
            limits: Mutex::default(),
            clocks,
            webhooks: Tally::default(),
            mqtt: Tally::default(),
        })
    }

    /// Adds an event. Costs a short lock and a few small allocations: not for what happens per frame or per request.
    pub fn push(&self, kind: Kind, app: &str, stream: &str) {
        let time = self.clocks.wall().to_string();
        let text = kind.to_string().chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect();
        let (app, stream) = (app.to_owned(), stream.to_owned());
        let mut event = Event { id: 0, time, kind, app, stream, text };
        let mut kept = self.lock();
        event.id = *self.newest.borrow() + 1;
        let id = event.id;
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::new(event));
        self.newest.send_replace(id);
    }

    /// A limit was reached: an event, unless there was one lately for that limit. `app` and `stream` are empty where it is about no
    /// stream.
    pub fn limit_reached(&self, limit: &'static str, app: &str, stream: &str) {
        let now = self.clocks.now();
        let times = {
            let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
            let state = limits.entry(limit).or_default();
            state.times += 1;
            if state.told.is_some_and(|told| now.saturating_sub(told) < LIMIT_INTERVAL) {
                return;
            }
            state.told = Some(now);
            std::mem::take(&mut state.times)
        };
        self.push(Kind::LimitReached { limit, times }, app, stream);
    }

    /// The kept events with numbers above `after`, the oldest ones first.
    pub fn after(&self, after: u64) -> Page {
        let kept = self.lock();
        let newest = *self.newest.borrow();
        let is_ours = (self.base..=newest).contains(&after);
        // Who has read nothing begins with what is kept, and has lost nothing.
        let oldest = kept.front().map_or(newest, |event| event.id.saturating_sub(1));
        let from = match after {
            0 => oldest,
            _ if is_ours => after,
            _ => self.base,
        };
        let start = kept.partition_point(|event| event.id <= from);
        Page {
            newest,
            lost: oldest.saturating_sub(from),
            restarted: after != 0 && !is_ours,
            events: kept.iter().skip(start).take(BATCH_MAX).cloned().collect(),
        }
    }

    /// As [`Self::after`], but waits up to `wait` for an event when there is none.
    pub async fn wait_after(&self, after: u64, wait: Duration) -> Page {
        let mut newest = self.newest.subscribe();
        let is_news = |newest: &u64| *newest > after || (after > *newest && *newest > self.base);
        // Either way the answer is what there is then.
        let _ = tokio::time::timeout(wait, newest.wait_for(is_news)).await;
        self.after(after)
    }

    /// Reads on from event `after`, 0 for all that are kept.
    pub fn reader(self: &Arc<Events>, after: u64) -> Reader {
        let newest = self.newest.subscribe();
        let restarted = after != 0 && !(self.base..=*newest.borrow()).contains(&after);
        let after = if restarted { self.base } else { after };
        Reader { newest, events: Arc::clone(self), after, restarted }
    }

    /// The place before the first event: who reads on from here is told of all that is lost.
    pub fn start(&self) -> u64 {
        self.base
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Event>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the ring.
#[derive(Debug)]
pub struct Reader {
    events: Arc<Events>,
    newest: watch::Receiver<u64>,
    after: u64,
    /// It began at a place of an earlier life, and was not told yet.
    restarted: bool,
}

impl Reader {
    /// The next events, once there are some. Dropping the future loses none.
    pub async fn next(&mut self) -> Page {
        loop {
            self.newest.borrow_and_update();
            let mut page = self.events.after(self.after);
            if let Some(last) = page.events.last() {
                self.after = last.id;
                page.restarted = std::mem::take(&mut self.restarted);
                return page;
            }
            // The sender lives in `self.events`, so waiting can't fail.
            let _ = self.newest.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Rule, Weight};
    use crate::reload::Differences;

    fn unpublish() -> Kind {
        Kind::Unpublish { cause: "clean" }
    }

    #[test]
    fn numbers_rise_and_the_oldest_go() {
        let events = Events::new(Clocks::start());
        let base = events.base;
        let nothing = Page { newest: base, lost: 0, restarted: false, events: Vec::new() };
        assert_eq!(events.after(0), nothing);
        assert_eq!(events.after(base), nothing);
        for _ in 0..KEPT + 5 {
            events.push(unpublish(), "live", "cam");
        }
        let newest = base + KEPT as u64 + 5;
        let page = |after| {
            let page = events.after(after);
            let first = page.events.first().map(|event| event.id - base);
            assert_eq!(page.newest, newest);
            (first, page.events.len(), page.lost, page.restarted)
        };
        assert_eq!(page(0), (Some(6), BATCH_MAX, 0, false), "from the oldest on");
        assert_eq!(page(base + 2), (Some(6), BATCH_MAX, 3, false), "three are gone");
        assert_eq!(page(base + 5), (Some(6), BATCH_MAX, 0, false));
        assert_eq!(page(newest - 2), (Some(KEPT as u64 + 4), 2, 0, false));
        assert_eq!(page(newest), (None, 0, 0, false));
        assert_eq!(page(base - 1), (Some(6), BATCH_MAX, 5, true), "a number of an earlier life");
        assert_eq!(page(u64::MAX), (Some(6), BATCH_MAX, 5, true), "or of one whose clock was ahead");
    }

    #[test]
    fn no_line_can_be_forged() {
        let events = Events::new(Clocks::start());
        let encoder = "text\n\u{7}{}".to_owned();
        events.push(Kind::Publish { address: "192.0.2.1:5".to_owned(), encoder }, "live", "cam");
        let event = events.after(0).events[0].json();
        assert!(!event.contains('\n') && !event.contains('\u{7}'), "{event}");
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["kind"], "publish");
        assert_eq!(event["details"]["address"], "192.0.2.1:5");
    }

    #[test]
    fn a_limit_that_is_reached_again_and_again_is_told_once() {
        let events = Events::new(Clocks::start());
        for _ in 0..1_000 {
            events.limit_reached("limits.max_streams", "live", "cam");
        }
        events.limit_reached("http.max_connections", "", "");
        let kinds: Vec<_> = events.after(0).events.iter().map(|event| event.kind.clone()).collect();
        let told = |limit| Kind::LimitReached { limit, times: 1 };
        assert_eq!(kinds, [told("limits.max_streams"), told("http.max_connections")]);
    }

    #[tokio::test]
    async fn a_reader_waits_for_the_next_one() {
        let events = Events::new(Clocks::start());
        assert!(events.wait_after(0, Duration::from_millis(1)).await.events.is_empty());
        // The reader is polled first, so it is waiting when the event comes.
        let (page, ()) = tokio::join!(biased; events.wait_after(events.base, Duration::from_secs(30)), async {
            events.push(unpublish(), "live", "cam");
        });
        assert_eq!(page.events.len(), 1);
        let mut reader = events.reader(page.newest);
        let (page, ()) = tokio::join!(biased; reader.next(), async {
            events.push(Kind::StreamIdle { state: "ended" }, "live", "cam");
        });
        assert_eq!(page.events.len(), 1);
        assert_eq!(page.events[0].kind, Kind::StreamIdle { state: "ended" });
    }

    #[tokio::test]
    async fn a_reader_gets_each_event_once_and_learns_what_it_lost() {
        let events = Events::new(Clocks::start());
        let mut reader = events.reader(0);
        let mut ids = Vec::new();
        for round in 0..3 {
            for _ in 0..BATCH_MAX + round {
                events.push(unpublish(), "live", "cam");
            }
            let due = ids.len() + BATCH_MAX + round;
            while ids.len() < due {
                ids.extend(reader.next().await.events.iter().map(|event| event.id));
            }
        }
        assert_eq!(ids, (events.base + 1..=events.base + 3 * BATCH_MAX as u64 + 3).collect::<Vec<_>>());
        for _ in 0..KEPT + 7 {
            events.push(unpublish(), "live", "cam");
        }
        let page = reader.next().await;
        assert_eq!((page.lost, page.events[0].id), (7, ids.last().unwrap() + 8));
        assert_eq!(reader.next().await.lost, 0, "told once");

        let mut foreign = events.reader(u64::MAX);
        let page = foreign.next().await;
        assert!(page.restarted && page.lost > 0, "{}", page.lost);
        let page = foreign.next().await;
        assert_eq!((page.restarted, page.lost), (false, 0), "told once");
    }

    #[test]
    fn every_kind_is_named_as_in_json() {
        let (address, from, publisher) = (String::new(), String::new(), String::new());
        let (codecs, before) = (vec!["avc1.4d401f".to_owned()], vec!["mp4a.40.2".to_owned()]);
        let kinds = [
            Kind::Publish { address: address.clone(), encoder: String::new() },
            unpublish(),
            Kind::Takeover { address: address.clone(), from },
            Kind::TakeoverConflict { address, publisher },
            Kind::StreamReady { codecs: codecs.clone(), width: Some(640), height: Some(360) },
            Kind::StreamIdle { state: "waiting" },
            Kind::Discontinuity { media_sequence: 1, discontinuity_sequence: 2 },
            Kind::CodecChange { codecs, before },
            Kind::Health {
                rule: Rule::BFrames,
                weight: Weight::Note,
                is_found: true,
                finding: String::new(),
            },
            Kind::LimitReached { limit: "limits.max_streams", times: 3 },
            Kind::ConfigReload(Differences::default()),
        ];
        let in_json: Vec<_> = kinds
            .iter()
            .map(|kind| serde_json::to_value(kind).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(in_json, KINDS);
        assert_eq!(kinds.iter().map(Kind::name).collect::<Vec<_>>(), KINDS);
    }
}
