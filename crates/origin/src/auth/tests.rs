use std::time::Duration;

use super::*;
use crate::config;
use crate::telemetry::Parent;

fn authorizer(keys: &[(&str, Option<&str>, Option<&str>)], loopback_trusted: bool) -> Authorizer {
    let mut config = Config::default();
    config.publish.loopback_trusted = loopback_trusted;
    config.publish.keys = keys
        .iter()
        .map(|(key, app, stream)| PublishKey {
            key: Secret::new(*key),
            app: app.map(str::to_owned),
            stream: stream.map(str::to_owned),
            expires: None,
        })
        .collect();
    Authorizer::new(Arc::new(config), Some(Secret::new("generated-key"))).unwrap()
}

#[test]
fn keys_table() {
    let near = "127.0.0.1";
    let far = "192.0.2.7";
    let keys: &[_] = &[
        ("any-secret", None, None),
        ("live-secret", Some("live"), None),
        ("cam-secret", Some("live"), Some("cam")),
    ];
    let ok = |name: &str| Ok(name.to_owned());
    let (missing, wrong) = (|| Err(Denied::KeyMissing), || Err(Denied::KeyWrong));
    for (case, keys, trusted, from, app, name, key, expected) in [
        ("loopback is free", keys, true, near, "live", "cam", None, ok("cam")),
        ("mapped loopback too", keys, true, "::ffff:127.0.0.1", "live", "cam", None, ok("cam")),
        ("IPv6 loopback too", keys, true, "::1", "live", "cam", None, ok("cam")),
        ("not when distrusted", keys, false, near, "live", "cam", None, missing()),
        ("a wrong key is refused on loopback", keys, true, near, "live", "cam", Some("x"), wrong()),
        ("elsewhere a key is needed", keys, true, far, "live", "cam", None, missing()),
        ("key for anything", keys, true, far, "x", "y", Some("any-secret"), ok("y")),
        ("key for an app", keys, true, far, "live", "y", Some("live-secret"), ok("y")),
        ("key for another app", keys, true, far, "x", "y", Some("live-secret"), wrong()),
        ("key for a stream", keys, true, far, "live", "cam", Some("cam-secret"), ok("cam")),
        ("key for another stream", keys, true, far, "live", "y", Some("cam-secret"), wrong()),
        ("a key alone stands for its stream", keys, true, far, "live", "cam-secret", None, ok("cam")),
        ("in its app only", keys, true, far, "x", "cam-secret", None, missing()),
        ("on loopback as well", keys, true, near, "live", "cam-secret", None, ok("cam")),
        ("a key without a stream is no name", keys, true, far, "live", "any-secret", None, missing()),
        ("the generated key", &[], true, far, "live", "cam", Some("generated-key"), ok("cam")),
        ("not beside configured ones", keys, true, far, "live", "cam", Some("generated-key"), wrong()),
        ("an empty key is a wrong one", &[], true, far, "live", "cam", Some(""), wrong()),
        ("reserved app", keys, true, near, "api", "cam", None, Err(Denied::AppReserved)),
        ("reserved ending", keys, true, near, "live", "cam.ts", None, Err(Denied::NameReserved)),
    ] {
        let shown = Shown { key, token: None, is_direct: true };
        let decided = authorizer(keys, trusted).publish(from.parse().unwrap(), app, name, &shown);
        assert_eq!(decided, expected, "{case}");
    }
}

#[test]
fn behind_a_load_balancer_nobody_is_trusted_for_an_address() {
    let address = "127.0.0.1".parse().unwrap();
    let decided = authorizer(&[], true).publish(address, "live", "cam", &Shown::default());
    assert_eq!(decided, Err(Denied::KeyMissing));
}

/// With a secret for tokens, tokens needed to play, and a neighbour who is kept out.
fn strict() -> Authorizer {
    let mut config = Config::default();
    config.auth.token_secrets = vec![Secret::new("a-secret-of-twenty-two")];
    config.play.token_required = true;
    let neighbour = || serde_json::from_value(serde_json::json!(["192.0.2.66"])).unwrap();
    (config.play.deny, config.publish.deny) = (neighbour(), neighbour());
    Authorizer::new(Arc::new(config), None).unwrap()
}

fn token(action: Action, stream: &str, expires_in: i64) -> String {
    let now = Clocks::start().wall().unix_seconds();
    let tokens = Tokens::new(vec![Secret::new("a-secret-of-twenty-two")]);
    tokens.make(action, Some("live"), Some(stream), now.checked_add_signed(expires_in).unwrap()).unwrap()
}

#[test]
fn tokens_to_publish() {
    let authorizer = strict();
    let good = token(Action::Publish, "cam", 60);
    for (case, from, name, key, token, expected) in [
        ("good", "192.0.2.7", "cam", None, good.clone(), Ok("cam".to_owned())),
        ("replayed for another stream", "192.0.2.7", "cam2", None, good.clone(), Err(Denied::TokenWrong)),
        ("expired", "192.0.2.7", "cam", None, token(Action::Publish, "cam", -1), Err(Denied::TokenExpired)),
        ("to play", "192.0.2.7", "cam", None, token(Action::Play, "cam", 60), Err(Denied::TokenWrong)),
        (
            "a bad one is refused on loopback",
            "127.0.0.1",
            "cam",
            None,
            "x".to_owned(),
            Err(Denied::TokenWrong),
        ),
        ("it is the token that counts", "192.0.2.7", "cam", Some("x"), good.clone(), Ok("cam".to_owned())),
        ("from where nobody may", "192.0.2.66", "cam", None, good, Err(Denied::Address)),
    ] {
        let shown = Shown { key, token: Some(&token), is_direct: true };
        assert_eq!(authorizer.publish(from.parse().unwrap(), "live", name, &shown), expected, "{case}");
    }
    // Whoever has no secret can't tell a token from another's.
    let open = self::authorizer(&[], true);
    let shown = Shown { key: None, token: Some("x"), is_direct: true };
    assert_eq!(open.publish("127.0.0.1".parse().unwrap(), "live", "cam", &shown), Ok("cam".to_owned()));
    assert_eq!(open.publish("192.0.2.7".parse().unwrap(), "live", "cam", &shown), Err(Denied::KeyMissing));
}

#[tokio::test]
async fn tokens_to_play() {
    let authorizer = strict();
    let good = token(Action::Play, "cam", 60);
    let (expired, publishing) = (token(Action::Play, "cam", -1), token(Action::Publish, "cam", 60));
    for (case, from, stream, token, expected) in [
        ("good", "192.0.2.7", "cam", Some(&*good), Ok(())),
        ("again, by another", "198.51.100.1", "cam", Some(&*good), Ok(())),
        ("for another stream", "192.0.2.7", "cam2", Some(&*good), Err(Denied::TokenWrong)),
        ("none", "192.0.2.7", "cam", None, Err(Denied::TokenMissing)),
        ("none on loopback: a cache may be there", "127.0.0.1", "cam", None, Err(Denied::TokenMissing)),
        ("expired", "192.0.2.7", "cam", Some(&*expired), Err(Denied::TokenExpired)),
        ("to publish", "192.0.2.7", "cam", Some(&*publishing), Err(Denied::TokenWrong)),
        ("empty", "192.0.2.7", "cam", Some(""), Err(Denied::TokenWrong)),
        (
            "a JWT where none can be verified",
            "192.0.2.7",
            "cam",
            Some("eyJhbGciOiJub25lIn0.e30."),
            Err(Denied::TokenWrong),
        ),
        ("from where nobody may", "192.0.2.66", "cam", Some(&*good), Err(Denied::Address)),
    ] {
        assert_eq!(
            authorizer.play(from.parse().unwrap(), "live", stream, token, &Parent::default()).await,
            expected,
            "{case}"
        );
    }
    let open = self::authorizer(&[], true);
    assert_eq!(
        open.play("192.0.2.7".parse().unwrap(), "live", "cam", Some("x"), &Parent::default()).await,
        Ok(())
    );
}

/// Names are told to those who may play: what `listing` says of a name is what `play` says.
#[tokio::test]
async fn listings_say_what_playing_would() {
    let mut config = Config::clone(&strict().policy().config);
    config.auth.jwt.secret = Secret::new("a-secret-for-web-tokens");
    let authorizer = Authorizer::new(Arc::new(config), None).unwrap();
    let now = Clocks::start().wall().unix_seconds();
    let make = |action, app, stream| {
        Tokens::new(vec![Secret::new("a-secret-of-twenty-two")]).make(action, app, stream, now + 60).unwrap()
    };
    let jwt = |claims: serde_json::Value| jwt::signed_for_test(b"a-secret-for-web-tokens", &claims);
    let tokens = [
        make(Action::Play, Some("live"), Some("cam")),
        make(Action::Play, Some("live"), None),
        make(Action::Play, None, None),
        make(Action::Publish, Some("live"), Some("cam")),
        token(Action::Play, "cam", -1),
        "play-all.99999999999.00".to_owned(),
        "play-stream.99999999999.00".to_owned(),
        "play-other.99999999999.00".to_owned(),
        String::new(),
        jwt(serde_json::json!({ "exp": now + 60, "action": "play", "app": "live", "stream": "cam" })),
        jwt(serde_json::json!({ "exp": now + 60, "action": "play", "app": "live" })),
        jwt(serde_json::json!({ "exp": now + 60, "action": ["publish", "play"] })),
        jwt(serde_json::json!({ "exp": now + 60, "action": "publish" })),
        jwt(serde_json::json!({ "exp": now - 60, "action": "play" })),
    ];
    let mut told = 0;
    for token in tokens.iter().map(Some).chain([None]) {
        let token = token.map(String::as_str);
        for address in ["192.0.2.7", "192.0.2.66"] {
            let address = address.parse().unwrap();
            let listing = authorizer.listing(address, token);
            for (app, stream) in [("live", "cam"), ("live", "other"), ("eu", "cam")] {
                let may = authorizer.play(address, app, stream, token, &Parent::default()).await;
                let names = listing.as_ref().is_ok_and(|listing| listing.names(app, stream));
                assert_eq!(names, may.is_ok(), "{token:?} {address} {app}/{stream}: {listing:?} {may:?}");
                told += usize::from(names);
            }
        }
    }
    assert_eq!(told, 1 + 2 + 3 + 1 + 2 + 3);
    let reason = |address: &str, token| authorizer.listing(address.parse().unwrap(), token).map(|_| ());
    assert_eq!(reason("192.0.2.7", None), Err(Denied::TokenMissing));
    assert_eq!(reason("192.0.2.66", None), Err(Denied::Address));
    assert_eq!(reason("192.0.2.7", Some(&tokens[4])), Err(Denied::TokenExpired));
    assert!(self::authorizer(&[], true).listing("192.0.2.7".parse().unwrap(), None).unwrap().is_everything());
}

#[test]
fn parameters() {
    for (query, expected) in [
        ("token=a.b", Some("a.b")),
        ("x=1&token=a&token=b", Some("a")),
        ("tokens=a", None),
        ("token", None),
        ("token=", Some("")),
        ("", None),
    ] {
        assert_eq!(parameter(query, "token"), expected, "{query}");
    }
}

#[tokio::test]
async fn a_hook_that_nobody_answers() {
    for (policy, expected) in
        [(config::OnFailure::Deny, Err(Denied::HookFailed)), (config::OnFailure::Allow, Ok(()))]
    {
        let mut config = Config::default();
        // Nobody listens on the discard port.
        config.hooks.on_play = "http://127.0.0.1:9/".to_owned();
        config.hooks.on_failure = policy;
        config.hooks.timeout = Duration::from_secs(1);
        let authorizer = Authorizer::new(Arc::new(config), None).unwrap();
        let from = "192.0.2.7".parse().unwrap();
        assert_eq!(
            authorizer.play(from, "live", "cam", None, &Parent::default()).await,
            expected,
            "{policy:?}"
        );
    }
}
