//! The backend's side: health checks, TLS, retry budget, deadlines, identity of addresses, tunnels that drain.

pub mod deadline;
pub mod grpc;
pub mod health_checks;
pub mod keepalive;
pub mod retry_budget;
pub mod tls;
pub mod upgrade;
