//! What is written to the peer: answers to commands, statuses, control messages.

use super::{CSID_COMMAND, CSID_STATUS, ECHO_BYTES_MAX, ServerConnection};
use crate::amf0::Value;
use crate::chunk::CSID_CONTROL;
use crate::command::Command;
use crate::message::{type_id, user_control};
use crate::status::Status;
use crate::text;

impl ServerConnection {
    /// `_result` with a null command object, unless no answer is wanted.
    pub(super) fn answer(&mut self, command: &Command, arguments: &[Value]) {
        if command.transaction_id != 0.0 {
            let id = command.transaction_id;
            self.write_command(CSID_COMMAND, 0, "_result", id, Value::Null, arguments.to_vec());
        }
    }

    pub(super) fn answer_error(&mut self, command: &Command, code: &'static str, description: &str) {
        let info = information(&Status::error(code, description), &[]);
        self.write_command(CSID_COMMAND, 0, "_error", command.transaction_id, Value::Null, vec![info]);
    }

    /// `onFCPublish` and its kin. The name is repeated without its query.
    pub(super) fn notify(&mut self, method: &str, code: &'static str, name: &str) {
        let name = text::cut(without_query(name), ECHO_BYTES_MAX);
        let info = Value::object([("code", Value::string(code)), ("description", Value::string(name))]);
        self.write_command(CSID_COMMAND, 0, method, 0.0, Value::Null, vec![info]);
    }

    pub(super) fn write_status(&mut self, stream_id: u32, status: &Status, more: &[(&str, Value)]) {
        let info = information(status, more);
        self.write_command(CSID_STATUS, stream_id, "onStatus", 0.0, Value::Null, vec![info]);
    }

    pub(super) fn write_command(
        &mut self,
        csid: u32,
        stream_id: u32,
        name: &str,
        transaction_id: f64,
        object: Value,
        arguments: Vec<Value>,
    ) {
        let body = Command { name: name.to_owned(), transaction_id, object, arguments }.encode();
        self.writer.write(&mut self.output, csid, 0, type_id::COMMAND_AMF0, stream_id, &body);
    }

    pub(super) fn write_control(&mut self, type_id: u8, body: &[u8]) {
        self.writer.write(&mut self.output, CSID_CONTROL, 0, type_id, 0, body);
    }

    pub(super) fn write_user_control(&mut self, event: u16, argument: u32) {
        self.write_control(type_id::USER_CONTROL, &user_control(event, argument));
    }
}

/// The information object of a status.
fn information(status: &Status, more: &[(&str, Value)]) -> Value {
    let mut properties = vec![
        ("level".to_owned(), Value::string(status.level.as_str())),
        ("code".to_owned(), Value::string(&*status.code)),
        ("description".to_owned(), Value::string(status.description.as_str())),
    ];
    properties.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Object(properties)
}

pub(super) fn without_query(name: &str) -> &str {
    name.split('?').next().unwrap_or("")
}
