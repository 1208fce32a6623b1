//! Encoders and players that we did not write, against a server of `std::net` and one thread.
//!
//! Needs ffmpeg, gst-launch-1.0 (with rtmp2sink and librtmp's rtmpsink) and rtmpdump; a missing one fails the test
//! with its name. `HEADWATER_CAPTURE=1 cargo test -p headwater-rtmp --test real_publishers` rewrites what each client
//! sent to `tests/fixtures/`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use headwater_rtmp::{
    Connect, Encoder, Limits, MediaMessage, MessageKind, NameError, PlayError, Refusal, ServerConnection,
    ServerEvent, StreamTarget, UnpublishCause,
};

/// A client that is silent for so long has failed; the bound of every wait here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one client did on one connection.
struct Session {
    received: Vec<u8>,
    events: Vec<ServerEvent>,
}

impl Session {
    fn connect(&self) -> &Connect {
        let connect = self.events.iter().find_map(|event| match event {
            ServerEvent::Connected(connect) => Some(connect),
            _ => None,
        });
        connect.expect("the client sent connect")
    }

    fn target(&self) -> Option<&StreamTarget> {
        self.events.iter().find_map(|event| match event {
            ServerEvent::Publish(request) => Some(&request.target),
            ServerEvent::Play(request) => Some(&request.target),
            _ => None,
        })
    }

    fn media(&self, kind: MessageKind) -> Vec<&MediaMessage> {
        let media = self.events.iter().filter_map(|event| match event {
            ServerEvent::Media(message) if message.kind == kind => Some(message),
            _ => None,
        });
        media.collect()
    }

    fn ends(&self) -> Vec<UnpublishCause> {
        let ends = self.events.iter().filter_map(|event| match event {
            ServerEvent::Unpublish { cause, .. } => Some(*cause),
            _ => None,
        });
        ends.collect()
    }
}

/// Serves one connection until the client closes it or was refused.
fn serve(listener: &TcpListener) -> Session {
    let (mut socket, _) = listener.accept().expect("accept");
    socket.set_read_timeout(Some(PATIENCE)).expect("socket option");
    let mut connection = ServerConnection::new(Limits::default(), [0x5a; 1528], Duration::ZERO);
    let mut session = Session { received: Vec::new(), events: Vec::new() };
    let mut input = BytesMut::new();
    let mut buffer = [0; 65_536];
    loop {
        let bytes = match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => &buffer[..bytes],
            // ffmpeg as a refused player closes with unread bytes in its socket.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the client went silent: {error}"),
        };
        session.received.extend_from_slice(bytes);
        input.extend_from_slice(bytes);
        connection.handle_input(&mut input, Duration::ZERO).expect("a real client's bytes are right");
        let mut refused = false;
        while let Some(event) = connection.poll_event() {
            match &event {
                ServerEvent::Publish(request) => connection.accept_publish(request.stream_id),
                ServerEvent::Play(request) => {
                    connection.reject_play(request.stream_id, PlayError::StreamNotFound, "no such stream");
                    refused = true;
                }
                ServerEvent::Refused { .. } => refused = true,
                _ => {}
            }
            session.events.push(event);
        }
        connection.check_invariants();
        if socket.write_all(&connection.take_output()).is_err() {
            break;
        }
        if refused {
            close(&mut socket);
            break;
        }
    }
    session
}

/// Lets the client read what was sent before the connection is gone.
fn close(socket: &mut TcpStream) {
    socket.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let mut rest = [0; 4096];
    while socket.read(&mut rest).is_ok_and(|bytes| bytes > 0) {}
}

fn start(program: &str, arguments: &[String]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs {program}, which did not start: {error}"))
}

/// Runs `program` with `URL` replaced in its arguments, and returns its session, whether it succeeded and what it
/// printed.
fn run(program: &str, arguments: &str, path: &str) -> (Session, bool, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let url = format!("rtmp://{address}/{path}");
    let arguments: Vec<String> = arguments.split_whitespace().map(|word| word.replace("URL", &url)).collect();
    let child = start(program, &arguments);
    let id = child.id();
    // A client that never connects ends with its own error; accept() would wait for ever, so wake it up.
    let output = std::thread::spawn(move || {
        let output = child.wait_with_output();
        drop(TcpStream::connect(address));
        output
    });
    let session = serve(&listener);
    let output = output.join().expect("waiting").unwrap_or_else(|error| panic!("{program} ({id}): {error}"));
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (session, output.status.success(), printed.into_owned())
}

fn capture(name: &str, session: &Session) {
    if std::env::var_os("HEADWATER_CAPTURE").is_some() {
        let path = format!("{}/tests/fixtures/{name}.bin", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, &session.received).expect("fixture");
    }
}

const FFMPEG: &str = "-hide_banner -nostdin -v error -f lavfi -i testsrc=size=64x48:rate=10 \
    -f lavfi -i sine=sample_rate=8000 -t 1 -c:v libx264 -preset ultrafast -crf 45 -g 5 -c:a aac -b:a 12k -f flv URL";
const GSTREAMER: &str = "-q videotestsrc num-buffers=10 pattern=black ! video/x-raw,width=64,height=48,framerate=10/1 \
    ! x264enc bitrate=16 key-int-max=5 tune=zerolatency ! h264parse ! mux. \
    audiotestsrc num-buffers=16 samplesperbuffer=512 ! audio/x-raw,rate=8000 ! voaacenc bitrate=8000 ! aacparse ! mux. \
    flvmux streamable=true name=mux ! SINK location=URL";

/// One second of 10 frames/s H.264 and 8 kHz AAC: configurations first, every frame, times that go on.
fn check_publication(name: &str, session: &Session, frames: usize, ends: &[UnpublishCause]) {
    let target = session.target().unwrap_or_else(|| panic!("{name} did not publish"));
    assert_eq!((target.app.as_str(), target.name.as_str()), ("live", "cam"), "{name}");
    let video = session.media(MessageKind::Video);
    let coded = video.iter().filter(|message| message.payload.get(1) == Some(&1)).count();
    assert_eq!(coded, frames, "{name}: coded video frames");
    assert_eq!(video.first().and_then(|message| message.payload.get(1)), Some(&0), "{name}: avcC first");
    assert!(video.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp), "{name}: DTS goes on");
    let audio = session.media(MessageKind::Audio);
    assert!(audio.len() >= 8, "{name}: {} audio messages", audio.len());
    assert_eq!(audio.first().and_then(|message| message.payload.get(1)), Some(&0), "{name}: ASC first");
    let data = session.media(MessageKind::Data);
    let metadata = data.first().unwrap_or_else(|| panic!("{name} sent no metadata"));
    let values = headwater_rtmp::amf0::decode(&metadata.payload).expect("metadata is AMF0");
    assert!(values.iter().any(|value| value.as_str() == Some("onMetaData")), "{name}: {values:?}");
    assert_eq!(session.ends(), ends, "{name}");
}

#[test]
fn ffmpeg_publishes() {
    let (session, ok, printed) = run("ffmpeg", FFMPEG, "live/cam");
    assert!(ok && printed.is_empty(), "{printed}");
    check_publication("ffmpeg", &session, 10, &[UnpublishCause::FcUnpublish]);
    assert_eq!(session.connect().encoder, Encoder::Ffmpeg);
    capture("ffmpeg", &session);
}

#[test]
fn gstreamer_rtmp2sink_publishes() {
    let (session, ok, printed) = run("gst-launch-1.0", &GSTREAMER.replace("SINK", "rtmp2sink"), "live/cam");
    assert!(ok, "{printed}");
    check_publication("rtmp2sink", &session, 10, &[UnpublishCause::FcUnpublish]);
    capture("rtmp2sink", &session);
}

#[test]
fn librtmp_publishes() {
    // GStreamer's older sink hands FLV to librtmp, the library that OBS's own grew from.
    let (session, ok, printed) = run("gst-launch-1.0", &GSTREAMER.replace("SINK", "rtmpsink"), "live/cam");
    assert!(ok, "{printed}");
    check_publication("librtmp", &session, 10, &[UnpublishCause::FcUnpublish]);
    capture("librtmp", &session);
}

/// ffmpeg verifies both digests of the handshake as a player, and closes at once on a wrong one; that it comes as
/// far as `play` shows that S1 and S2 are right.
#[test]
fn ffmpeg_as_player_finds_the_digests_right_and_is_refused_clearly() {
    let (session, ok, printed) =
        run("ffmpeg", "-hide_banner -nostdin -v error -i URL -f null -", "live/none?t=1");
    assert!(!ok);
    assert_eq!(session.target().map(|target| target.name.as_str()), Some("none"));
    assert!(printed.contains("no such stream"), "{printed}");
    capture("ffmpeg_play", &session);
}

#[test]
fn rtmpdump_is_refused_clearly() {
    let (session, ok, printed) = run("rtmpdump", "-r URL -o /dev/null", "live/none");
    assert!(!ok);
    assert_eq!(session.target().map(|target| target.name.as_str()), Some("none"));
    assert!(printed.contains("NetStream.Play.StreamNotFound"), "{printed}");
    capture("rtmpdump_play", &session);
}

#[test]
fn ffmpeg_prints_why_a_name_is_refused() {
    let (session, ok, printed) = run("ffmpeg", FFMPEG, "live");
    assert!(!ok);
    let refused = ServerEvent::Refused { stream_id: 1, refusal: Refusal::Name(NameError::Missing) };
    assert!(session.events.contains(&refused), "{:?}", session.events);
    assert!(printed.contains("no stream name: publish to"), "{printed}");
}

/// Program, its arguments, path of the URL; app, stream and query that are meant.
type UrlRow<'a> = (&'a str, &'a str, &'a str, (&'a str, &'a str, Option<&'a str>));

/// The URL shapes of the field, as real clients cut them.
#[test]
fn urls_as_real_clients_cut_them() {
    let gstreamer = GSTREAMER.replace("SINK", "rtmp2sink");
    let librtmp = GSTREAMER.replace("SINK", "rtmpsink");
    let rows: [UrlRow<'_>; 11] = [
        ("ffmpeg", FFMPEG, "live/inst/key", ("live/inst", "key", None)),
        ("ffmpeg", FFMPEG, "live/key?tok=x", ("live", "key", Some("tok=x"))),
        ("ffmpeg", FFMPEG, "live/s?sig=a/b", ("live", "s", Some("sig=a/b"))),
        ("ffmpeg", FFMPEG, "live/inst/s?sig=a/b", ("live/inst", "s", Some("sig=a/b"))),
        ("ffmpeg", FFMPEG, "live/s.flv", ("live", "s", None)),
        ("ffmpeg", FFMPEG, "live/cam/", ("live", "cam", None)),
        ("ffmpeg", FFMPEG, "live/a%7Eb", ("live", "a~b", None)),
        ("gst-launch-1.0", &gstreamer, "live/inst/key", ("live/inst", "key", None)),
        ("gst-launch-1.0", &gstreamer, "live/key?tok=x", ("live", "key", Some("tok=x"))),
        ("gst-launch-1.0", &librtmp, "live/inst/key", ("live/inst", "key", None)),
        ("gst-launch-1.0", &librtmp, "live/key?tok=x", ("live", "key", Some("tok=x"))),
    ];
    for (program, arguments, path, expected) in rows {
        let (session, ok, printed) = run(program, arguments, path);
        assert!(ok, "{program} {path}: {printed}");
        let target = session.target().unwrap_or_else(|| panic!("{program} {path}: {:?}", session.connect()));
        let query = target.query.as_ref().map(headwater_rtmp::Query::expose);
        assert_eq!((target.app.as_str(), target.name.as_str(), query), expected, "{program} {path}");
    }
}
