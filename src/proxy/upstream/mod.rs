//! The backend's side: health checks, TLS, gRPC, TCP keepalive, retry budget, deadlines, and
//! connections for upgrades.

pub mod deadline;
pub mod grpc;
pub mod health_checks;
pub mod keepalive;
pub mod retry_budget;
pub mod tls;
pub mod upgrade;
