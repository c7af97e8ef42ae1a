//! x
mod clock;
mod realtime;
mod service_notify;
