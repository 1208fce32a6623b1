//! A client that nobody here wrote: rml_rtmp's, in memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_rtmp::{Limits, MessageKind, ServerConnection, ServerEvent, UnpublishCause};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;

struct Wire {
    server: ServerConnection,
    input: BytesMut,
    events: Vec<ServerEvent>,
}

impl Wire {
    /// To the server and back.
    fn exchange(&mut self, bytes: &[u8]) -> Bytes {
        self.input.extend_from_slice(bytes);
        self.server.handle_input(&mut self.input, Duration::ZERO).expect("rml_rtmp's bytes are right");
        while let Some(event) = self.server.poll_event() {
            if let ServerEvent::Publish(request) = &event {
                self.server.accept_publish(request.stream_id);
            }
            self.events.push(event);
        }
        self.server.take_output()
    }

    /// Sends results until the client has nothing more to say; returns the events it raised.
    fn run(
        &mut self,
        client: &mut ClientSession,
        results: Vec<ClientSessionResult>,
    ) -> Vec<ClientSessionEvent> {
        let mut raised = Vec::new();
        let mut results: std::collections::VecDeque<_> = results.into();
        while let Some(result) = results.pop_front() {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    let answer = self.exchange(&packet.bytes);
                    results.extend(client.handle_input(&answer).expect("our bytes are right"));
                }
                ClientSessionResult::RaisedEvent(event) => raised.push(event),
                // It does nothing with Set Peer Bandwidth; it must understand all the rest.
                ClientSessionResult::UnhandleableMessageReceived(message) => assert_eq!(message.type_id, 6),
            }
        }
        raised
    }
}

#[test]
fn rml_rtmp_publishes() {
    let server = ServerConnection::new(Limits::default(), [0x21; 1528], Duration::ZERO);
    let mut wire = Wire { server, input: BytesMut::new(), events: Vec::new() };
    let mut handshake = Handshake::new(PeerType::Client);
    let mut bytes = handshake.generate_outbound_p0_and_p1().unwrap();
    loop {
        let answer = wire.exchange(&bytes);
        match handshake.process_bytes(&answer).expect("rml_rtmp checks S1 and S2") {
            HandshakeProcessResult::InProgress { response_bytes } => bytes = response_bytes,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                assert!(remaining_bytes.is_empty());
                wire.exchange(&response_bytes);
                break;
            }
        }
    }
    let mut config = ClientSessionConfig::new();
    config.tc_url = Some("rtmp://h/live".to_owned());
    let (mut client, results) = ClientSession::new(config).unwrap();
    wire.run(&mut client, results);
    let request = client.request_connection("live".to_owned()).unwrap();
    let raised = wire.run(&mut client, vec![request]);
    assert!(raised.contains(&ClientSessionEvent::ConnectionRequestAccepted), "{raised:?}");
    let request = client.request_publishing("cam".to_owned(), PublishRequestType::Live).unwrap();
    let raised = wire.run(&mut client, vec![request]);
    assert!(raised.contains(&ClientSessionEvent::PublishRequestAccepted), "{raised:?}");

    let mut metadata = StreamMetadata::new();
    metadata.video_width = Some(64);
    let mut results = vec![client.publish_metadata(&metadata).unwrap()];
    let mut expected = Vec::new();
    for index in 0..200_u32 {
        let time = RtmpTimestamp::new(index * 40);
        let payload = Bytes::from(vec![index as u8; 1 + index as usize * 57]);
        results.push(client.publish_video_data(payload.clone(), time, false).unwrap());
        expected.push((MessageKind::Video, index * 40, payload));
        let payload = Bytes::from(vec![index as u8; 300]);
        results.push(client.publish_audio_data(payload.clone(), time, true).unwrap());
        expected.push((MessageKind::Audio, index * 40, payload));
    }
    results.extend(client.stop_publishing().unwrap());
    wire.run(&mut client, results);

    let media = wire.events.iter().filter_map(|event| match event {
        ServerEvent::Media(message) if message.kind != MessageKind::Data => {
            Some((message.kind, message.timestamp, message.payload.clone()))
        }
        _ => None,
    });
    assert!(media.eq(expected));
    let end = ServerEvent::Unpublish { stream_id: 1, cause: UnpublishCause::DeleteStream };
    assert_eq!(wire.events.last(), Some(&end));
}
