//! One connection: a publisher's bytes through RTMP and FLV into the packager it holds. What a player gets is in [`super::play`].

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{self, Poll};
use std::time::Duration;

use bytes::BytesMut;
use headwater_flv::Demuxer;
use headwater_media::{Cause, Event};
use headwater_packager::Refusal;
use headwater_rtmp::{
    MediaMessage, MessageKind, PublishError, PublishRequest, ServerConnection, ServerEvent, Status,
    StreamTarget, status,
};
use opentelemetry::trace::SpanKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use super::batch::{self, Flow};
use super::gather::Gather;
use super::play::Playing;
use super::rate::Rate;
use super::trace::{self, Beginning};
use super::{Context, Terms};
use crate::auth::hooks::Published;
use crate::auth::{Denied, Shown};
use crate::config::size_text;
use crate::cues;
use crate::listen::Accepted;
use crate::registry::{Publisher, Seated};
use crate::telemetry::{Parent, Span};
use crate::transport::Transport;

/// The read buffer: large enough for a read to bring several frames (DESIGN 4).
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Room kept free for a read.
const READ_SPARE_BYTES: usize = 16 << 10;

/// A publisher this far ahead of the clock is not read from until the clock has caught up (DESIGN 5).
const AHEAD_MAX: Duration = Duration::from_secs(10);

/// How long a paced publisher is left alone at a time: long enough to cost nothing, short against what it is ahead.
const PACE_PAUSE: Duration = Duration::from_millis(50);

/// An answer that the peer does not take within this ends the connection.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// After a last word, the peer gets this long to close its side: closing at once with bytes unread makes the system send
/// RST, and the peer would never see why.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of a dismissed peer that are read and thrown away while it leaves.
const LINGER_BYTES_MAX: usize = 4 << 20;

/// After so many reads from one peer, whatever else may be due is looked at.
const READS_IN_A_ROW: u32 = 16;

/// What happened next on a connection that plays nothing.
enum Next {
    Read(io::Result<usize>),
    /// The pause is over.
    Rested,
    TimedOut,
    Evicted,
    /// Somebody is about to play what is newest.
    Attended,
    Shutdown,
}

/// How a connection ended, for its one log line.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Rtmp(#[from] headwater_rtmp::Error),
    #[error("the peer did not take an answer within {} s", WRITE_TIMEOUT.as_secs())]
    WriteStalled,
    #[error("{0}")]
    Dismissed(String),
    #[error("the server is going down")]
    Shutdown,
    #[error("a newcomer took the stream over")]
    Evicted,
    #[error("an operator disconnected this publisher")]
    Kicked,
    #[error("what was played has ended")]
    Played,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    accepted: Accepted,
    context: &Context,
    terms: Terms,
    shutdown: watch::Receiver<bool>,
) {
    let Accepted { stream, peer, tls, is_proxied } = accepted;
    let span =
        tracing::info_span!("rtmp", %peer, app = tracing::field::Empty, stream = tracing::field::Empty);
    async {
        let beginning = Beginning::now(&context.telemetry);
        let mut random = [0; headwater_rtmp::handshake::RANDOM_BYTES];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::error!(%error, "no random bytes; the connection is closed");
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let is_secure = tls.is_some();
        let socket = match tls {
            None => Transport::Plain(stream),
            Some(acceptor) => {
                match shake_hands(stream, &acceptor, terms.limits.handshake_timeout, shutdown.clone()).await {
                    Ok(socket) => socket,
                    Err(error) => {
                        tracing::debug!(%error, "no TLS handshake");
                        return;
                    }
                }
            }
        };
        let mut connection = Connection {
            rtmp: ServerConnection::new(terms.limits, random, context.clocks.now()),
            rate: Rate::new(terms.max_bitrate, context.clocks.now()),
            flow: Flow::default(),
            gather: Gather::new(context.clocks.now()),
            pace: terms.pace,
            socket,
            peer,
            is_direct: !is_proxied,
            is_secure,
            beginning,
            context,
            encoder: String::new(),
            publication: None,
            playing: None,
            published: false,
        };
        let ended = connection.run(shutdown).await;
        connection.finish(&ended).await;
    }
    .instrument(span)
    .await;
}

/// TLS before anything else, within the time that RTMP's own handshake may take.
async fn shake_hands(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    limit: Duration,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<Transport> {
    // In a place of its own: a handshake's state is large, and soon gone.
    let handshake = Box::pin(Transport::handshake(stream, acceptor));
    tokio::select! {
        done = tokio::time::timeout(limit, handshake) => {
            done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        }
        _ = shutdown.wait_for(|down| *down) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// What is being published on this connection.
pub(super) struct Publication {
    stream_id: u32,
    seated: Seated,
    /// Resolves when it must leave.
    evicted: Pin<Box<OwnedNotified>>,
    /// Resolves when somebody comes to a stream that nobody paid attention to.
    attended: Pin<Box<OwnedNotified>>,
    demuxer: Demuxer,
    /// Filled and drained per message; its memory is reused.
    events: Vec<Event>,
    /// Tells the operator's program when it is dropped.
    _told: Option<Published>,
    span: Span,
}

pub(super) struct Connection<'a> {
    pub(super) rtmp: ServerConnection,
    pub(super) rate: Rate,
    flow: Flow,
    gather: Gather,
    /// A publisher faster than real time is slowed down to it.
    pace: bool,
    pub(super) socket: Transport,
    pub(super) peer: SocketAddr,
    /// Nobody stands between us, so that its address is its own.
    is_direct: bool,
    /// Inside TLS.
    is_secure: bool,
    /// Until something is published, where that is traced.
    beginning: Option<Beginning>,
    pub(super) context: &'a Context,
    encoder: String,
    pub(super) publication: Option<Publication>,
    /// What is played.
    pub(super) playing: Option<Playing>,
    /// Something was published on this connection.
    published: bool,
}

impl Connection<'_> {
    async fn run(&mut self, mut shutdown: watch::Receiver<bool>) -> Ended {
        let mut input = BytesMut::with_capacity(READ_BUFFER_BYTES);
        // They live as long as the connection: to begin and to drop them with each message would cost as much as to read it.
        let mut down = pin!(down(shutdown.clone()));
        let mut rest = pin!(tokio::time::sleep(Duration::ZERO));
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut reads = 0_u32;
        loop {
            let pause = self.pause();
            if let Some(pause) = pause {
                rest.as_mut().reset(Instant::now() + pause);
            }
            let next = poll_fn(|cx| {
                // Who sends faster than is read must not be all that is looked at.
                let looks_around = reads >= READS_IN_A_ROW;
                let mut read = |cx: &mut task::Context<'_>| match pause {
                    None => poll_read(&mut self.socket, &mut input, cx).map(Next::Read),
                    Some(_) => rest.as_mut().poll(cx).map(|()| Next::Rested),
                };
                if !looks_around && let Poll::Ready(next) = read(cx) {
                    reads += 1;
                    return Poll::Ready(next);
                }
                reads = 0;
                if let Some(publication) = &mut self.publication
                    && publication.evicted.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Next::Evicted);
                }
                if let Some(publication) = &mut self.publication
                    && publication.attended.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Next::Attended);
                }
                if down.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Shutdown);
                }
                if let Some(at) = self.rtmp.next_timeout().into_iter().chain(self.gather.deadline()).min() {
                    let at = self.context.clocks.instant(at);
                    // It mostly moves on with each message; the timer follows when it is over.
                    if at < timer.deadline() || timer.is_elapsed() {
                        timer.as_mut().reset(at);
                    }
                    while timer.as_mut().poll(cx).is_ready() {
                        if at <= timer.deadline() {
                            return Poll::Ready(Next::TimedOut);
                        }
                        timer.as_mut().reset(at);
                    }
                }
                if looks_around { read(cx) } else { Poll::Pending }
            });
            match next.await {
                Next::Rested => {
                    // A publisher that waits for us is not a silent one.
                    if let Some(publication) = self.publication.as_mut() {
                        publication.seated.heard(0, self.context.clocks.now());
                    }
                }
                Next::TimedOut => {
                    let now = self.context.clocks.now();
                    if let Some(bytes) = self.gather.stalled(now) {
                        self.socket.set_low_water(bytes);
                    }
                    if let Err(error) = self.rtmp.handle_timeout(now) {
                        return error.into();
                    }
                }
                Next::Evicted => return self.eviction(),
                Next::Attended => {
                    if let Some(publication) = &mut self.publication {
                        publication.attended.set(publication.seated.stream().attended());
                    }
                    if let Some(bytes) = self.gather.attended(self.context.clocks.now()) {
                        self.socket.set_low_water(bytes);
                    }
                }
                Next::Shutdown => return Ended::Shutdown,
                Next::Read(Ok(0)) => return Ended::Closed,
                Next::Read(Ok(bytes)) => {
                    let now = self.context.clocks.now();
                    self.rate.read(bytes, now);
                    if let Some(publication) = &mut self.publication {
                        publication.seated.heard(bytes, now);
                        publication.seated.waited(self.gather.waited(now));
                    }
                    let parsed = self.rtmp.handle_input(&mut input, now);
                    self.plan_reads(bytes, now);
                    if let Some(beginning) = self.beginning.as_mut().filter(|_| self.rtmp.is_established()) {
                        beginning.established();
                    }
                    // What came before an error is still delivered.
                    if let Err(ended) = self.take_events().await {
                        return ended;
                    }
                    if let Err(error) = parsed {
                        return error.into();
                    }
                }
                Next::Read(Err(error)) => return error.into(),
            }
            if let Err(ended) = self.flush().await {
                return ended;
            }
            if self.playing.is_some()
                && let Err(ended) = self.play_out(&mut input, &mut shutdown).await
            {
                return ended;
            }
        }
    }

    /// Bytes of a publisher were read and taken apart: when to read the next ones.
    fn plan_reads(&mut self, bytes: usize, now: Duration) {
        let Some(publication) = &self.publication else { return };
        let is_awaited = publication.seated.stream().is_awaited();
        batch::read(self.flow.read(bytes, now) || is_awaited);
        if let Some(bytes) = self.gather.read(bytes, is_awaited, self.rtmp.unfinished(), now) {
            self.socket.set_low_water(bytes);
        }
    }

    /// How long to leave the socket unread, because its media is ahead of the clock, or because more comes than may.
    pub(super) fn pause(&self) -> Option<Duration> {
        let now = self.context.clocks.now();
        let is_ahead = |publication: &Publication| publication.seated.ahead(now) > AHEAD_MAX;
        let is_ahead = self.pace && self.publication.as_ref().is_some_and(is_ahead);
        (is_ahead || self.rate.is_exceeded(now)).then_some(PACE_PAUSE)
    }

    pub(super) async fn take_events(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.rtmp.poll_event() {
            match event {
                ServerEvent::Connected(connect) => {
                    self.encoder.clone_from(&connect.flash_ver);
                    tracing::debug!(encoder = self.encoder, "connected");
                }
                ServerEvent::Publish(request) => self.publish(&request).await?,
                ServerEvent::Play(request) => self.play(&request).await?,
                ServerEvent::Stop { stream_id } => drop(self.playing.take_if(|p| p.stream_id == stream_id)),
                ServerEvent::Refused { refusal, .. } => return Err(Ended::Dismissed(refusal.to_string())),
                ServerEvent::Media(message) => self.media(message)?,
                ServerEvent::Unpublish { stream_id, cause } => self.unpublish(stream_id, cause),
                _ => {}
            }
        }
        Ok(())
    }

    async fn publish(&mut self, request: &PublishRequest) -> Result<(), Ended> {
        let (stream_id, target) = (request.stream_id, &request.target);
        if self.publication.is_some() || self.playing.is_some() {
            // One connection, one seat: nobody's encoder does this, and a second one would make the limits meaningless.
            let playing = self.playing.is_some();
            let reason = if playing { "this connection plays" } else { "this connection publishes already" };
            self.rtmp.reject_publish(stream_id, PublishError::Rejected, reason);
            return Err(Ended::Dismissed(reason.to_owned()));
        }
        let (root, beginning) = (self.context.telemetry.root(), self.beginning.take());
        let mut span = trace::publish(&root, beginning, self.peer, &self.encoder, self.is_secure);
        let mut authorize = span.parent().span("authorize", SpanKind::Internal);
        let permitted = self.permit(target, &authorize.parent()).await;
        if let Err(denied) = permitted {
            authorize.fail(trace::denied(denied));
        }
        authorize.end();
        let (name, mut told) = match permitted {
            Ok(permitted) => permitted,
            Err(denied) => {
                span.fail(trace::denied(denied));
                span.end();
                let code = match denied {
                    Denied::AppReserved | Denied::NameReserved => PublishError::BadName,
                    _ => PublishError::Denied,
                };
                self.rtmp.reject_publish(stream_id, code, &denied.to_string());
                // What stands in the place of the name may be a mistyped key, so it is not logged.
                return Err(Ended::Dismissed(format!("publishing to app {} refused: {denied}", target.app)));
            }
        };
        let publisher = Publisher::new(self.peer, &self.encoder, self.context.clocks.now());
        let seated = match self.context.registry.publish(&target.app, &name, publisher).await {
            Ok(seated) => seated,
            Err(busy) => {
                span.fail(trace::busy(&busy));
                span.end();
                self.rtmp.reject_publish(stream_id, PublishError::BadName, &busy.to_string());
                return Err(Ended::Dismissed(busy.to_string()));
            }
        };
        let log = tracing::Span::current();
        log.record("app", &target.app);
        log.record("stream", &name);
        let span = trace::accepted(span, &target.app, &name);
        if let Some(told) = &mut told {
            told.trace_within(span.parent());
        }
        tracing::info!(encoder = self.encoder, "publishing");
        self.rtmp.accept_publish(stream_id);
        self.published = true;
        let (demuxer, events, evicted) = (Demuxer::new(), Vec::new(), Box::pin(seated.evicted()));
        let attended = Box::pin(seated.stream().attended());
        self.publication =
            Some(Publication { stream_id, seated, evicted, attended, demuxer, events, _told: told, span });
        Ok(())
    }

    /// Under which name a publisher may publish, and who is told of its end.
    async fn permit(
        &self,
        target: &StreamTarget,
        within: &Parent,
    ) -> Result<(String, Option<Published>), Denied> {
        let parameter = |name| target.query.as_ref().and_then(|query| query.parameter(name));
        let (key, token) = (parameter("key"), parameter("token"));
        let shown = Shown { key: key.as_deref(), token: token.as_deref(), is_direct: self.is_direct };
        let authorizer = &self.context.authorizer;
        let name = authorizer.publish(self.peer.ip(), &target.app, &target.name, &shown)?;
        let query = target.query.as_ref().map_or("", |query| query.expose());
        // In a place of its own: few publications ask, and a question takes more room than a connection.
        Box::pin(authorizer.ask_to_publish(self.peer, &target.app, name, query, within)).await
    }

    fn media(&mut self, message: MediaMessage) -> Result<(), Ended> {
        let Some(publication) = self.publication.as_mut().filter(|p| p.stream_id == message.stream_id) else {
            return Ok(());
        };
        let Publication { seated, demuxer, events, .. } = publication;
        let (time, body) = (message.timestamp, message.payload);
        let demuxed = match message.kind {
            MessageKind::Audio => demuxer.audio(time, body, events),
            MessageKind::Video => demuxer.video(time, body, events),
            MessageKind::Data => demuxer.data(time, body, events),
        };
        let mut refusal = None;
        match demuxed {
            Ok(()) => {}
            Err(error) if error.is_fatal() => refusal = Some(error.to_string()),
            // One bad tag is dropped; the demuxer counts it, and the log tells of it when somebody looks.
            Err(error) => tracing::debug!(%error, "tag dropped"),
        }
        let clock = self.context.clocks.read();
        for event in events.drain(..) {
            if let Event::Config(track, config) = &event {
                tracing::info!(%track, codec = config.codec_string(), "configuration");
            }
            if let Event::Data(message) = &event
                && let Some((cue, ahead)) = cues::of_message(message)
            {
                match seated.insert(cue, ahead) {
                    Ok(place) => {
                        tracing::debug!(message = message.name, media_time = place.media_time.ticks(), "cue");
                    }
                    Err(refusal) => tracing::debug!(message = message.name, %refusal, "cue dropped"),
                }
            }
            if let Err(refused) = seated.push(event, clock) {
                refusal = Some(reason_of(&refused));
            }
        }
        let Some(reason) = refusal else { return Ok(()) };
        // The publisher reads this text; OBS and ffmpeg show it.
        self.rtmp.send_status(message.stream_id, &Status::error(status::PUBLISH_DENIED, reason.clone()));
        seated.set_cause(Cause::Server);
        Err(Ended::Dismissed(reason))
    }

    fn unpublish(&mut self, stream_id: u32, cause: headwater_rtmp::UnpublishCause) {
        if let Some(mut publication) = self.publication.take_if(|p| p.stream_id == stream_id) {
            publication.seated.set_cause(Cause::Clean);
            if let Some(bytes) = self.gather.over(self.context.clocks.now()) {
                self.socket.set_low_water(bytes);
            }
            tracing::info!(?cause, counters = ?publication.demuxer.counters(), "unpublished");
            trace::unpublished(publication.span, cause);
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let output = self.rtmp.take_output();
        if output.is_empty() {
            return Ok(());
        }
        // A peer that takes no answer holds no name against a newcomer either.
        tokio::select! {
            written = tokio::time::timeout(WRITE_TIMEOUT, write_out(&mut self.socket, &output)) => match written {
                Ok(written) => Ok(written?),
                Err(_) => Err(Ended::WriteStalled),
            },
            () = evicted(self.publication.as_mut()) => Err(self.eviction()),
        }
    }

    /// Who wants this publisher gone.
    fn eviction(&self) -> Ended {
        let dismissed = self.publication.as_ref().and_then(|publication| publication.seated.dismissed());
        if dismissed.is_some() { Ended::Kicked } else { Ended::Evicted }
    }

    /// The last words, the one log line, and a close that lets the peer read them.
    async fn finish(&mut self, ended: &Ended) {
        if let Some(publication) = &mut self.publication {
            let last_word = match ended {
                Ended::Shutdown => Some(Status::unpublished("the server is going down; please reconnect")),
                Ended::Kicked => Some(Status::unpublished("an operator disconnected this publisher")),
                Ended::Evicted => {
                    Some(Status::error(status::PUBLISH_BAD_NAME, "another encoder took this stream over"))
                }
                _ => None,
            };
            match ended {
                Ended::Shutdown => publication.seated.set_cause(Cause::Server),
                Ended::Evicted => publication.seated.set_cause(Cause::Takeover),
                Ended::Kicked => {
                    publication.seated.set_cause(publication.seated.dismissed().unwrap_or(Cause::Server));
                }
                _ => {}
            }
            if let Some(status) = last_word {
                self.rtmp.send_status(publication.stream_id, &status);
            }
        }
        if let (Some(playing), Ended::Shutdown) = (&self.playing, ended) {
            self.rtmp.end_play(playing.stream_id, "the server is going down");
        }
        let has_played = self.playing.take().is_some();
        let publishing = self.publication.is_some();
        // The stream is free for its next publisher before this one has finished leaving.
        let counters = self.publication.take().map(|publication| {
            trace::ended(publication.span, ended);
            *publication.demuxer.counters()
        });
        match ended {
            Ended::Closed if self.published => {
                tracing::info!(reason = %ended, demuxer = ?counters, "connection ended");
            }
            // ffmpeg says goodbye and leaves without reading the answer, which the system turns into a reset.
            Ended::Io(error)
                if self.published && !publishing && error.kind() == io::ErrorKind::ConnectionReset =>
            {
                tracing::info!(reason = %ended, "connection ended");
            }
            Ended::Closed => tracing::debug!(reason = %ended, "connection ended"),
            // Players leave as they like, and slow ones are counted.
            Ended::Io(_) | Ended::WriteStalled if has_played => {
                tracing::debug!(reason = %ended, "connection ended");
            }
            Ended::Shutdown | Ended::Played => tracing::info!(reason = %ended, "connection ended"),
            _ => {
                tracing::warn!(reason = %ended, demuxer = ?counters, rtmp = ?self.rtmp.counters(), "connection ended");
            }
        }
        if !matches!(ended, Ended::Closed | Ended::Io(_) | Ended::WriteStalled) && self.flush().await.is_ok()
        {
            self.linger().await;
        }
    }

    async fn linger(&mut self) {
        let leave = async {
            self.socket.shutdown().await.ok()?;
            let mut scrap = vec![0; READ_SPARE_BYTES];
            let mut total = 0;
            while total < LINGER_BYTES_MAX {
                match self.socket.read(&mut scrap).await {
                    Ok(0) | Err(_) => break,
                    Ok(bytes) => total += bytes,
                }
            }
            Some(())
        };
        let _ = tokio::time::timeout(LINGER, leave).await;
    }
}

/// Writes, and waits until the system has taken it from TLS too.
async fn write_out(socket: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes).await?;
    socket.flush().await
}

/// What a publisher reads whose media can't be packaged: a figure of the configuration comes with its key.
fn reason_of(refusal: &Refusal) -> String {
    match refusal {
        Refusal::OverBudget { bytes_max } => format!(
            "the stream needs more than the {} of memory that it may hold (limits.max_bytes_per_stream)",
            size_text(*bytes_max)
        ),
        Refusal::Unpackageable(_) => refusal.to_string(),
    }
}

/// Reads once, after a pause if there is one. `None`: it was a pause.
pub(super) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    pause: Option<Duration>,
) -> io::Result<Option<usize>> {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
        return Ok(None);
    }
    poll_fn(|cx| poll_read(socket, input, cx)).await.map(Some)
}

/// Reads once.
fn poll_read(
    socket: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    cx: &mut task::Context<'_>,
) -> Poll<io::Result<usize>> {
    if input.capacity() - input.len() < READ_SPARE_BYTES {
        // The front of this buffer if nobody holds it any more, or a fresh one.
        input.reserve(READ_BUFFER_BYTES.saturating_sub(input.len()));
    }
    pin!(socket.read_buf(input)).poll(cx)
}

pub(super) async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the server goes down, or when nobody is left who could say so.
async fn down(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

async fn evicted(publication: Option<&mut Publication>) {
    match publication {
        Some(publication) => publication.evicted.as_mut().await,
        None => std::future::pending().await,
    }
}
