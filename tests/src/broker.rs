//! A real MQTT broker and a real subscriber: Mosquitto and its client.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::process::{Process, Scratch, wait_for};
use crate::server::free_ports;

/// On a machine that does other things.
const READY: Duration = Duration::from_secs(20);

/// A broker on a free loopback port that keeps sessions and retained messages over a restart.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    scratch: Scratch,
    port: u16,
}

impl Broker {
    /// Starts it with its files in the test's folder.
    ///
    /// # Panics
    /// When it doesn't become ready.
    pub fn start(scratch: &Scratch) -> Broker {
        let [port] = free_ports();
        let folder = scratch.path().display();
        // Without "user", Mosquitto gives its rights away when it is started by root, and can't write its folder.
        let configuration = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {folder}/\n\
             max_queued_messages 0\nlog_type all\n"
        );
        std::fs::write(scratch.join("mosquitto.conf"), configuration).expect("the test's folder");
        let broker = Broker { process: run(scratch), scratch: scratch.clone(), port };
        broker.wait_until_ready();
        broker
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a shutdown does.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.stop()
    }

    /// Starts it again on the same port.
    ///
    /// # Panics
    /// When it doesn't become ready.
    pub fn start_again(&mut self) {
        self.process = run(&self.scratch);
        self.wait_until_ready();
    }

    /// `mosquitto_sub` on a topic, with a session that survives; it prints a line per message, the topic in front.
    pub fn subscribe(&self, name: &str, topic: &str) -> Process {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-v", "-t", topic]);
        command.args(["-i", name, "--disable-clean-session"]);
        Process::start(name, command, &self.scratch)
    }

    fn wait_until_ready(&self) {
        let address = (std::net::Ipv4Addr::LOCALHOST, self.port);
        wait_for("mosquitto to be ready", READY, || std::net::TcpStream::connect(address).ok().map(drop));
    }
}

fn run(scratch: &Scratch) -> Process {
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(scratch.join("mosquitto.conf"));
    Process::start("mosquitto", command, scratch)
}
