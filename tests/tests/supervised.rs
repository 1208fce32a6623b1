//! Under a supervisor, as systemd is one: it holds the sockets over a restart, and is told how things are. Here the test is it, by the
//! same protocols; once the one who starts it is systemd's own program.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_tests::server::{binary, fetch, fetch_or_why, free_ports, try_fetch};
use headwater_tests::supervisor::{Sockets, configuration};
use headwater_tests::tls::{Pair, curl};
use headwater_tests::{Headwater, Process, Scratch, media, publish, wait_for};

/// From a start to its effect, on a machine that compiles beside the test.
const SOON: Duration = Duration::from_secs(20);

/// Somebody asks over and over, each time on a connection of its own, and somebody connects to the RTMP port; the server ends and the
/// next one starts half a second later. Everybody got their connection, every request its playlist.
#[test]
fn a_restart_refuses_no_connection() {
    let scratch = Scratch::new("supervised-restart");
    let sockets = Sockets::new();
    let state = format!("state_dir = {:?}", scratch.join("state").to_string_lossy());
    let path = configuration(&scratch, sockets.ports(), &state);
    // By their addresses.
    let mut first = sockets.start(&scratch, "first", &path, "");
    sockets.until_ready(&mut first);
    let publish_url = format!("rtmp://127.0.0.1:{}/live/cam", Sockets::port(&sockets.rtmp));
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &media::plain(), 4, &publish_url);
    let playlist = Sockets::url(&sockets.http, "/live/cam/ts/media.m3u8");
    wait_for("a playlist", SOON, || (try_fetch(&playlist)?.status == 200).then_some(()));

    let is_over = AtomicBool::new(false);
    let (answers, connections, longest) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let (mut statuses, mut longest) = (Vec::new(), Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = fetch_or_why(&playlist);
                statuses.push((began, answer.map(|answer| answer.status).map_err(|why| format!("{why:?}"))));
                longest = longest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            (statuses, longest)
        });
        let encoder = scope.spawn(|| {
            let mut results = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let connected = TcpStream::connect(("127.0.0.1", Sockets::port(&sockets.rtmp)));
                results.push(connected.map(drop).map_err(|error| error.kind()));
                std::thread::sleep(Duration::from_millis(10));
            }
            results
        });
        std::thread::sleep(Duration::from_millis(500));
        assert!(first.stop().success(), "{}", first.log());
        // What a restart takes where the machine is slow; connections wait.
        std::thread::sleep(Duration::from_millis(500));
        // An encoder that comes back while nobody is there.
        publisher.end_within(SOON);
        let _back = publish::ffmpeg(&scratch, "back", &media::plain(), 4, &publish_url);
        std::thread::sleep(Duration::from_millis(200));
        // By their names.
        let mut second = sockets.start(&scratch, "second", &path, "rtmp:http:admin");
        sockets.until_ready(&mut second);
        let streams = Sockets::url(&sockets.admin, "/api/v1/streams");
        wait_for("the publisher of before", SOON, || {
            let streams = fetch(&streams).text();
            streams.contains("\"state\":\"live\"").then_some(())
        });
        std::thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        let (answers, longest) = asker.join().expect("the asker's answers");
        let log = second.log();
        assert!(log.contains("the supervisor's socket"), "{log}");
        (answers, encoder.join().expect("the connections"), longest)
    });
    // Few on a busy machine, where the new process holds one until its publisher is there.
    assert!(answers.len() > 10 && connections.len() > 50, "{} {}", answers.len(), connections.len());
    let refused: Vec<&ErrorKind> =
        connections.iter().filter_map(|connection| connection.as_ref().err()).collect();
    assert_eq!(refused, Vec::<&ErrorKind>::new(), "RTMP");
    let others: Vec<_> = answers.iter().filter(|(_, status)| *status != Ok(200)).collect();
    assert!(others.is_empty(), "of {} requests: {others:?}", answers.len());
    // Somebody was there in the middle of it.
    assert!(longest > Duration::from_millis(500), "{longest:?}");
}

/// RTMPS and HTTPS at the supervisor's sockets: an encoder and a player that connect while nobody serves are served by the next process.
#[test]
fn sockets_for_tls_are_taken_over_as_well() {
    let scratch = Scratch::new("supervised-tls");
    let sockets = Sockets::with_tls();
    let [rtmps, https] = sockets.tls.as_ref().expect("two more").each_ref().map(Sockets::port);
    let pair = Pair::make(&scratch, "first");
    let tables = |rtmps: u16, https: u16| {
        format!(
            "state_dir = {:?}\n{}[rtmp]\ntls_listen = \"127.0.0.1:{rtmps}\"\n[http]\ntls_listen = \"127.0.0.1:{https}\"\n",
            scratch.join("state").to_string_lossy(),
            pair.configuration()
        )
    };
    // By their addresses.
    let path = configuration(&scratch, sockets.ports(), &tables(rtmps, https));
    let mut first = sockets.start(&scratch, "first", &path, "");
    sockets.until_ready(&mut first);
    let publish_url = format!("rtmps://127.0.0.1:{rtmps}/live/cam");
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &media::plain(), 4, &publish_url);
    let playlist = format!("https://127.0.0.1:{https}/live/cam/ts/media.m3u8");
    let ask = || curl(&pair.certificate, "--http2", &playlist, "%{http_version} %{http_code}");
    wait_for("a playlist", SOON, || (ask().as_deref() == Some("2 200")).then_some(()));

    assert!(first.stop().success(), "{}", first.log());
    publisher.end_within(SOON);
    let answer = std::thread::scope(|scope| {
        let player = scope.spawn(ask);
        let _back = publish::ffmpeg(&scratch, "back", &media::plain(), 4, &publish_url);
        std::thread::sleep(Duration::from_millis(300));
        assert!(!player.is_finished(), "it was not refused, and nobody has answered yet");
        // By their names: the configuration has other addresses.
        let [other_rtmps, other_https] = free_ports();
        let path = configuration(&scratch, free_ports(), &tables(other_rtmps, other_https));
        let mut second = sockets.start(&scratch, "second", &path, "rtmp:http:admin:rtmps:https");
        sockets.until_ready(&mut second);
        let answer = player.join().expect("curl runs");
        wait_for("the publisher of before", SOON, || {
            let streams = fetch(&Sockets::url(&sockets.admin, "/api/v1/streams")).text();
            streams.contains("\"state\":\"live\"").then_some(())
        });
        let log = second.log();
        for key in ["rtmp.listen", "http.listen", "admin.listen", "rtmp.tls_listen", "http.tls_listen"] {
            let line =
                log.lines().find(|line| line.contains("the supervisor's socket") && line.contains(key));
            assert!(line.is_some(), "{key}: {log}");
        }
        for nobody in [other_rtmps, other_https] {
            assert!(TcpStream::connect(("127.0.0.1", nobody)).is_err(), "the socket stands for the address");
        }
        answer
    });
    assert_eq!(answer.as_deref(), Some("2 200"));
}

/// What the test can show: without a supervisor's sockets connections are refused in between.
#[test]
fn without_a_supervisor_connections_are_refused() {
    let scratch = Scratch::new("supervised-not");
    let mut server = Headwater::start(&scratch);
    let port = server.http_port();
    assert!(server.process.stop().success());
    let refused = TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_socket_that_nothing_is_meant_by() {
    let scratch = Scratch::new("supervised-unknown");
    let sockets = Sockets::new();
    let path = configuration(&scratch, free_ports(), "");
    let mut process = sockets.start(&scratch, "headwater", &path, "rtmp:headwater.socket:admin");
    let status = process.wait(SOON);
    assert_eq!(status.code(), Some(4), "{}", process.log());
    let expected = format!(
        "headwater: socket 1 of the supervisor (headwater.socket): no listener is configured for 127.0.0.1:{}; ",
        Sockets::port(&sockets.http)
    );
    assert!(process.log().starts_with(&expected), "{}", process.log());
}

/// sd_notify(3): what arrives at the supervisor's socket, message by message.
#[test]
fn the_supervisor_is_told() {
    let scratch = Scratch::new("supervised-notify");
    // A path longer than 107 bytes is no address.
    let folder = std::env::temp_dir().join(format!("headwater-notify-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for a socket");
    let path = folder.join("notify");
    let supervisor = UnixDatagram::bind(&path).expect("a socket");
    supervisor.set_read_timeout(Some(SOON)).expect("a time-out");
    let heard = || {
        let mut bytes = [0; 1_024];
        let len = supervisor.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..len]).trim_end().to_owned()
    };
    // The watchdog speaks in between.
    let heard_next = || std::iter::repeat_with(heard).find(|message| message != "WATCHDOG=1");
    let mut command = Command::new(binary());
    let configuration = configuration(&scratch, free_ports(), "");
    command.arg("serve").arg("--config").arg(&configuration);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut process = Process::start("headwater", command, &scratch);
    assert_eq!(heard_next().as_deref(), Some("READY=1"));
    // It is true.
    let port = std::fs::read_to_string(&configuration).expect("its configuration");
    let port = port.rsplit(':').next().and_then(|rest| rest.split('"').next()).expect("a port");
    assert_eq!(fetch(&format!("http://127.0.0.1:{port}/readyz")).status, 200);
    let began = Instant::now();
    for _ in 0..4 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    assert!(began.elapsed() > Duration::from_millis(400), "{:?}: twice as often as asked", began.elapsed());
    process.signal("HUP");
    let reloading = heard_next().expect("endless");
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
    assert!(matches!(time, Some(Ok(1..))), "{reloading}");
    assert_eq!(heard_next().as_deref(), Some("READY=1"));
    // One that can't be used ends the reload as well.
    std::fs::write(&configuration, "[nonsense]").expect("another configuration");
    process.signal("HUP");
    assert!(heard_next().is_some_and(|message| message.starts_with("RELOADING=1\n")));
    assert_eq!(heard_next().as_deref(), Some("READY=1"));
    process.signal("TERM");
    assert_eq!(heard_next().as_deref(), Some("STOPPING=1"));
    assert!(process.end_within(SOON).success(), "{}", process.log());
    let _ = std::fs::remove_dir_all(&folder);
}

/// systemd's own: it listens, and starts the server at the first connection, which is answered.
#[test]
fn started_by_systemd_socket_activate() {
    let scratch = Scratch::new("supervised-activate");
    let ports: [u16; 3] = free_ports();
    // Other ones than those that are listened on: names come first.
    let path = configuration(&scratch, free_ports(), "");
    let mut command = Command::new("systemd-socket-activate");
    for port in ports {
        command.arg("--listen").arg(format!("127.0.0.1:{port}"));
    }
    command.arg("--fdname=rtmp:http:admin").arg(binary()).arg("serve").arg("--config").arg(&path);
    let mut process = Process::start("activated", command, &scratch);
    let [_, http, admin] = ports;
    let url = format!("http://127.0.0.1:{http}/time");
    let answer = wait_for("an answer", SOON, || try_fetch(&url));
    assert_eq!(answer.status, 200, "{}", process.log());
    assert_eq!(fetch(&format!("http://127.0.0.1:{admin}/readyz")).status, 200);
    assert!(process.stop().success(), "{}", process.log());
}

/// `headwater health`, what a container's runtime asks.
#[test]
fn health_says_whether_it_is_ready() {
    let scratch = Scratch::new("supervised-health");
    let configuration = "[admin]\ntoken = \"a-long-enough-token\"\n[http]\nshutdown_delay = \"5s\"";
    let mut server = Headwater::start_with(&scratch, configuration);
    let ask = |more: &[(&str, &str)]| {
        let mut command = Command::new(binary());
        command.arg("health").arg("--config").arg(scratch.join("headwater.toml"));
        let output = command.envs(more.iter().copied()).output().expect("headwater runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(ask(&[]), (Some(0), String::new()));
    // It is about this machine, whatever proxy there is.
    assert_eq!(ask(&[("http_proxy", "http://127.0.0.1:9")]), (Some(0), String::new()));
    // Another server's address.
    let [nobody] = free_ports();
    let (status, said) = ask(&[("HEADWATER_ADMIN__LISTEN", &format!("127.0.0.1:{nobody}"))]);
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    // Somebody is connected, so the end takes its time.
    let _watching = TcpStream::connect(("127.0.0.1", server.http_port())).expect("a connection");
    assert_eq!(fetch(&server.admin_url("/metrics")).status, 401, "the token is needed elsewhere");
    server.process.signal("TERM");
    let said = wait_for("a no", Duration::from_secs(4), || {
        let (status, said) = ask(&[]);
        (status == Some(1)).then_some(said)
    });
    assert!(said.contains("503"), "{said}");
    server.process.end_within(SOON);
    assert_eq!(ask(&[]).0, Some(1));
}
