//! HTTP on this machine alone. What does not come from the page that this server sent is refused before it is read:
//!
//! * the address must begin with the token, which nobody else knows;
//! * `Host` must be this server: a name that an attacker points at 127.0.0.1 is another;
//! * `Origin` and `Sec-Fetch-Site`, where a browser sends them, must be this page's: another site can send requests here, too;
//! * a body must be JSON, as no form of another site can be, and short enough; heads and bodies must come in time.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use super::desk::{Call, Method, Reply};
use super::page;
use super::session::Session;
use crate::error::{Error, Result};

/// Time for a head, and for a body.
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(30);
/// Connections at once.
const MOST: usize = 64;

/// A call and where its answer goes.
pub type Asked = (Call, oneshot::Sender<Reply>);

struct Door {
    token: String,
    hosts: [String; 2],
    /// Bytes of a body.
    longest: usize,
    desk: Sender<Asked>,
}

/// Serves until the process ends; calls go to `desk`, one at a time.
pub fn serve(listener: TcpListener, session: &Session, longest: usize, desk: Sender<Asked>) -> Result<()> {
    let hosts = ["127.0.0.1", "localhost"].map(|h| format!("{h}:{}", session.port));
    let door = Arc::new(Door { token: session.token.clone(), hosts, longest, desk });
    let failed = |e: std::io::Error| Error::config("the server", e);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let room = Arc::new(Semaphore::new(MOST));
        loop {
            let place = room.clone().acquire_owned().await.expect("never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Too many open files, or a client that went away: others may come.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let door = door.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let door = door.clone();
                    async move { Ok::<_, Infallible>(door.answer(request).await) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(32 << 10);
                // A connection that breaks is the client's affair.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                drop(place);
            });
        }
    })
}

/// Compares without telling by the time taken how much is right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let reply = match self.admit(&request) {
            Ok(path) => self.pass(path, request).await,
            Err(reply) => reply,
        };
        response(reply)
    }

    /// The path behind the token, or why the request is not let in.
    fn admit<B>(&self, request: &Request<B>) -> Result<String, Reply> {
        let text = |name| request.headers().get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("?"));
        if !text(header::HOST).is_some_and(|h| self.hosts.iter().any(|own| own == h)) {
            return Err(Reply::refusal(
                403,
                "this server answers to 127.0.0.1 alone: use the address that `lae-engine annotate` printed",
            ));
        }
        if let Some(origin) = text(header::ORIGIN)
            && !self.hosts.iter().any(|own| origin.strip_prefix("http://") == Some(own))
        {
            return Err(Reply::refusal(403, "a request from another origin is not answered"));
        }
        if text(header::HeaderName::from_static("sec-fetch-site")).is_some_and(|s| !["same-origin", "none"].contains(&s)) {
            return Err(Reply::refusal(403, "a request from another site is not answered"));
        }
        let mut parts = request.uri().path().trim_start_matches('/').splitn(2, '/');
        let (token, rest) = (parts.next().unwrap_or(""), parts.next());
        match rest {
            Some(rest) if same(token, &self.token) => Ok(rest.to_string()),
            _ => Err(Reply::refusal(403, "the token is missing or wrong: use the address that `lae-engine annotate` printed")),
        }
    }

    async fn pass(&self, path: String, request: Request<Incoming>) -> Reply {
        let method = match *request.method() {
            hyper::Method::GET => Method::Get,
            hyper::Method::PUT => Method::Put,
            hyper::Method::POST => Method::Post,
            _ => return Reply::refusal(405, "only GET, PUT and POST are understood"),
        };
        if path.is_empty() {
            return match method {
                Method::Get => Reply { status: 200, kind: "text/html; charset=utf-8", body: Vec::new() },
                _ => Reply::refusal(405, "the page takes GET"),
            };
        }
        let body = match method {
            Method::Get => Vec::new(),
            _ => match self.body(request).await {
                Ok(body) => body,
                Err(reply) => return reply,
            },
        };
        let (to, answer) = oneshot::channel();
        if self.desk.send((Call { method, path, body }, to)).is_err() {
            return Reply::refusal(503, "the server is about to end");
        }
        answer.await.unwrap_or_else(|_| Reply::refusal(500, "the request could not be answered"))
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Vec<u8>, Reply> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if kind.split(';').next() != Some("application/json") {
            return Err(Reply::refusal(415, "a body must be application/json"));
        }
        let too_long = || {
            Reply::refusal(
                413,
                &format!("the body is longer than {} bytes, more than any mask of this queue takes", self.longest),
            )
        };
        let said = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|n| n > self.longest as u64) {
            return Err(too_long());
        }
        match tokio::time::timeout(BODY, Limited::new(request.into_body(), self.longest).collect()).await {
            Err(_) => Err(Reply::refusal(408, "the body did not come in time")),
            Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
            Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(_)) => Err(Reply::refusal(400, "the body broke off")),
        }
    }
}

/// With what every answer says: keep nothing, guess nothing, run nothing from elsewhere, be in nobody's frame. The page is made here,
/// since its policy holds for one answer.
fn response(mut reply: Reply) -> Response<Full<Bytes>> {
    let page = reply.kind.starts_with("text/html");
    let nonce = fresh();
    if page {
        reply.body = page::document(&nonce).into_bytes();
    }
    let policy = if page { page::policy(&nonce) } else { "default-src 'none'; frame-ancestors 'none'".into() };
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).expect("a status of this program");
    let headers: &mut HeaderMap = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        headers.insert(header::HeaderName::from_static(name), HeaderValue::from_str(value).expect("plain text"));
    };
    set("content-type", reply.kind);
    set("content-security-policy", &policy);
    set("cache-control", "no-store");
    set("x-content-type-options", "nosniff");
    set("referrer-policy", "no-referrer");
    set("cross-origin-resource-policy", "same-origin");
    set("cross-origin-opener-policy", "same-origin");
    response
}

/// A word that nobody can guess, for the policy of one page.
fn fresh() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the token was drawn from the same generator");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
