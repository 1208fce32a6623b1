//! Who may publish and who may play: keys, signed tokens, JSON Web Tokens, networks, and other people's programs.
//!
//! `docs/auth.md` is the table of it for operators.
// A stranger's texts never panic us.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

pub mod addresses;
pub mod bearer;
pub mod client;
pub mod hooks;
pub mod jwt;
mod keys;
pub mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::clock::Clocks;
use crate::config::{Config, PublishKey, Secret};
use crate::telemetry::Parent;
use crate::{Error, looks, names};
use addresses::is_let_in;
use hooks::{Hooks, Published};
use jwt::{Covered, Jwt};
use token::{Action, Breadth, Tokens};

pub use keys::generate_key;

/// Why a publisher or a player is refused. The texts go to it: they name no secret and no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key, from elsewhere than this machine.
    #[error("publishing needs a key: use the stream name cam?key=SECRET")]
    KeyMissing,
    /// A key that opens nothing, or not this stream.
    #[error("the publish key is wrong for this stream")]
    KeyWrong,
    /// A key that would have opened it, in its time.
    #[error("the publish key has expired")]
    KeyExpired,
    /// The app's name is one of ours.
    #[error("this app name is reserved")]
    AppReserved,
    /// The stream's name ends like one of our outputs.
    #[error("a stream name can't end in .m3u8, .mpd, .flv, .ts, .mp4 or .m4s")]
    NameReserved,
    /// No token where one is needed.
    #[error("a token is needed")]
    TokenMissing,
    /// A token that was not made for just this.
    #[error("the token is wrong for this stream")]
    TokenWrong,
    /// A token that was, in its time.
    #[error("the token has expired")]
    TokenExpired,
    /// From a network that is kept out.
    #[error("not from this address")]
    Address,
    /// The operator's program said no.
    #[error("refused")]
    ByHook,
    /// The operator's program gave no answer that could be used.
    #[error("permission could not be asked for; please try again")]
    HookFailed,
}

/// What a publisher shows, by what it sends and by how it came.
#[derive(Debug, Default)]
pub struct Shown<'a> {
    /// The query's key.
    pub key: Option<&'a str>,
    /// The query's token.
    pub token: Option<&'a str>,
    /// It came without a load balancer, which could be on this machine and say of anybody that they are.
    pub is_direct: bool,
}

/// Decides from the configuration and the keys in force.
#[derive(Debug)]
pub struct Authorizer {
    policy: watch::Sender<Arc<Policy>>,
    /// The key that was made because there was none.
    generated: Option<Secret>,
}

/// What one configuration says.
#[derive(Debug)]
struct Policy {
    config: Arc<Config>,
    keys: RwLock<Arc<[PublishKey]>>,
    tokens: Tokens,
    jwt: Option<Arc<Jwt>>,
    hooks: Option<Arc<Hooks>>,
}

impl Authorizer {
    /// By the configuration's keys and those of its keys file, or by `generated` when it has neither.
    ///
    /// # Errors
    /// [`Error::Auth`] for a file that can't be used.
    pub fn new(config: Arc<Config>, generated: Option<Secret>) -> Result<Authorizer, Error> {
        let policy = Policy::new(config, generated.as_ref())?;
        Ok(Authorizer { policy: watch::Sender::new(Arc::new(policy)), generated })
    }

    /// By another configuration from now on; whoever publishes or plays already goes on.
    ///
    /// # Errors
    /// [`Error::Auth`] for a file that can't be used; nothing changes then.
    pub fn reload(&self, config: Arc<Config>) -> Result<(), Error> {
        let policy = Policy::new(config, self.generated.as_ref())?;
        self.policy.send_replace(Arc::new(policy));
        Ok(())
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Keeps keys as they are in their files and at their URL, until `shutdown` turns true.
    pub async fn follow(self: Arc<Authorizer>, mut shutdown: watch::Receiver<bool>) {
        let mut policies = self.policy.subscribe();
        loop {
            let policy = Arc::clone(&policies.borrow_and_update());
            let down = shutdown.clone();
            tokio::select! {
                () = policy.follow(down) => {}
                // The sender lives in `self`, so there is always a next one.
                _ = policies.changed() => {}
                _ = shutdown.wait_for(|down| *down) => return,
            }
        }
    }

    /// The stream that a publisher at `address` may publish when it asks for `app`/`name`.
    ///
    /// # Errors
    /// [`Denied`] with the reason to tell it.
    pub fn publish(
        &self,
        address: IpAddr,
        app: &str,
        name: &str,
        shown: &Shown<'_>,
    ) -> Result<String, Denied> {
        if !names::is_app(app) {
            return Err(Denied::AppReserved);
        }
        let policy = self.policy();
        let publish = &policy.config.publish;
        if !is_let_in(address, &publish.allow, &publish.deny) {
            return Err(Denied::Address);
        }
        let name = match shown.token {
            // Without a secret a token may be somebody else's, a hook's for instance.
            Some(token) if policy.knows_tokens() => {
                policy.verify(token, Action::Publish, app, name).map(|()| name.to_owned())?
            }
            _ => {
                let keys = Arc::clone(&policy.keys.read().unwrap_or_else(PoisonError::into_inner));
                let now = Clocks::start().wall().unix_seconds();
                match keys::opened(&keys, app, name, shown.key, now)? {
                    Some(name) => name,
                    None if publish.loopback_trusted
                        && shown.is_direct
                        && address.to_canonical().is_loopback() =>
                    {
                        name.to_owned()
                    }
                    None => return Err(Denied::KeyMissing),
                }
            }
        };
        if names::is_stream(&name) { Ok(name) } else { Err(Denied::NameReserved) }
    }

    /// Asks the operator's program about a publisher whom [`Authorizer::publish`] lets in: under which name, and what tells it of the end.
    ///
    /// # Errors
    /// [`Denied`] with the reason to tell the publisher.
    pub async fn ask_to_publish(
        &self,
        peer: SocketAddr,
        app: &str,
        stream: String,
        query: &str,
        within: &Parent,
    ) -> Result<(String, Option<Published>), Denied> {
        let policy = self.policy();
        let Some(hooks) = &policy.hooks else { return Ok((stream, None)) };
        let (stream, published) = hooks.publish(peer, app, &stream, query, within).await?;
        Ok((stream, Some(published)))
    }

    /// Whether what a player shows makes a difference.
    pub fn checks_players(&self) -> bool {
        let policy = self.policy();
        policy.config.play.token_required
            || policy.hooks.as_ref().is_some_and(|hooks| hooks.asks_about_players())
    }

    /// Which streams one at `address` may be told the names of, with what it shows: those that it may play, as far as addresses and
    /// tokens decide. Hooks are not asked: that would be a question for each stream, each time.
    ///
    /// # Errors
    /// [`Denied`] with the reason, for whoever may play nothing.
    pub fn listing(&self, address: IpAddr, token: Option<&str>) -> Result<Listing, Denied> {
        let policy = self.policy();
        let play = &policy.config.play;
        if !is_let_in(address, &play.allow, &play.deny) {
            return Err(Denied::Address);
        }
        if !play.token_required {
            return Ok(Listing::EVERYTHING);
        }
        let token = token.ok_or(Denied::TokenMissing)?;
        if let Some(jwt) = policy.jwt.as_ref().filter(|_| Jwt::is_like(token)) {
            return jwt.covered(token, Action::Play).map(|covered| Listing(Told::Covered(covered)));
        }
        match Tokens::claimed(token, Action::Play, Clocks::start().wall().unix_seconds())? {
            // Signed for no name in particular.
            Breadth::All => policy.verify(token, Action::Play, "", "").map(|()| Listing::EVERYTHING),
            Breadth::App | Breadth::Stream => {
                let token = token.to_owned();
                Ok(Listing(Told::Signed { policy, token }))
            }
        }
    }

    /// Whether one at `address` may play a stream with what it shows.
    ///
    /// # Errors
    /// [`Denied`] with the reason to tell it.
    pub async fn play(
        &self,
        address: IpAddr,
        app: &str,
        stream: &str,
        token: Option<&str>,
        within: &Parent,
    ) -> Result<(), Denied> {
        let policy = self.policy();
        let play = &policy.config.play;
        if !is_let_in(address, &play.allow, &play.deny) {
            return Err(Denied::Address);
        }
        if play.token_required {
            policy.verify(token.ok_or(Denied::TokenMissing)?, Action::Play, app, stream)?;
        }
        let Some(hooks) = &policy.hooks else { return Ok(()) };
        let query = token.map(|token| format!("token={token}")).unwrap_or_default();
        // In a place of its own: every held request would have room for a question that few ask.
        Box::pin(hooks.play(address, app, stream, &query, within)).await
    }
}

/// Which streams somebody may be told the names of, as of one moment.
#[derive(Debug)]
pub struct Listing(Told);

#[derive(Debug)]
enum Told {
    /// All.
    Everything,
    /// Those that a JWT covers.
    Covered(Covered),
    /// Those that this token is signed for.
    Signed { policy: Arc<Policy>, token: String },
}

impl Listing {
    /// Of all streams.
    pub const EVERYTHING: Listing = Listing(Told::Everything);

    /// Whether there is nothing that it leaves out.
    pub fn is_everything(&self) -> bool {
        matches!(self.0, Told::Everything)
    }

    /// Whether the stream may be named. Costs a signature where a token says nothing of the names that it is for.
    pub fn names(&self, app: &str, stream: &str) -> bool {
        match &self.0 {
            Told::Everything => true,
            Told::Covered(covered) => covered.names(app, stream),
            Told::Signed { policy, token } => policy.verify(token, Action::Play, app, stream).is_ok(),
        }
    }

    /// Whether `other`, of the same token, says the same of each name.
    pub fn is_as(&self, other: &Listing) -> bool {
        match (&self.0, &other.0) {
            (Told::Signed { policy, .. }, Told::Signed { policy: other, .. }) => Arc::ptr_eq(policy, other),
            _ => false,
        }
    }
}

impl Policy {
    fn new(config: Arc<Config>, generated: Option<&Secret>) -> Result<Policy, Error> {
        let unusable = |key: &str, reason: &dyn std::fmt::Display| Error::Auth(format!("{key}: {reason}"));
        let mut keys = config.publish.keys.clone();
        if let Some(path) = config.publish.keys_file() {
            keys.extend(keys::load(path).map_err(|error| unusable("publish.keys_file", &error))?);
        } else if let Some(key) = generated.filter(|_| keys.is_empty()).cloned() {
            keys.push(PublishKey { key, app: None, stream: None, expires: None });
        }
        let jwt = Jwt::new(&config.auth.jwt).map_err(|error| unusable("auth.jwt.jwks_file", &error))?;
        let hooks = Hooks::new(&config.hooks).map_err(|error| unusable("hooks.ca", &error))?;
        let tokens = Tokens::new(config.auth.token_secrets.clone());
        Ok(Policy { config, keys: RwLock::new(keys.into()), tokens, jwt, hooks })
    }

    /// Never ends by itself: what has no file is followed as well.
    async fn follow(&self, shutdown: watch::Receiver<bool>) {
        let set = async {
            if let Some(jwt) = &self.jwt {
                Arc::clone(jwt).follow(shutdown.clone()).await;
            }
        };
        let file = async {
            let Some(path) = self.config.publish.keys_file().map(ToOwned::to_owned) else { return };
            looks::follow(move || keys::load(&path), shutdown.clone(), |keys| self.put_in_use(keys)).await;
        };
        tokio::join!(set, file, std::future::pending::<()>());
    }

    fn put_in_use(&self, file: Result<Vec<PublishKey>, keys::Error>) {
        match file {
            Ok(file) => {
                let all: Arc<[PublishKey]> = self.config.publish.keys.iter().chain(&file).cloned().collect();
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                if *keys != all {
                    tracing::info!(keys = all.len(), "other publish keys are in force");
                    *keys = all;
                }
            }
            Err(error) => {
                tracing::error!(%error, "publish.keys_file can't be used; the keys before stay in force");
            }
        }
    }

    fn knows_tokens(&self) -> bool {
        !self.tokens.is_empty() || self.jwt.is_some()
    }

    fn verify(&self, token: &str, action: Action, app: &str, stream: &str) -> Result<(), Denied> {
        match &self.jwt {
            Some(jwt) if Jwt::is_like(token) => jwt.verify(token, action, app, stream),
            _ => {
                let now = Clocks::start().wall().unix_seconds();
                self.tokens.verify(token, action, app, stream, now)
            }
        }
    }
}

/// A parameter of a query, as it stands there: a token has no character that would be encoded.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests;
