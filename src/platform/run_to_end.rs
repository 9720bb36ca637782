//! Handlers that finish although their client has gone.
//!
//! hyper drops the future of a request whose client hangs up. A handler that ends between two
//! statements of a transaction leaves its database connection in the middle of it, and one that
//! ends between the disk and the database leaves half a repository.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio_util::task::TaskTracker;

use super::refusal::Refusal;

/// Runs the rest of the request in a task of its own. Bodies are still streamed. A panic gives 500.
pub async fn each_request(
    State(handlers): State<TaskTracker>,
    request: Request,
    next: Next,
) -> Response {
    let handled = handlers.spawn(next.run(request));
    handled.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler failed");
        Refusal::failed().into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_with_500() {
        let panics = async || {
            assert!(std::env::args().count() == 0, "as a handler should not");
        };
        let router = Router::new()
            .route("/", get(panics))
            .layer(from_fn_with_state(TaskTracker::new(), each_request));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(axum::serve(listener, router).into_future());
        let mut stream = TcpStream::connect(address).await.expect("it answers");
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("written");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("read");
        assert!(reply.starts_with("HTTP/1.1 500"), "{reply}");
    }
}
