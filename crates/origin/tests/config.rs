//! The configuration as a user meets it: the documented file, and one exact line with a distinct status for each mistake.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use headwater_origin::config::{Config, Loader};
use headwater_origin::events::KINDS;

const DOCUMENTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/headwater.toml");

/// A folder of this test's own.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `headwater` in a folder, with nothing of ours in its environment but `variables`.
fn headwater(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEADWATER_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn error_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    assert_eq!(lines.next(), None, "more than one line: {text}");
    line
}

#[test]
fn the_documented_file_is_the_default_and_documents_every_key() {
    assert_eq!(Loader::new().file(DOCUMENTED).load().unwrap(), Config::default());
    let file: toml::Table = toml::from_str(&std::fs::read_to_string(DOCUMENTED).unwrap()).unwrap();
    let default = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(keys(&file, ""), keys(&default, ""));
}

fn keys(table: &toml::Table, prefix: &str) -> Vec<String> {
    let mut found: Vec<_> = table
        .iter()
        .flat_map(|(key, value)| match value {
            toml::Value::Table(inner) if !inner.is_empty() => keys(inner, &format!("{prefix}{key}.")),
            _ => vec![format!("{prefix}{key}")],
        })
        .collect();
    found.sort();
    found
}

#[test]
fn mistakes_in_a_file() {
    let folder = scratch("mistakes");
    let address =
        "not an address; an IP address and a port are allowed, as in \"0.0.0.0:8080\" or \"[::]:8080\"";
    let app = "not an app's name; allowed are 1 to 128 of A-Z, a-z, 0-9 and . _ ~ -, one / between two such parts, not \
               time, assets, t, api or embed in front";
    let stream = "not a stream's name; allowed are 1 to 128 of A-Z, a-z, 0-9 and . _ ~ -, without an extension of an \
                  output (.m3u8, .mpd, .flv, .ts, .mp4, .m4s) at the end";
    let level = "error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", \
                 or a number 0-5; allowed are error, warn, info, debug, trace or directives like \
                 \"info,headwater_origin=debug\"";
    for (text, expected) in [
        ("listen = ", "1: not valid TOML: string values must be quoted, expected literal string".to_owned()),
        ("[log]\n[log]\n", "2: not valid TOML: duplicate key".to_owned()),
        ("[htpp]\n", "1: htpp: unknown key `htpp`, expected one of `state_dir`, `rtmp`, `http`, `tls`, `admin`, `packaging`, \
                      `publish`, `play`, `auth`, `hooks`, `events`, `telemetry`, `limits`, `outputs`, `apps`, `log`".to_owned()),
        ("\n[admin]\n# where\nlisten_on = \"127.0.0.1:1\"", "4: admin.listen_on = \"127.0.0.1:1\": unknown key \
                      `listen_on`, expected `listen` or `token`".to_owned()),
        ("publish = 3", "1: publish = 3: integer `3`, expected a table".to_owned()),
        ("state_dir = 5", "1: state_dir = 5: integer `5`, expected a string".to_owned()),
        ("[http]\nlisten = \"8080\"", format!("2: http.listen = \"8080\": {address}")),
        ("[http]\nlisten = \"localhost:8080\"", format!("2: http.listen = \"localhost:8080\": {address}")),
        ("[http]\nlisten = \"0.0.0.0:1935\"", "2: http.listen = \"0.0.0.0:1935\": the same address as rtmp.listen; \
                      each listener needs its own".to_owned()),
        ("[http]\ntls_listen = \"443\"", format!("2: http.tls_listen = \"443\": {address}")),
        ("[http]\ntls_listen = \"0.0.0.0:443\"", "2: http.tls_listen = \"0.0.0.0:443\": needs a certificate: \
                      tls.certificate and tls.key".to_owned()),
        ("[tls]\ncertificate = \"c.pem\"", "1: tls.key = \"\": empty; tls.certificate and tls.key are given \
                      together".to_owned()),
        ("[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[rtmp]\ntls_listen = \"0.0.0.0:8080\"", "5: \
                      rtmp.tls_listen = \"0.0.0.0:8080\": the same address as http.listen; each listener needs its \
                      own".to_owned()),
        ("[http]\nidle_timeout = \"60s\"", "2: http.idle_timeout = \"60s\": out of range; 65s to 1h is allowed".to_owned()),
        ("[http]\nhold_timeout = \"30s\"\nresponse_timeout = \"35s\"", "2: http.hold_timeout = \"30s\": out of range; at \
                      most 25s is allowed, 10s less than http.response_timeout".to_owned()),
        ("[rtmp]\nmax_connections = 0", "2: rtmp.max_connections = 0: out of range; 1 to 1000000 is allowed".to_owned()),
        (
            "[http]\nmax_streams_per_connection = 99",
            "2: http.max_streams_per_connection = 99: out of range; 100 to 65536 is allowed".to_owned(),
        ),
        ("[rtmp]\nmax_connections = \"many\"", "2: rtmp.max_connections = \"many\": string \"many\", expected a whole \
                      number from 1 to 1000000".to_owned()),
        ("[packaging]\nsegment_duration = \"11s\"", "2: packaging.segment_duration = \"11s\": out of range; 1s to 10s is \
                      allowed".to_owned()),
        ("[packaging]\nsegment_duration = 2", "2: packaging.segment_duration = 2: integer `2`, expected a duration in \
                      quotes, as in \"2s\"".to_owned()),
        ("[packaging]\nsegment_duration = \"2 s\"", "2: packaging.segment_duration = \"2 s\": not a duration; a whole \
                      number and a unit are allowed, as in \"200ms\", \"2s\", \"1m\" or \"1h\"".to_owned()),
        ("[packaging]\nwindow = \"5s\"", "2: packaging.window = \"5s\": out of range; at least 6s is allowed, 3 times \
                      packaging.segment_duration".to_owned()),
        ("[packaging]\nsegment_duration = \"7s\"", "1: packaging.window = \"20s\": out of range; at least 21s is allowed, \
                      3 times packaging.segment_duration".to_owned()),
        ("[packaging]\npart_duration = \"2s\"\nsegment_duration = \"1s\"", "2: packaging.part_duration = \"2s\": longer \
                      than packaging.segment_duration".to_owned()),
        ("[rtmp]\nmax_bitrate = \"100\"", "2: rtmp.max_bitrate = \"100\": not a bit rate; a whole number and a unit are \
                      allowed, as in \"100Mbit/s\" or \"1Gbit/s\", or \"0\" for no limit".to_owned()),
        ("[rtmp]\nmax_bitrate = \"0Mbit/s\"\nidle_timeout = \"1ms\"", "3: rtmp.idle_timeout = \"1ms\": out of range; 1s \
                      to 10m is allowed".to_owned()),
        ("[rtmp]\nmax_bitrate = \"101Gbit/s\"", "2: rtmp.max_bitrate = \"101Gbit/s\": out of range; 1Mbit/s to 100Gbit/s \
                      is allowed, or 0 for no limit".to_owned()),
        ("[limits]\nmax_bytes_per_stream = \"512 MB\"", "2: limits.max_bytes_per_stream = \"512 MB\": not a size; a whole \
                      number and a unit are allowed, as in \"512MiB\" or \"2GiB\"".to_owned()),
        ("[limits]\nmax_bytes_per_stream = \"0MiB\"", "2: limits.max_bytes_per_stream = \"0MiB\": out of range; 1MiB to \
                      1024GiB is allowed".to_owned()),
        ("publish.pace = 1", "1: publish.pace = 1: integer `1`, expected a boolean".to_owned()),
        ("[publish]\nkeys = [{ app = \"live\" }]", "2: publish.keys[0]: missing key `key`".to_owned()),
        ("[publish]\nkeys = [\n{ key = 12345678 },\n]", "3: publish.keys[0].key: not a text".to_owned()),
        ("[publish]\nkeys = [\n{ key = \"s3cr3ts3cr3t\" },\n{ key = \"hunter2\" },\n]", "4: publish.keys[1].key: 8 to 256 \
                      characters are allowed".to_owned()),
        ("[publish]\nkeys = [{ key = \"hunter2&hunter2\" }]", "2: publish.keys[0].key: only A-Z, a-z, 0-9 and . _ ~ - \
                      are allowed".to_owned()),
        ("[publish]\nkeys = [{ key = \"hunter22\" }, { key = \"hunter22\" }]", "2: publish.keys[1].key: the same key as \
                      an earlier entry's".to_owned()),
        ("[publish]\nkeys = [{ key = \"hunter22\", app = \"a/b/c\" }]", format!("2: publish.keys[0].app: {app}")),
        ("[publish]\nkeys = [{ key = \"hunter22\", stream = \"cam.ts\" }]", format!("2: publish.keys[0].stream: {stream}")),
        ("[publish]\nkeys = [{ key = \"hunter22\", expires = 2026-01-01 }]", "2: publish.keys[0].expires: a date, a time and \
                      an offset are needed, as in 2026-12-31T23:59:59Z".to_owned()),
        ("[publish]\ndeny = [\"192.0.2\"]", "2: publish.deny: \"192.0.2\" is neither an address nor a network, as in \
                      \"192.0.2.7\", \"192.0.2.0/24\" or \"2001:db8::/32\"".to_owned()),
        ("[play]\ntoken_required = true", "2: play.token_required = true: needs auth.token_secrets or auth.jwt to know \
                      tokens by".to_owned()),
        ("[auth]\ntoken_secrets = [\"hunter2\"]", "2: auth.token_secrets[0]: at least 16 characters are needed".to_owned()),
        ("[auth.jwt]\nsecret = \"hunter2\"", "2: auth.jwt.secret: at least 16 characters are needed".to_owned()),
        ("[auth.jwt]\njwks_file = \"a\"\njwks_url = \"http://b/\"", "3: auth.jwt.jwks_url = \"http://b/\": there is \
                      auth.jwt.jwks_file already; one of them is allowed".to_owned()),
        ("[hooks]\non_play = \"b.example/\"", "2: hooks.on_play = \"b.example/\": not a URL; http:// or https://, a host \
                      and a path are allowed".to_owned()),
        ("[hooks]\non_failure = \"open\"", "2: hooks.on_failure = \"open\": unknown value `open`, expected `deny` or \
                      `allow`".to_owned()),
        ("[admin]\nlisten = \"0.0.0.0:8081\"", "2: admin.listen = \"0.0.0.0:8081\": others reach this address, so \
                      admin.token is needed".to_owned()),
        ("[admin]\nlisten = \"0.0.0.0:8081\"\ntoken = \"hunter2\"", "3: admin.token: at least 16 characters are \
                      needed".to_owned()),
        ("[apps.time]\n", format!("1: apps.time: {app}")),
        ("[apps.live.outputs]\nwebrtc = true", "2: apps.live.outputs.webrtc = true: unknown key `webrtc`, expected one of \
                      `hls`, `llhls`, `dash`, `flv`, `ts`, `mp4`, `rtmp`".to_owned()),
        ("[http]\npublic_url = \"cdn.example.com\"", "2: http.public_url = \"cdn.example.com\": not http:// or https:// and a \
                      host".to_owned()),
        ("[http]\npublic_url = \"https://cdn.example.com/live\"", "2: http.public_url = \"https://cdn.example.com/live\": not \
                      http:// or https:// and a host".to_owned()),
        ("[events]\nwebhooks = [{ url = \"example.com\", secret = \"hunter2-hunter2-hunter2\" }]", "2: events.webhooks[0].url: not an \
                      address that begins with http:// or https://".to_owned()),
        ("[events]\nwebhooks = [{ url = \"http://example.com\", secret = \"hunter2\" }]", "2: events.webhooks[0].secret: at least 16 \
                      characters are needed".to_owned()),
        ("[events]\nwebhooks = [{ url = \"http://example.com\", secret = \"hunter2-hunter2-hunter2\", kinds = [\"end\"] }]",
         format!("2: events.webhooks[0].kinds: no such kind: \"end\"; there are {}", KINDS.join(", "))),
        ("[events.mqtt]\nbroker = \"example.com\"", "2: events.mqtt.broker = \"example.com\": not a host and a port, as in \
                      \"broker.example.com:1883\"".to_owned()),
        ("[events.mqtt]\ntopic = \"a/#\"", "2: events.mqtt.topic = \"a/#\": not a topic's beginning; no + or #, no $ in front, no / \
                      at the end".to_owned()),
        ("[events.mqtt]\npassword = 7", "2: events.mqtt.password: not a text".to_owned()),
        ("[log]\nformat = \"xml\"", "2: log.format = \"xml\": unknown value `xml`, expected `human` or `json`".to_owned()),
        ("[log]\nlevel = \"loud==\"", format!("2: log.level = \"loud==\": {level}")),
    ] {
        std::fs::write(folder.join("h.toml"), text).unwrap();
        let output = headwater(&folder, &["check", "--config", "h.toml"], &[]);
        assert_eq!(error_line(&output), format!("headwater: h.toml:{expected}"), "{text}");
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(output.stdout.is_empty(), "{text}");
    }
}

#[test]
fn mistakes_elsewhere() {
    let folder = scratch("elsewhere");
    std::fs::write(folder.join("file"), "").unwrap();
    std::fs::write(folder.join("good.toml"), "[apps.live.outputs]\nhls = false\n").unwrap();
    std::fs::write(folder.join("bad.toml"), "[http]\nlisten = \"x\"\n").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let serve = ["serve", "--rtmp-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--http-listen"];
    let serve_at = |address| [serve.as_slice(), &[address]].concat();
    let in_use = "the address is in use by another program; stop it or choose another";
    let address =
        "not an address; an IP address and a port are allowed, as in \"0.0.0.0:8080\" or \"[::]:8080\"";
    type Row<'a> = (&'a str, Vec<&'a str>, &'a [(&'a str, &'a str)], i32, String);
    let rows: [Row<'_>; 9] = [
        (
            "no such file",
            vec!["check", "--config", "none.toml"],
            &[],
            3,
            "none.toml: No such file or directory (os error 2)".into(),
        ),
        (
            "a variable's value",
            vec!["check", "--config", "good.toml"],
            &[("HEADWATER_ADMIN__LISTEN", "8081")],
            3,
            format!("HEADWATER_ADMIN__LISTEN: admin.listen = \"8081\": {address}"),
        ),
        (
            "a variable's type",
            vec!["check", "--config", "good.toml"],
            &[("HEADWATER_PUBLISH__PACE", "yes")],
            3,
            "HEADWATER_PUBLISH__PACE: publish.pace = \"yes\": string \"yes\", expected a boolean".into(),
        ),
        (
            "an unknown variable",
            vec!["check", "--config", "good.toml"],
            &[("HEADWATER_HTTP_LISTEN", "0.0.0.0:80")],
            3,
            "HEADWATER_HTTP_LISTEN: no such key: http_listen".into(),
        ),
        (
            "a secret in a variable",
            vec!["check", "--config", "good.toml"],
            &[("HEADWATER_PUBLISH__KEYS", "[{ key = \"hunter2\" }]")],
            3,
            "HEADWATER_PUBLISH__KEYS: publish.keys[0].key: 8 to 256 characters are allowed".into(),
        ),
        (
            "the file, behind a good variable",
            vec!["check", "--config", "bad.toml"],
            &[("HEADWATER_RTMP__LISTEN", "0.0.0.0:1")],
            3,
            format!("bad.toml:2: http.listen = \"x\": {address}"),
        ),
        ("a flag", serve_at("here"), &[], 3, format!("--http-listen: http.listen = \"here\": {address}")),
        ("an address in use", serve_at(&taken), &[], 4, format!("http.listen = \"{taken}\": {in_use}")),
        (
            "a state_dir that is a file",
            serve_at("127.0.0.1:0"),
            &[("HEADWATER_STATE_DIR", "file")],
            5,
            String::new(),
        ),
    ];
    for (name, arguments, variables, status, expected) in rows {
        let output = headwater(&folder, &arguments, variables);
        let line = error_line(&output);
        assert_eq!(output.status.code(), Some(status), "{name}: {line}");
        if expected.is_empty() {
            assert!(line.starts_with("headwater: state_dir = \"file"), "{name}: {line}");
        } else {
            assert_eq!(line, format!("headwater: {expected}"), "{name}");
        }
    }
    for arguments in [&[][..], &["sreve"], &["serve", "--listen", "x"], &["check"]] {
        assert_eq!(headwater(&folder, arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
    let good = headwater(&folder, &["check", "--config", "good.toml"], &[("HEADWATER_PUBLISH__GRACE", "5s")]);
    assert_eq!((good.status.code(), good.stdout.as_slice()), (Some(0), b"good.toml: ok\n".as_slice()));
}

#[test]
fn later_sources_win() {
    let folder = scratch("sources");
    let file = folder.join("h.toml");
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\n[rtmp]\nlisten = \"127.0.0.1:2\"\n[admin]\nlisten = \"127.0.0.1:3\"\n")
        .unwrap();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let config = Loader::new()
        .file(&file)
        .flag("--http-listen", "http.listen", "127.0.0.1:5")
        .environment([
            variable("HEADWATER_HTTP__LISTEN", "127.0.0.1:4"),
            variable("HEADWATER_RTMP__LISTEN", "127.0.0.1:6"),
            variable("HEADWATER_RTMP__MAX_CONNECTIONS", "7"),
            variable("HEADWATER_PUBLISH__LOOPBACK_TRUSTED", "false"),
            variable("HEADWATER_PUBLISH__KEYS", "[{ key = \"hunter22\", app = \"live\" }]"),
            variable("HEADWATER_STATE_DIR", "/var/lib/headwater"),
            variable("PATH", "/bin"),
        ])
        .load()
        .unwrap();
    assert_eq!(config.http.listen.port(), 5);
    assert_eq!(config.rtmp.listen.port(), 6);
    assert_eq!(config.admin.listen.port(), 3);
    assert_eq!(config.rtmp.max_connections, 7);
    assert!(!config.publish.loopback_trusted);
    assert_eq!(config.state_dir(), Some(Path::new("/var/lib/headwater")));
    assert_eq!(config.publish.keys.first().map(|key| key.key.expose()), Some("hunter22"));
    assert!(!format!("{config:?}").contains("hunter22"), "a key in the debug form");
}

#[test]
fn outputs_of_an_app() {
    let folder = scratch("outputs");
    let file = folder.join("h.toml");
    for (text, live, studio) in [
        ("", true, true),
        ("[outputs]\nhls = false", false, false),
        ("[apps.live.outputs]\nhls = false", false, true),
        ("[outputs]\nhls = false\n[apps.\"studio/a\".outputs]\nhls = true", false, true),
        ("[apps.live]\n", true, true),
    ] {
        std::fs::write(&file, text).unwrap();
        let config = Loader::new().file(&file).load().unwrap();
        assert_eq!(
            (config.outputs_for("live").hls, config.outputs_for("studio/a").hls),
            (live, studio),
            "{text}"
        );
    }
}

#[test]
fn continuous_outputs_of_an_app() {
    let folder = scratch("continuous-outputs");
    let file = folder.join("h.toml");
    for (text, flv, continuous) in [
        ("", true, true),
        ("[outputs]\nflv = false", false, true),
        ("[apps.live.outputs]\nflv = false\nts = false\nmp4 = false", false, true),
        ("[outputs]\nts = false\nmp4 = false\nrtmp = false\n[apps.live.outputs]\nflv = false", false, false),
        ("[outputs]\nflv = false\n[apps.live.outputs]\nflv = true", true, true),
    ] {
        std::fs::write(&file, text).unwrap();
        let outputs = Loader::new().file(&file).load().unwrap().outputs_for("live");
        assert_eq!((outputs.flv, outputs.continuous()), (flv, continuous), "{text}");
    }
}
