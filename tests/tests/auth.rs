//! Who may publish and who may play, with real encoders and players and with good, bad, expired, replayed and tampered credentials; and
//! that none of them is ever told to anybody.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_tests::hook_server::HookServer;
use headwater_tests::process::{Process, read_output};
use headwater_tests::server::{Answer, binary, fetch};
use headwater_tests::{Headwater, Scratch, media, publish, wait_for};

/// An encoder that connects and sends a first segment, on a busy machine.
const BEGINS: Duration = Duration::from_secs(30);

/// An encoder that is refused tells so at once; on a busy machine it takes a while to start.
const REFUSED: Duration = Duration::from_secs(20);

/// A file is in force after two looks of two seconds each; a busy machine looks later.
const IN_FORCE: Duration = Duration::from_secs(30);

/// A set with an unknown key is fetched anew 30 s after it was fetched last.
const FETCHED: Duration = Duration::from_secs(60);

const TOKEN_SECRET: &str = "planted-token-secret";

/// All that this program itself logs, and what its libraries say of importance.
const LOG: &str = "[log]\nlevel = \"headwater_origin=trace,headwater_rtmp=trace,debug\"\n";

/// Fails if anything that the server tells operators or players shows one of `secrets`.
fn assert_kept(server: &Headwater, secrets: &[&str]) {
    let api = ["/api/v1/streams", "/api/v1/status", "/api/v1/events", "/metrics"];
    let told = api.iter().map(|path| fetch(&server.admin_url(path)).text());
    let live = fetch(&server.http_url("/api/v1/live"));
    let told: Vec<String> = told.chain([live.text(), server.process.log()]).collect();
    assert!(told.iter().any(|text| text.contains("cam")), "something was told");
    for secret in secrets {
        assert!(!told.iter().any(|text| text.contains(secret)), "{secret} is told:\n{}", told.join("\n"));
    }
}

fn publisher(scratch: &Scratch, name: &str, server: &Headwater, stream: &str) -> Process {
    publish::ffmpeg(scratch, name, &media::plain(), 20, &server.publish_url(stream))
}

/// An encoder that must not get in.
fn assert_refused(scratch: &Scratch, name: &str, server: &Headwater, stream: &str) {
    assert!(!publisher(scratch, name, server, stream).wait(REFUSED).success(), "{name} got in");
}

/// A token as an operator makes it.
fn token(scratch: &Scratch, arguments: &[&str]) -> String {
    let mut headwater = Command::new(binary());
    headwater.arg("token").args(arguments).arg("--config").arg(scratch.join("headwater.toml"));
    read_output(headwater).trim().to_owned()
}

fn bearer(url: &str, token: &str) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code} %header{cache-control}"]);
    curl.args(["--header", &format!("Authorization: Bearer {token}"), url]);
    let told = read_output(curl);
    let (status, cache) = told.split_once(' ').expect("status and header");
    (status.to_owned(), cache.to_owned())
}

#[test]
fn keys_of_a_file_change_under_way() {
    let scratch = Scratch::new("auth-keys-file");
    let file = scratch.join("keys.toml");
    let key = |key: &str, rest: &str| format!("[[keys]]\nkey = \"{key}\"\n{rest}\n");
    let expired = key("planted-key-expired", "expires = 2026-01-01T00:00:00Z");
    std::fs::write(&file, key("planted-key-one", "stream = \"cam\"") + &expired).expect("a keys file");
    let server = Headwater::start_with(
        &scratch,
        &format!("{LOG}[publish]\nloopback_trusted = false\nkeys_file = {file:?}\n"),
    );
    assert_refused(&scratch, "without", &server, "cam");
    assert_refused(&scratch, "wrong", &server, "cam?key=planted-key-none");
    assert_refused(&scratch, "expired", &server, "cam?key=planted-key-expired");
    assert_refused(&scratch, "another-stream", &server, "cam2?key=planted-key-one");
    let one = publisher(&scratch, "one", &server, "cam?key=planted-key-one");
    server.wait_until_playable("cam", BEGINS);

    std::fs::write(&file, "[[keys]]\nkey = 7\n").expect("a broken file");
    wait_for("a word about the file", IN_FORCE, || {
        server.process.log().contains("publish.keys_file can't be used").then_some(())
    });
    std::fs::write(&file, key("planted-key-two", "")).expect("another file");
    wait_for("the other keys", IN_FORCE, || {
        server.process.log().contains("other publish keys are in force").then_some(())
    });
    // Whoever publishes already goes on.
    let _two = publisher(&scratch, "two", &server, "other?key=planted-key-two");
    server.wait_until_playable("other", BEGINS);
    assert_eq!(server.streams()[0]["state"], "live");
    drop(one);
    assert_refused(&scratch, "gone", &server, "cam?key=planted-key-one");
    assert_kept(&server, &["planted-key"]);
}

#[test]
fn tokens_to_publish_and_to_play() {
    let scratch = Scratch::new("auth-tokens");
    let server = Headwater::start_with(
        &scratch,
        &format!(
            "{LOG}[publish]\nloopback_trusted = false\n[play]\ntoken_required = true\n\
             [auth]\ntoken_secrets = [\"{TOKEN_SECRET}\"]\n"
        ),
    );
    let publishing = token(&scratch, &["publish", "live/cam"]);
    let playing = token(&scratch, &["play", "live/cam"]);
    let expired = token(&scratch, &["play", "live/cam", "--expires-in", "0s"]);
    assert_refused(&scratch, "to-play", &server, &format!("cam?token={playing}"));
    assert_refused(&scratch, "replayed", &server, &format!("cam2?token={publishing}"));
    assert_refused(&scratch, "none", &server, "cam");
    let _publisher = publisher(&scratch, "publisher", &server, &format!("cam?token={publishing}"));

    let at = |path: &str| server.http_url(path);
    let path = format!("/t/{playing}/live/cam/index.m3u8");
    wait_for("a playlist", BEGINS, || (fetch(&at(&path)).status == 200).then_some(()));
    let tampered = playing.replace("play-stream", "play-all");
    for (case, path, status) in [
        ("none", "/live/cam/index.m3u8".to_owned(), 401),
        ("in the path", path.clone(), 200),
        ("of everything", format!("/t/{}/live/cam/index.m3u8", token(&scratch, &["play", "*"])), 200),
        ("of the app", format!("/t/{}/live/cam/index.m3u8", token(&scratch, &["play", "live/*"])), 200),
        ("in the query of a media playlist", format!("/live/cam/ts/media.m3u8?token={playing}"), 200),
        ("replayed for another stream", format!("/t/{playing}/live/cam2/index.m3u8"), 403),
        ("replayed from publishing", format!("/t/{publishing}/live/cam/index.m3u8"), 403),
        ("expired", format!("/t/{expired}/live/cam/index.m3u8"), 403),
        ("tampered", format!("/t/{tampered}/live/cam/index.m3u8"), 403),
        ("empty", "/t//live/cam/index.m3u8".to_owned(), 403),
        ("for a stream that is not there, without one", "/live/none/index.m3u8".to_owned(), 401),
        ("the clock needs none", "/time".to_owned(), 200),
        ("alone", format!("/t/{playing}"), 404),
        ("in another writing", format!("/%74/{playing}/live/cam/index.m3u8"), 200),
    ] {
        let Answer { status: answered, .. } = fetch(&at(&path));
        assert_eq!(answered, status, "{case}");
    }
    let refused = fetch(&at("/live/cam/index.m3u8"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    for answer in [refused, fetch(&at(&format!("/t/{expired}/live/cam/index.m3u8")))] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    // What is answered because of a query or a header is for nobody else.
    let kept = fetch(&at(&format!("/t/{playing}/live/cam/ts/media.m3u8")));
    assert!(kept.header("cache-control").is_some_and(|value| value.contains("public")), "{kept:?}");
    let alone = fetch(&at(&format!("/live/cam/ts/media.m3u8?token={playing}")));
    assert!(alone.header("cache-control").is_some_and(|value| value.contains("private")), "{alone:?}");
    let (status, cache) = bearer(&at("/live/cam/ts/media.m3u8"), &playing);
    assert!(status == "200" && cache.contains("private"), "{status} {cache}");
    assert_eq!(bearer(&at("/live/cam/index.m3u8"), &tampered).0, "403");

    // A player that knows nothing of tokens follows the address, and the URLs in what it finds there.
    let seconds = |url: &str| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-i", url, "-map", "0:v", "-t", "3", "-c", "copy"]);
        ffmpeg.args(["-f", "framemd5", "-"]).stdin(Stdio::null());
        let output = ffmpeg.output().expect("ffmpeg can be started");
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("0,")).count() / 25
    };
    assert!(seconds(&at(&format!("/live/cam/index.m3u8?token={playing}"))) >= 2);
    assert!(seconds(&at(&format!("/live/cam.flv?token={playing}"))) >= 2);
    assert!(seconds(&format!("{}?token={playing}", server.publish_url("cam"))) >= 2);
    assert_eq!(seconds(&server.publish_url("cam")), 0);
    assert_eq!(seconds(&format!("{}?token={tampered}", server.publish_url("cam"))), 0);
    assert_kept(&server, &[TOKEN_SECRET, &publishing, &playing, &expired, &tampered]);
}

#[test]
fn json_web_tokens_by_keys_from_an_address() {
    let scratch = Scratch::new("auth-jwks");
    let keys = ["first", "second"].map(|name| RsaKey::make(&scratch, name));
    let set = Arc::new(Mutex::new(keys[0].jwk()));
    let served = Arc::clone(&set);
    let issuer = HookServer::start(move |_| {
        let keys = served.lock().unwrap_or_else(PoisonError::into_inner);
        Some((200, format!("{{\"keys\":[{{\"kty\":\"unknown\"}},{keys}]}}")))
    });
    let server = Headwater::start_with(
        &scratch,
        &format!(
            "{LOG}[play]\ntoken_required = true\n[auth.jwt]\njwks_url = {:?}\njwks_refresh = \"1h\"\n",
            issuer.url("/set.json")
        ),
    );
    let _publisher = publisher(&scratch, "publisher", &server, "cam");
    let [first, second] = [&keys[0], &keys[1]]
        .map(|key| key.sign(&scratch, "{\"exp\":4102444800,\"action\":\"play\",\"app\":\"live\"}"));
    let status = |token: &str| fetch(&server.http_url(&format!("/t/{token}/live/cam/index.m3u8"))).status;
    wait_for("a playlist", BEGINS, || (status(&first) == 200).then_some(()));
    assert_eq!(status(&second), 403, "its key is not in the set");
    *set.lock().unwrap_or_else(PoisonError::into_inner) = format!("{},{}", keys[0].jwk(), keys[1].jwk());
    wait_for("the other key", FETCHED, || (status(&second) == 200).then_some(()));
    assert_eq!(status(&first), 200);
    assert_kept(&server, &[&first, &second]);
}

/// A key of an issuer, made and used by a program that nobody here wrote.
struct RsaKey {
    name: &'static str,
    file: PathBuf,
}

impl RsaKey {
    fn make(scratch: &Scratch, name: &'static str) -> RsaKey {
        let file = scratch.join(&format!("{name}.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&file);
        read_output(openssl);
        RsaKey { name, file }
    }

    fn jwk(&self) -> String {
        let mut openssl = Command::new("openssl");
        openssl.args(["rsa", "-noout", "-modulus", "-in"]).arg(&self.file);
        let modulus = read_output(openssl);
        let digits = modulus.trim().strip_prefix("Modulus=").expect("a modulus");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect();
        // 65537, as openssl makes them.
        format!("{{\"kty\":\"RSA\",\"kid\":{:?},\"n\":{:?},\"e\":\"AQAB\"}}", self.name, base64url(&bytes))
    }

    fn sign(&self, scratch: &Scratch, claims: &str) -> String {
        let header = format!("{{\"alg\":\"RS256\",\"kid\":{:?}}}", self.name);
        let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let (input, output) = (scratch.join("to-sign.txt"), scratch.join("signature"));
        std::fs::write(&input, &text).expect("the test's folder can be written");
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-sign"]).arg(&self.file).arg("-out").arg(&output).arg(&input);
        read_output(openssl);
        format!("{text}.{}", base64url(&std::fs::read(output).expect("a signature")))
    }
}

/// RFC 4648 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

#[test]
fn another_configuration_under_way() {
    let scratch = Scratch::new("auth-reload");
    let configuration = |keys: &str, rest: &str| {
        format!("{LOG}[publish]\nloopback_trusted = false\nkeys = [{{ key = \"{keys}\" }}]\n{rest}")
    };
    let mut server = Headwater::start_with(&scratch, &configuration("planted-key-one", ""));
    let file = scratch.join("headwater.toml");
    let before = std::fs::read_to_string(&file).expect("the configuration");
    let _one = publisher(&scratch, "one", &server, "cam?key=planted-key-one");
    server.wait_until_playable("cam", BEGINS);

    let broken = before.replace("planted-key-one", "short");
    std::fs::write(&file, broken).expect("another configuration");
    server.process.signal("HUP");
    let told = |server: &Headwater, words: &str| {
        wait_for(words, IN_FORCE, || server.process.log().contains(words).then_some(()));
    };
    told(&server, "this configuration can't be used; the one before stays in force");
    let other = before.replace("planted-key-one", "planted-key-two")
        + "\n[limits]\nmax_streams = 5\n[play]\nallow = [\"192.0.2.1\"]\n";
    std::fs::write(&file, other).expect("another configuration");
    server.process.signal("HUP");
    told(
        &server,
        "the configuration was read again at_once={\"limits.max_streams\", \"play.allow\", \"publish.keys\"} for_new_connections={}",
    );
    assert_eq!(fetch(&server.watch_url("cam")).status, 403);
    assert_refused(&scratch, "gone", &server, "cam?key=planted-key-one");
    let events = fetch(&server.admin_url("/api/v1/events")).text();
    assert!(events.contains("\"config_reload\"") && events.contains("\"play.allow\""), "{events}");
    // Whoever publishes already goes on.
    assert_eq!(server.streams()[0]["state"], "live");
    std::fs::write(&file, before.replace("planted-key-one", "planted-key-two"))
        .expect("another configuration");
    server.process.signal("HUP");
    told(&server, "at_once={\"limits.max_streams\", \"play.allow\"} for_new_connections={}");
    let _two = publisher(&scratch, "two", &server, "other?key=planted-key-two");
    server.wait_until_playable("other", BEGINS);
    assert_kept(&server, &["planted-key"]);
}

#[test]
fn operators_show_a_token() {
    let scratch = Scratch::new("auth-admin");
    let secret = "planted-admin-token";
    let server = Headwater::start_with(&scratch, &format!("{LOG}[admin]\ntoken = \"{secret}\"\n"));
    let url = server.admin_url("/api/v1/streams");
    let refused = fetch(&url);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    for (case, token, expected) in [
        ("good", secret, "200"),
        ("wrong", "planted-admin-tokem", "401"),
        ("more", "planted-admin-token-and-more", "401"),
        ("empty", "", "401"),
    ] {
        assert_eq!(bearer(&url, token).0, expected, "{case}");
    }
    for path in ["/healthz", "/readyz"] {
        let answer = fetch(&server.admin_url(path));
        // No page of another origin reads anything here.
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{path}");
    }
    assert!(!server.process.log().contains("planted"));
}

#[test]
fn an_operator_s_program_is_asked() {
    let scratch = Scratch::new("auth-hooks");
    let hooks = HookServer::start(|asked| match (&*asked.path, &*asked.field("stream")) {
        ("/publish", "renamed") => Some((200, "{\"code\":0,\"stream\":\"cam\"}".to_owned())),
        ("/publish", "slow") => None,
        ("/publish", "denied") => Some((200, "{\"code\":1}".to_owned())),
        ("/publish", "forbidden") => Some((403, String::new())),
        ("/publish", "strange") => Some((200, "<html>".to_owned())),
        ("/play", _) if asked.field("param") != "?token=planted-ticket" => Some((401, String::new())),
        _ => Some((200, "0".to_owned())),
    });
    let server = Headwater::start_with(
        &scratch,
        &format!(
            "{LOG}[hooks]\non_publish = {:?}\non_play = {:?}\non_unpublish = {:?}\nsecret = \"planted-hook-secret\"\n\
             timeout = \"20s\"\nretries = 0\n",
            hooks.url("/publish"),
            hooks.url("/play"),
            hooks.url("/unpublish")
        ),
    );
    // One that is never answered holds nobody else up.
    let slow = publisher(&scratch, "slow", &server, "slow");
    wait_for("a question", BEGINS, || (hooks.asked("/publish").len() == 1).then_some(()));
    let mut renamed = publisher(&scratch, "renamed", &server, "renamed?planted=password");
    let playlist = server.http_url("/t/planted-ticket/live/cam/index.m3u8");
    wait_for("a playlist under the other name", BEGINS, || (fetch(&playlist).status == 200).then_some(()));
    drop(slow);
    for stream in ["denied", "forbidden", "strange"] {
        assert_refused(&scratch, stream, &server, stream);
    }

    let asked = hooks.asked("/publish").into_iter().find(|asked| asked.field("stream") == "renamed");
    let asked = asked.expect("it was asked about");
    assert_eq!(
        ["action", "ip", "app", "param", "vhost"].map(|name| asked.field(name)),
        ["on_publish", "127.0.0.1", "live", "?planted=password", "__defaultVhost__"]
    );
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("headwater-signature").map(str::to_owned), Some(signature(&scratch, &asked)));

    // A player is asked about once, however much it asks for.
    for path in ["index.m3u8", "ts/media.m3u8", "llhls.m3u8", "manifest.mpd"] {
        assert_eq!(
            fetch(&server.http_url(&format!("/t/planted-ticket/live/cam/{path}"))).status,
            200,
            "{path}"
        );
    }
    assert_eq!(hooks.asked("/play").len(), 1);
    assert_eq!(fetch(&server.http_url("/live/cam/index.m3u8")).status, 403);
    assert_eq!(fetch(&server.http_url("/t/other/live/cam/index.m3u8")).status, 403);
    assert_eq!(hooks.asked("/play").len(), 3);

    assert!(hooks.asked("/unpublish").is_empty());
    renamed.stop();
    wait_for("a word about its end", BEGINS, || (!hooks.asked("/unpublish").is_empty()).then_some(()));
    let gone = hooks.asked("/unpublish");
    assert_eq!(["action", "stream"].map(|name| gone[0].field(name)), ["on_unpublish", "cam"]);
    assert_eq!(gone[0].field("client_id"), asked.field("client_id"));
    assert_kept(&server, &["planted-hook-secret", "planted-ticket", "password"]);
}

/// As a receiver would compute it, with a program that nobody here wrote.
fn signature(scratch: &Scratch, asked: &headwater_tests::hook_server::Asked) -> String {
    let path = scratch.join("signed.txt");
    let time = asked.header("headwater-timestamp").expect("a time");
    std::fs::write(&path, format!("{time}.{}", asked.body)).expect("the test's folder can be written");
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-hmac", "planted-hook-secret", "-r"]).arg(path);
    read_output(openssl).split(' ').next().unwrap_or_default().to_owned()
}
