//! What the peer commands (RTMP 1.0 7.2), and what becomes of it.

use std::time::Duration;

use super::answers::without_query;
use super::{
    CSID_COMMAND, LIMIT_DYNAMIC, PlayState, Publication, Queued, ServerConnection, Stream, Use, WINDOW_BYTES,
    without_selector,
};
use crate::amf0::Value;
use crate::command::{Command, Connect, ConnectTexts};
use crate::event::{PlayRequest, PublishRequest, Refusal, ServerEvent, UnpublishCause};
use crate::message::{Message, event_type, type_id};
use crate::playback::CHUNK_SIZE;
use crate::status::{self, Level, Status};
use crate::{Error, Phase, StreamTarget};

impl ServerConnection {
    pub(super) fn command_message(&mut self, message: &Message) -> Result<(), Error> {
        let second = Duration::from_secs(1);
        if self.now.saturating_sub(self.command_second) >= second {
            self.command_second = self.now;
            self.commands = 0;
        }
        self.commands = self.commands.saturating_add(1);
        if self.commands > self.limits.commands_per_second_max {
            return Err(Error::CommandRate { max: self.limits.commands_per_second_max });
        }
        match Command::decode(without_selector(message.type_id, &message.payload)) {
            Ok(Some(command)) => self.command(message.stream_id, &command),
            Ok(None) | Err(_) => {
                self.reader.counters_mut().bad_amf += 1;
                Ok(())
            }
        }
    }

    fn command(&mut self, stream_id: u32, command: &Command) -> Result<(), Error> {
        if command.name == "connect" {
            self.on_connect(command);
            return Ok(());
        }
        if self.connect.is_none() {
            return Err(Error::CommandBeforeConnect);
        }
        match command.name.as_str() {
            "createStream" => self.on_create_stream(command),
            "publish" => match command.arguments.first() {
                // NetStream.publish(false) of Flash.
                Some(Value::Boolean(false)) => self.on_close_stream(stream_id),
                _ => self.on_publish(stream_id, command),
            },
            "play" => self.on_play(stream_id, command),
            "FCPublish" => {
                self.answer(command, &[]);
                self.notify("onFCPublish", status::PUBLISH_START, command.first_text());
            }
            "FCUnpublish" => self.on_fc_unpublish(command),
            "FCSubscribe" => {
                self.answer(command, &[]);
                self.notify("onFCSubscribe", status::PLAY_START, command.first_text());
            }
            "closeStream" => self.on_close_stream(stream_id),
            // Live media has no other place to go to, and what is not wanted is thrown away by whoever asked for it.
            "pause" | "pauseRaw" | "seek" | "receiveAudio" | "receiveVideo" => self.answer(command, &[]),
            "deleteStream" => {
                if let Some(id) = command.arguments.first().and_then(Value::as_u32) {
                    self.end_publication(id, UnpublishCause::DeleteStream);
                    self.stop_play(id);
                    self.streams.retain(|stream| stream.id != id);
                    self.refresh_deadline();
                }
            }
            "getStreamLength" => self.answer(command, &[Value::Number(0.0)]),
            "_checkbw" => self.answer(command, &[]),
            "releaseStream" => self.answer(command, &[Value::Undefined]),
            // Answers are never answered.
            "_result" | "_error" | "onStatus" => {}
            _ => {
                self.reader.counters_mut().unknown_commands += 1;
                // An encoder that waits for the answer goes on with a success; it would give up at an error.
                self.answer(command, &[Value::Undefined]);
            }
        }
        Ok(())
    }

    fn on_connect(&mut self, command: &Command) {
        if self.connect.is_some() {
            self.answer_error(command, status::CONNECT_REJECTED, "this connection is connected already");
            return;
        }
        let texts = ConnectTexts::from_object(&command.object);
        let connect = Connect::new(&texts, &command.object);
        self.write_control(type_id::WINDOW_ACKNOWLEDGEMENT_SIZE, &WINDOW_BYTES.to_be_bytes());
        let [a, b, c, d] = WINDOW_BYTES.to_be_bytes();
        self.write_control(type_id::SET_PEER_BANDWIDTH, &[a, b, c, d, LIMIT_DYNAMIC]);
        self.writer.set_chunk_size(CHUNK_SIZE, &mut self.output);
        self.write_user_control(event_type::STREAM_BEGIN, 0);
        let mut server = vec![
            ("fmsVer".to_owned(), Value::string("FMS/3,0,1,123")),
            ("capabilities".to_owned(), Value::Number(31.0)),
        ];
        if connect.capabilities.is_enhanced() {
            server.extend(self.capabilities.to_properties());
        }
        let info = Value::object([
            ("level", Value::string(Level::Status.as_str())),
            ("code", Value::string(status::CONNECT_SUCCESS)),
            ("description", Value::string("Connection succeeded.")),
            ("objectEncoding", Value::Number(0.0)),
        ]);
        self.write_command(
            CSID_COMMAND,
            0,
            "_result",
            command.transaction_id,
            Value::Object(server),
            vec![info],
        );
        self.connect = Some(texts);
        self.set_deadline(self.limits.publish_timeout, Phase::Publish);
        let event = ServerEvent::Connected(Box::new(connect));
        self.events.push_back(Queued { publication: None, event });
    }

    fn on_create_stream(&mut self, command: &Command) {
        if self.streams.len() >= self.limits.streams_max {
            self.answer_error(command, status::CALL_FAILED, "too many message streams");
            return;
        }
        self.stream_id_last = self.stream_id_last.saturating_add(1);
        self.streams.push(Stream { id: self.stream_id_last, used_for: Use::Idle });
        self.answer(command, &[Value::Number(f64::from(self.stream_id_last))]);
    }

    /// What a `publish` or `play` on this message stream would address, if the stream is free.
    fn address(&self, stream_id: u32, name: &str) -> Result<StreamTarget, Refusal> {
        let stream =
            self.streams.iter().find(|stream| stream.id == stream_id).ok_or(Refusal::NoSuchStream)?;
        if stream.used_for != Use::Idle {
            return Err(Refusal::Busy);
        }
        let ConnectTexts { app, tc_url, flash_ver } = self.connect.as_ref().ok_or(Refusal::NoSuchStream)?;
        Ok(StreamTarget::resolve(app, tc_url, flash_ver, name)?)
    }

    fn refuse(&mut self, stream_id: u32, refusal: Refusal, code: &'static str) {
        self.send_status(stream_id, &Status::error(code, refusal.to_string()));
        self.events
            .push_back(Queued { publication: None, event: ServerEvent::Refused { stream_id, refusal } });
    }

    fn on_publish(&mut self, stream_id: u32, command: &Command) {
        let target = match self.address(stream_id, command.first_text()) {
            Ok(target) => target,
            Err(refusal) => return self.refuse(stream_id, refusal, status::PUBLISH_BAD_NAME),
        };
        self.serial_last = self.serial_last.saturating_add(1);
        let serial = self.serial_last;
        self.publications.push(Publication {
            serial,
            stream_id,
            name: without_query(command.first_text()).to_owned(),
            announced: false,
            accepted: false,
        });
        self.set_use(stream_id, Use::Publish(serial));
        let event = ServerEvent::Publish(PublishRequest { stream_id, target });
        self.events.push_back(Queued { publication: Some(serial), event });
    }

    fn on_play(&mut self, stream_id: u32, command: &Command) {
        let target = match self.address(stream_id, command.first_text()) {
            Ok(target) => target,
            Err(refusal) => return self.refuse(stream_id, refusal, status::PLAY_STREAM_NOT_FOUND),
        };
        // [start], [duration], [reset] (RTMP 1.0 7.2.2.1): live media begins now and ends with its publisher.
        let reset = match command.arguments.get(3) {
            Some(Value::Boolean(reset)) => *reset,
            other => other.and_then(Value::as_number).is_some_and(|number| number != 0.0),
        };
        self.set_use(stream_id, Use::Play(PlayState::Asked { reset }));
        let event = ServerEvent::Play(PlayRequest { stream_id, target });
        self.events.push_back(Queued { publication: None, event });
    }

    /// The name decides which publication ends; with only one, it ends whatever the name.
    fn on_fc_unpublish(&mut self, command: &Command) {
        let name = without_query(command.first_text());
        let mut open = self.streams.iter().filter_map(|stream| match stream.used_for {
            Use::Publish(serial) => self.publications.iter().find(|publication| publication.serial == serial),
            _ => None,
        });
        let first = open.next();
        let named = first.into_iter().chain(open.clone()).find(|publication| publication.name == name);
        let only = first.filter(|_| open.next().is_none());
        let stream_id = named.or(only).map(|publication| publication.stream_id);
        self.answer(command, &[]);
        self.notify("onFCUnpublish", status::UNPUBLISH_SUCCESS, name);
        if let Some(stream_id) = stream_id {
            self.end_publication(stream_id, UnpublishCause::FcUnpublish);
        }
    }

    fn on_close_stream(&mut self, stream_id: u32) {
        if self.end_publication(stream_id, UnpublishCause::CloseStream) {
            self.send_status(stream_id, &Status::unpublished("publication ended"));
        } else {
            self.stop_play(stream_id);
            self.release(stream_id);
        }
    }

    /// The peer wants no more of what it plays on this message stream.
    fn stop_play(&mut self, stream_id: u32) {
        if self.play_state(stream_id).is_some() {
            self.release(stream_id);
            self.events.push_back(Queued { publication: None, event: ServerEvent::Stop { stream_id } });
        }
    }

    pub(super) fn play_state(&self, stream_id: u32) -> Option<PlayState> {
        self.streams.iter().find(|stream| stream.id == stream_id).and_then(|stream| match stream.used_for {
            Use::Play(state) => Some(state),
            Use::Idle | Use::Publish(_) => None,
        })
    }
}
