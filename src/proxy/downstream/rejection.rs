//! Answers to refused requests.

/// An answer for a connection that ends with it.
pub fn bare(status: u16) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let body = format!("{}\n", sentence(status));
    format!(
        "HTTP/1.1 {status} {reason}\r\nserver: shifter\r\ncontent-type: text/plain; charset=utf-8\r\n\
         cache-control: no-store\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The body of our own answer with this status: one sentence.
pub fn sentence(status: u16) -> &'static str {
    match status {
        308 => "This is at https.",
        400 => "The request is not valid HTTP.",
        404 => "No service answers for this host and path.",
        405 => "This method is not allowed here.",
        408 => "The request did not come in time.",
        413 => "The request's body is too large.",
        414 => "The request's target is too long.",
        429 => "Too many requests came from this address.",
        431 => "The request's header is too large.",
        501 => "This transfer coding is not supported.",
        505 => "This version of HTTP is not supported.",
        502 => "The service broke off its answer, or gave none.",
        503 => "The service is not available now.",
        504 => "The service did not answer in time.",
        _ => "The request could not be served.",
    }
}
