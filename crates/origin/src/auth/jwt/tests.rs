use std::path::PathBuf;
use std::process::{Command, Stdio};

use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use super::*;
use crate::config::Secret;

const SECRET: &str = "a-secret-of-twenty-two";

/// RFC 4648 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            (0..=chunk.len()).map(move |digit| char::from(ALPHABET[(bits >> (18 - 6 * digit)) as usize & 63]))
        })
        .collect()
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
}

fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", base64url(tag.as_ref()))
}

/// By HS256.
pub(in crate::auth) fn signed(secret: &[u8], claims: &Value) -> String {
    hs256(secret, &json!({"alg": "HS256", "typ": "JWT"}), claims)
}

struct Rsa(RsaKeyPair);
struct Ec(EcdsaKeyPair);

impl Rsa {
    /// ring makes none.
    fn make() -> Rsa {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"]);
        let output = openssl.stdin(Stdio::null()).stderr(Stdio::null()).output();
        let der = output.expect("openssl can be started; `cargo xtask deps` installs it").stdout;
        // Versions differ in how they wrap it.
        Rsa(RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        let key = signature::RsaPublicKeyComponents::<Vec<u8>>::from(self.0.public());
        json!({"kty": "RSA", "kid": id, "n": base64url(&key.n), "e": base64url(&key.e)})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let mut tag = vec![0; self.0.public().modulus_len()];
        self.0.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut tag).unwrap();
        format!("{text}.{}", base64url(&tag))
    }
}

impl Ec {
    fn make() -> Ec {
        let (algorithm, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Ec(EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": id, "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let tag = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", base64url(tag.as_ref()))
    }
}

/// A file of this test's own.
fn set_file(name: &str, keys: &[Value]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("headwater-jwks-{}-{name}.json", std::process::id()));
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    path
}

#[test]
fn table() {
    let (rsa, other_rsa, ec) = (Rsa::make(), Rsa::make(), Ec::make());
    let path = set_file("table", &[rsa.jwk("r1"), ec.jwk("e1")]);
    let mut config = config::Jwt {
        secret: Secret::new(SECRET),
        jwks_file: path.to_str().unwrap().to_owned(),
        issuer: "https://issuer.example".to_owned(),
        audience: "headwater".to_owned(),
        ..config::Jwt::default()
    };
    let jwt = Jwt::new(&config).unwrap().unwrap();
    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({
        "iss": "https://issuer.example", "aud": "headwater", "exp": now + 60, "action": "play", "app": "live", "stream": "cam",
    });
    let with = |key: &str, value: Value| {
        let mut changed = claims.clone();
        changed[key] = value;
        changed
    };
    let without = |key: &str| {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(key);
        changed
    };
    let hs = |claims: &Value| hs256(SECRET.as_bytes(), &json!({"alg": "HS256", "typ": "JWT"}), claims);
    let (r1, e1) = (json!({"alg": "RS256", "kid": "r1"}), json!({"alg": "ES256", "kid": "e1"}));
    let good = rsa.sign(&r1, &claims);
    let (text, tag) = good.rsplit_once('.').unwrap();
    let (head, _) = text.split_once('.').unwrap();
    // The first character, for not all bits of the last one count.
    let other = if tag.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{text}.{other}{}", tag.get(1..).unwrap());
    let public: Vec<u8> = signature::RsaPublicKeyComponents::<Vec<u8>>::from(rsa.0.public()).n;
    let (ok, wrong, expired) = (Ok(()), Err(Denied::TokenWrong), Err(Denied::TokenExpired));
    for (case, token, expected) in [
        ("HS256", hs(&claims), ok),
        ("RS256", good.clone(), ok),
        ("ES256", ec.sign(&e1, &claims), ok),
        ("without a key's name", rsa.sign(&json!({"alg": "RS256"}), &claims), ok),
        ("an unknown key's name", rsa.sign(&json!({"alg": "RS256", "kid": "r2"}), &claims), wrong),
        ("another key under that name", other_rsa.sign(&r1, &claims), wrong),
        ("two actions", hs(&with("action", json!(["publish", "play"]))), ok),
        ("the other action", hs(&with("action", json!("publish"))), wrong),
        ("no action", hs(&without("action")), wrong),
        (
            "any app and stream",
            hs(&json!({"iss": claims["iss"], "aud": "headwater", "exp": now + 60, "action": "play"})),
            ok,
        ),
        ("another stream", hs(&with("stream", json!("cam2"))), wrong),
        ("another app", hs(&with("app", json!("live2"))), wrong),
        ("expired", hs(&with("exp", json!(now - 60))), expired),
        ("without an end", hs(&without("exp")), wrong),
        ("an end that is a text", hs(&with("exp", json!("tomorrow"))), wrong),
        ("not yet", hs(&with("nbf", json!(now + 60))), wrong),
        ("another issuer", hs(&with("iss", json!("https://other.example"))), wrong),
        ("no issuer", hs(&without("iss")), wrong),
        ("another audience", hs(&with("aud", json!("other"))), wrong),
        ("no audience", hs(&without("aud")), wrong),
        ("another secret", hs256(b"another-secret-of-somebody", &json!({"alg": "HS256"}), &claims), wrong),
        (
            "tampered claims",
            format!("{head}.{}.{tag}", base64url(with("stream", json!("x")).to_string().as_bytes())),
            wrong,
        ),
        ("tampered signature", tampered, wrong),
        ("no signature", format!("{text}."), wrong),
        ("none", format!("{}.", unsigned(&json!({"alg": "none"}), &claims)), wrong),
        ("the public key as a secret", hs256(&public, &json!({"alg": "HS256", "kid": "r1"}), &claims), wrong),
        (
            "an algorithm that nobody asked for",
            hs256(SECRET.as_bytes(), &json!({"alg": "HS512"}), &claims),
            wrong,
        ),
        ("one RSA, the other said", rsa.sign(&json!({"alg": "ES256"}), &claims), wrong),
        ("too long", hs(&with("x", json!("x".repeat(JWT_BYTES_MAX)))), wrong),
        ("two parts", text.to_owned(), wrong),
        ("words", "eyJ".to_owned(), wrong),
    ] {
        assert_eq!(jwt.verify(&token, Action::Play, "live", "cam"), expected, "{case}");
    }

    // Without a secret nothing of HS256 is anybody's, whatever it is signed with.
    config.secret = Secret::new("");
    let jwt = Jwt::new(&config).unwrap().unwrap();
    assert_eq!(jwt.verify(&hs(&claims), Action::Play, "live", "cam"), wrong);
    assert_eq!(jwt.verify(&good, Action::Play, "live", "cam"), ok);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn sets_that_can_t_be_used() {
    let ec = Ec::make();
    let mut off_curve = ec.jwk("e");
    off_curve["crv"] = json!("P-384");
    let mut for_encryption = ec.jwk("e");
    for_encryption["use"] = json!("enc");
    for (name, keys, expected) in [
        ("empty", vec![], false),
        ("unknown kinds", vec![json!({"kty": "other"}), json!({"kty": "oct", "k": "c2VjcmV0"})], false),
        ("another curve", vec![off_curve], false),
        ("for encryption", vec![for_encryption], false),
        ("one good among others", vec![json!({"kty": "oct", "k": "c2VjcmV0"}), ec.jwk("e")], true),
    ] {
        let path = set_file(name, &keys);
        let config = config::Jwt { jwks_file: path.to_str().unwrap().to_owned(), ..config::Jwt::default() };
        assert_eq!(Jwt::new(&config).is_ok(), expected, "{name}");
        std::fs::remove_file(path).unwrap();
    }
    let config = config::Jwt { jwks_file: "/nowhere/set.json".to_owned(), ..config::Jwt::default() };
    assert!(matches!(Jwt::new(&config), Err(SetError::Unreadable(_))));
    assert!(Jwt::new(&config::Jwt::default()).unwrap().is_none());
}
