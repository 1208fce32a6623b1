//! `/api/v1/live/events`: the page's list as it changes, with each second's figures, as server-sent events.
//!
//! All readers share one task, which looks at the streams once a second while somebody reads, and ends when nobody does. It holds
//! nothing back for anybody: a reader that is slow gets the newest list and figures when it takes them.
//!
//! Three events: `list` is all of `/api/v1/live`, first of all; `changed` has the streams of it that are new or other, and the names
//! of those that are gone; `figures` comes each second, whatever happens, so each side sees when the other one is away.
//!
//! A reader that may be told of some streams only gets a text of its own, of these. Each second it is looked at anew what it may be told; a reader
//! that has nothing coming any more, because its token has ended or names are listed to nobody, is at its end, and hears why when it comes back.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::live::LiveStream;
use super::payload::{Aborted, LiveBody, Payload};
use super::response::{NO_STORE, Reply};
use crate::auth::{Authorizer, Listing};
use crate::config::InForce;
use crate::metrics::STREAMS_MAX;
use crate::registry::{Registry, state_text};

/// Readers at a time: each is a page that somebody looks at. Whoever comes later asks for the list now and then.
const READERS_MAX: usize = 500;

/// Figures that move faster can't be read.
const EVERY: Duration = Duration::from_secs(1);

/// What a reader gets first: how soon to come back after a break (HTML, 9.2.6).
const RETRY: Bytes = Bytes::from_static(b"retry: 2000\n\n");

/// The list for those who follow it.
#[derive(Debug)]
pub(super) struct Feed {
    registry: Arc<Registry>,
    config: InForce,
    readers: Arc<Semaphore>,
    ticks: watch::Sender<Arc<Tick>>,
    /// Whether the task runs. Readers come and it goes under this lock, so none is left without it.
    is_running: Mutex<bool>,
}

/// What there is to tell at one moment, as it goes out.
#[derive(Debug, Default)]
struct Tick {
    /// Counts the lists that differ.
    revision: u64,
    list: Bytes,
    /// From the list before to this one.
    changed: Bytes,
    figures: Bytes,
    /// Each stream by itself.
    streams: Vec<Told>,
}

/// A stream as it is told of.
#[derive(Debug)]
struct Told {
    app: String,
    name: String,
    listed: Arc<str>,
    figures: Option<String>,
}

impl Told {
    fn key(&self) -> String {
        format!("{}/{}", self.app, self.name)
    }
}

/// A stream's figures; rates are those of the last second.
#[derive(Debug, Serialize)]
struct Figures<'a> {
    app: &'a str,
    name: &'a str,
    state: &'static str,
    /// Bits per second from the publisher, whatever they are for.
    bitrate: Option<u64>,
    /// Pictures per second.
    frame_rate: Option<f64>,
    /// Of outputs without segments; nobody knows who else looks.
    viewers: u32,
}

/// A stream's text in the list, and what had come.
type Seen = (Arc<str>, (u64, u64));

/// What one look leaves for the next one.
#[derive(Debug, Default)]
struct Before {
    revision: u64,
    looked: Option<Instant>,
    /// By app and name.
    streams: HashMap<(String, String), Seen>,
}

/// The answer to `/api/v1/live/events` for one at `address` who shows `token`.
pub(super) fn events(context: &super::Context, address: IpAddr, token: Option<&str>) -> Reply {
    let feed = &context.feed;
    let Ok(permit) = Arc::clone(&feed.readers).try_acquire_owned() else {
        return Reply::unavailable("too many follow the list\n");
    };
    let reader = Reader {
        pending: VecDeque::from([RETRY]),
        revision: None,
        next: Some(next(feed.follow())),
        feed: Arc::clone(feed),
        authorizer: context.authorizer.clone(),
        address,
        token: token.map(str::to_owned),
        own: None,
        _permit: permit,
    };
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let content_type = HeaderValue::from_static("text/event-stream");
    Reply::new(StatusCode::OK, content_type, NO_STORE, Payload::live(reader)).with(unbuffered.0, unbuffered.1)
}

impl Feed {
    pub(super) fn new(registry: Arc<Registry>, config: InForce) -> Arc<Feed> {
        Arc::new(Feed {
            registry,
            config,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            ticks: watch::Sender::default(),
            is_running: Mutex::default(),
        })
    }

    /// What is to tell from now on; what was told last comes at once, unless it is from another time.
    fn follow(self: &Arc<Feed>) -> watch::Receiver<Arc<Tick>> {
        let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ticks = self.ticks.subscribe();
        if *is_running {
            ticks.mark_changed();
        } else {
            *is_running = true;
            tokio::spawn(Arc::clone(self).run());
        }
        ticks
    }

    async fn run(self: Arc<Feed>) {
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Before::default();
        loop {
            looks.tick().await;
            {
                let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
                if self.ticks.receiver_count() == 0 {
                    *is_running = false;
                    self.ticks.send_replace(Arc::default());
                    return;
                }
            }
            self.ticks.send_replace(Arc::new(self.look(&mut before)));
        }
    }

    fn look(&self, before: &mut Before) -> Tick {
        let now = Instant::now();
        let micros = before.looked.replace(now).map(|looked| (now - looked).as_micros().max(1));
        let rate =
            |count: u64| Some(u64::try_from(u128::from(count) * 1_000_000_000 / micros?).unwrap_or(u64::MAX));
        let streams: Vec<_> =
            self.registry.streams().into_iter().map(|stream| (stream.current(), stream)).collect();
        let mut seen = HashMap::with_capacity(streams.len());
        let (mut told, mut changed, mut figures) = (Vec::new(), Vec::new(), 0);
        for (published, stream) in &streams {
            let Some(listed) = LiveStream::of(stream, published) else { continue };
            let Ok(text) = serde_json::to_string(&listed).map(Arc::<str>::from) else { continue };
            let key = (stream.app().to_owned(), stream.name().to_owned());
            let received = stream.received();
            let last = before.streams.remove(&key);
            let measured = (figures < STREAMS_MAX).then(|| {
                figures += 1;
                let since = last
                    .as_ref()
                    .map(|(_, last)| (received.0.saturating_sub(last.0), received.1.saturating_sub(last.1)));
                let has_pictures = published.snapshot.tracks.video.is_some();
                Figures {
                    app: stream.app(),
                    name: stream.name(),
                    state: state_text(published.snapshot.state),
                    bitrate: since.and_then(|(bytes, _)| Some(rate(bytes.saturating_mul(8))? / 1_000)),
                    frame_rate: since
                        .filter(|_| has_pictures)
                        .and_then(|(_, pictures)| u32::try_from(rate(pictures)?).ok())
                        .map(|millihertz| f64::from(millihertz) / 1_000.0),
                    viewers: stream.viewers().sum(),
                }
            });
            if last.is_none_or(|(last, _)| last != text) {
                changed.push(Arc::clone(&text));
            }
            told.push(Told {
                app: key.0.clone(),
                name: key.1.clone(),
                listed: Arc::clone(&text),
                figures: measured.and_then(|figures| serde_json::to_string(&figures).ok()),
            });
            seen.insert(key, (text, received));
        }
        let gone: Vec<String> = before.streams.keys().map(|(app, name)| format!("{app}/{name}")).collect();
        before.streams = seen;
        if !changed.is_empty() || !gone.is_empty() || before.revision == 0 {
            before.revision += 1;
        }
        Tick {
            revision: before.revision,
            list: list_event(told.iter()),
            changed: changed_event(&changed, &gone),
            figures: figures_event(told.iter()),
            streams: told,
        }
    }
}

fn list_event<'a>(streams: impl Iterator<Item = &'a Told>) -> Bytes {
    let streams: Vec<&str> = streams.map(|told| &*told.listed).collect();
    event("list", &format!("[{}]", streams.join(",")))
}

fn changed_event(streams: &[Arc<str>], gone: &[String]) -> Bytes {
    let gone = serde_json::to_string(gone).unwrap_or_default();
    event("changed", &format!("{{\"streams\":[{}],\"gone\":{gone}}}", streams.join(",")))
}

fn figures_event<'a>(streams: impl Iterator<Item = &'a Told>) -> Bytes {
    let figures: Vec<&str> = streams.filter_map(|told| told.figures.as_deref()).collect();
    event("figures", &format!("[{}]", figures.join(",")))
}

/// JSON as it is written here has no line breaks.
fn event(name: &str, json: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {json}\n\n"))
}

type Next = Pin<Box<dyn Future<Output = Option<(Arc<Tick>, watch::Receiver<Arc<Tick>>)>> + Send>>;

/// The next tick, and where the one after it comes from.
fn next(mut ticks: watch::Receiver<Arc<Tick>>) -> Next {
    Box::pin(async move {
        ticks.changed().await.ok()?;
        let tick = Arc::clone(&ticks.borrow_and_update());
        Some((tick, ticks))
    })
}

/// One who follows the list.
struct Reader {
    pending: VecDeque<Bytes>,
    /// Of the list that it has.
    revision: Option<u64>,
    next: Option<Next>,
    feed: Arc<Feed>,
    authorizer: Option<Arc<Authorizer>>,
    address: IpAddr,
    token: Option<String>,
    /// While it may not be told of everything.
    own: Option<Own>,
    _permit: OwnedSemaphorePermit,
}

/// What a reader has been told that may not be told of everything.
struct Own {
    listing: Listing,
    /// By app and name, what `listing` said of it: asked once.
    may: HashMap<String, bool>,
    /// The list that it has; `None` before the first.
    has: Option<HashMap<String, Arc<str>>>,
}

impl Own {
    fn new(listing: Listing) -> Own {
        Own { listing, may: HashMap::new(), has: None }
    }

    /// The events of one tick.
    fn events(&mut self, tick: &Tick) -> Vec<Bytes> {
        let before = std::mem::take(&mut self.may);
        let mut streams = Vec::new();
        for told in &tick.streams {
            let key = told.key();
            let may = before.get(&key).copied();
            let may = may.unwrap_or_else(|| self.listing.names(&told.app, &told.name));
            if may {
                streams.push((key.clone(), told));
            }
            self.may.insert(key, may);
        }
        let listed = || streams.iter().map(|(_, told)| *told);
        let has = streams.iter().map(|(key, told)| (key.clone(), Arc::clone(&told.listed))).collect();
        let mut events = Vec::new();
        match self.has.replace(has) {
            None => events.push(list_event(listed())),
            Some(mut had) => {
                let mut changed = Vec::new();
                for (key, told) in &streams {
                    if had.remove(key).is_none_or(|before| before != told.listed) {
                        changed.push(Arc::clone(&told.listed));
                    }
                }
                let gone: Vec<String> = had.into_keys().collect();
                if !changed.is_empty() || !gone.is_empty() {
                    events.push(changed_event(&changed, &gone));
                }
            }
        }
        events.push(figures_event(listed()));
        events
    }
}

impl Reader {
    /// What is told of one tick; `None` when nothing is told any more.
    fn told(&mut self, tick: &Tick) -> Option<Vec<Bytes>> {
        if !self.feed.config.now().http.page {
            return None;
        }
        let listing = match &self.authorizer {
            Some(authorizer) => authorizer.listing(self.address, self.token.as_deref()).ok()?,
            None => Listing::EVERYTHING,
        };
        if !listing.is_everything() {
            self.revision = None;
            let own = self.own.get_or_insert_with(|| Own::new(Listing::EVERYTHING));
            if !own.listing.is_as(&listing) {
                // Each name is looked at anew; what the reader has stays.
                own.may.clear();
            }
            own.listing = listing;
            return Some(own.events(tick));
        }
        self.own = None;
        let list = match self.revision.replace(tick.revision) {
            Some(revision) if revision == tick.revision => None,
            Some(revision) if revision + 1 == tick.revision => Some(tick.changed.clone()),
            Some(_) | None => Some(tick.list.clone()),
        };
        Some(list.into_iter().chain([tick.figures.clone()]).collect())
    }
}

impl LiveBody for Reader {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        loop {
            if let Some(bytes) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let told = ready!(next.as_mut().poll(cx));
            let Some((tick, ticks)) = told else {
                self.next = None;
                continue;
            };
            self.next = self.told(&tick).map(|events| {
                self.pending.extend(events);
                self::next(ticks)
            });
        }
    }

    fn drain(&mut self) -> Result<(), Aborted> {
        Ok(())
    }
}
