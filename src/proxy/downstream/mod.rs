//! The client's side of a connection: TLS, protocol detection, and the streams that time and check what is read.

pub mod acme;
pub mod client_address;
pub mod client_stream;
pub mod close_signal;
pub mod grammar;
pub mod http1;
pub mod min_body_rate;
pub mod protocol_detection;
pub mod rejection;
pub mod timeout_stream;
pub mod tls;
pub mod validating_stream;
