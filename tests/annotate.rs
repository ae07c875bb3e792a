//! A person's masks through the real binary: who is let in, what is saved, what survives a kill, and what training makes of it.

mod binary;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use binary::{command, lae, ok, path, text};
use lae_engine::annotate::runs;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::data::Mask;
use serde_json::{Value, json};
use tempfile::TempDir;

const CHOSEN: usize = 6;

/// A run that waits for the masks of six pictures of 32 × 32 pixels.
fn waiting() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let out = lae(&[
            "train",
            "--preset",
            "smoke",
            "--wait-for-masks",
            "--annotations",
            "6",
            "--set",
            "train.epochs=1",
            "--out",
            path(&run),
        ]);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(4), "{said}");
        let words = ["waits", "6 of 6 chosen pictures have none yet", "lae-engine annotate", "train --resume", path(&run)];
        assert!(words.iter().all(|w| said.contains(w)) && !said.contains("error:"), "{said}");
        (dir, run)
    });
    run
}

/// A copy that a test may work on.
fn copy(to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(waiting()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
    }
}

fn run() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    copy(&run);
    (dir, run)
}

struct Server {
    child: Child,
    port: u16,
    token: String,
}

impl Server {
    fn start(run: &Path, more: &[&str]) -> Server {
        let mut c = command();
        c.args(["annotate", path(run), "--by", "anna"]).args(more).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = c.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("http://127.0.0.1:").unwrap_or_else(|| panic!("an address, not {line:?}"));
        let (port, token) = rest.split_once('/').unwrap();
        Server { child, port: port.parse().unwrap(), token: token.trim_end_matches('/').into() }
    }

    /// Status, head and body of an answer; none where the connection broke.
    fn raw(&self, request: &[u8]) -> Option<(u16, String, Vec<u8>)> {
        let mut s = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // A server that refuses early may close before all is written.
        let _ = s.write_all(request);
        let mut all = Vec::new();
        let _ = s.read_to_end(&mut all);
        let end = all.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = text(&all[..end]);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = all[end + 4..].to_vec();
        let length =
            head.to_lowercase().lines().find_map(|l| l.strip_prefix("content-length: ").map(|n| n.parse::<usize>().unwrap()));
        (length == Some(body.len())).then_some((status, head, body))
    }

    fn ask(&self, method: &str, what: &str, body: Option<&Value>, more: &str) -> Option<(u16, String, Vec<u8>)> {
        let body = body.map(Value::to_string);
        let kind =
            body.as_ref().map_or(String::new(), |b| format!("Content-Type: application/json\r\nContent-Length: {}\r\n", b.len()));
        let host = if more.contains("Host:") { String::new() } else { format!("Host: 127.0.0.1:{}\r\n", self.port) };
        let head = format!("{method} /{}/{what} HTTP/1.1\r\n{host}{kind}{more}Connection: close\r\n\r\n", self.token);
        self.raw(&[head.as_bytes(), body.unwrap_or_default().as_bytes()].concat())
    }

    fn json(&self, method: &str, what: &str, body: Value) -> (u16, Value) {
        let sent = (method != "GET").then_some(&body);
        let (status, _, body) = self.ask(method, what, sent, "").unwrap_or_else(|| panic!("no answer to {method} {what}"));
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn lease(&self) {
        assert_eq!(self.json("POST", "api/lease", json!({ "tab": "t" })).0, 200);
    }

    fn indices(&self) -> Vec<u64> {
        let items = self.json("GET", "api/queue", Value::Null).1["items"].as_array().unwrap().clone();
        items.iter().map(|i| i["index"].as_u64().unwrap()).collect()
    }

    fn put(&self, what: &str, index: u64, mask: &Mask, revision: u64) -> (u16, Value) {
        self.json("PUT", &format!("api/{what}/{index}"), sent(mask, revision))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sent(mask: &Mask, revision: u64) -> Value {
    json!({ "tab": "t", "w": mask.w, "h": mask.h, "runs": runs::of(mask), "revision": revision, "seconds": 2.5, "tools": ["brush"],
            "first": "none", "edits": 1 })
}

fn random(rng: &mut Rng) -> Mask {
    let (x, y, w, h) = (rng.below(20), rng.below(20), 4 + rng.below(8), 4 + rng.below(8));
    Mask::from_fn(32, 32, |px, py| (x..x + w).contains(&px) && (y..y + h).contains(&py) && rng.unit() < 0.8)
}

fn file(run: &Path, index: u64) -> PathBuf {
    run.join(format!("masks/train-{index:06}.png"))
}

fn lines(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("masks/annotations.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn who_is_not_let_in() {
    let (_dir, run) = run();
    let s = Server::start(&run, &[]);
    let refused = |request: String, status: u16, word: &str| {
        let (got, head, body) = s.raw(request.as_bytes()).unwrap_or_else(|| panic!("no answer to {request}"));
        assert!(got == status && text(&body).contains(word), "{status} {word:?}, not {got} {}\n{request}", text(&body));
        assert!(head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{head}");
    };
    let host = format!("Host: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", s.port);
    let wrong = format!("{}0", &s.token[..s.token.len() - 1]);
    let wrong = if wrong == s.token { format!("{}1", &s.token[..s.token.len() - 1]) } else { wrong };
    for path in [
        "/",
        "",
        "/api/queue",
        "/favicon.ico",
        &format!("/{wrong}/"),
        &format!("/{}0/", s.token),
        &format!("/{}", s.token),
        "/../",
        "//",
    ] {
        let path = if path.is_empty() { "/x" } else { path };
        refused(format!("GET {path} HTTP/1.1\r\n{host}"), 403, "token");
        refused(
            format!("PUT {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n{host}{{}}"),
            403,
            "token",
        );
    }
    let queue = format!("/{}/api/queue", s.token);
    for (head, status, word) in [
        ("Host: example.org\r\n".to_string(), 403, "127.0.0.1 alone"),
        (format!("Host: example.org:{}\r\n", s.port), 403, "127.0.0.1 alone"),
        (format!("Host: 127.0.0.1:{}\r\n", s.port ^ 1), 403, "127.0.0.1 alone"),
        (format!("Host: 127.0.0.1:{}\r\nOrigin: http://example.org\r\n", s.port), 403, "another origin"),
        (format!("Host: 127.0.0.1:{}\r\nOrigin: null\r\n", s.port), 403, "another origin"),
        (format!("Host: 127.0.0.1:{}\r\nOrigin: http://127.0.0.1:1\r\n", s.port), 403, "another origin"),
        (format!("Host: 127.0.0.1:{}\r\nSec-Fetch-Site: cross-site\r\n", s.port), 403, "another site"),
        (format!("Host: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\nSec-Fetch-Site: same-origin\r\n", s.port), 200, "items"),
        (format!("Host: localhost:{0}\r\nOrigin: http://localhost:{0}\r\n", s.port), 200, "items"),
    ] {
        refused(format!("GET {queue} HTTP/1.1\r\n{head}Connection: close\r\n\r\n"), status, word);
    }
    // With the token, but not what is understood.
    let status = |method: &str, what: &str, more: &str| s.ask(method, what, None, more).map(|a| (a.0, text(&a.2)));
    for (method, what, more, code, word) in [
        ("DELETE", "api/queue", "", 405, "only GET"),
        ("OPTIONS", "api/queue", "", 405, "only GET"),
        ("POST", "api/queue", "Content-Type: application/json\r\nContent-Length: 0\r\n", 405, "takes Get"),
        ("GET", "api/mask/1", "", 405, "takes Put"),
        ("POST", "", "", 405, "takes GET"),
        ("PUT", "api/mask/1", "Content-Length: 0\r\n", 415, "application/json"),
        ("POST", "api/lease", "Content-Type: text/plain\r\nContent-Length: 0\r\n", 415, "application/json"),
        ("PUT", "api/mask/1", "Content-Type: application/json\r\nContent-Length: 99999999\r\n", 413, "longer than"),
        ("GET", "api/item/999999", "", 404, "no such picture"),
        ("GET", "api/item/../../config.toml", "", 404, "no such picture"),
        ("GET", "config.toml", "", 404, "nothing is there"),
    ] {
        let (got, body) = status(method, what, more).unwrap_or_else(|| panic!("no answer to {method} {what}"));
        assert!(got == code && body.contains(word), "{method} {what}: {code} {word:?}, not {got} {body}");
    }
    // A body without a length that does not end.
    let head =
        format!("PUT /{}/api/mask/1 HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n{host}", s.token);
    let chunk = format!("6000\r\n{}\r\n", "0".repeat(0x6000));
    let (code, _, body) = s.raw(format!("{head}{chunk}").as_bytes()).unwrap();
    assert!(code == 413 && text(&body).contains("longer than"), "{code} {}", text(&body));
    let answer = s.raw(format!("GET {queue} HTTP/1.1\r\nX: {}\r\n{host}", "x".repeat(70_000)).as_bytes());
    assert!(answer.is_none_or(|(code, ..)| code != 200));
    // The page carries all that it needs.
    let (code, head, page) = s.ask("GET", "", None, "").unwrap();
    let (head, page) = (head.to_lowercase(), text(&page));
    let nonce = head.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_string();
    assert!(code == 200 && page.contains(&format!("<script nonce=\"{nonce}\">")) && nonce.len() == 32, "{head}");
    for word in
        ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "no-store", "nosniff", "no-referrer", "text/html"]
    {
        assert!(head.contains(word), "{word} in {head}");
    }
    assert!(!head.contains("unsafe") && !head.contains("access-control"));
    assert!(!s.ask("GET", "", None, "").unwrap().1.contains(&nonce), "another nonce for every page");
}

#[test]
fn what_is_saved_and_what_is_asked_back() {
    let (_dir, run) = run();
    let s = Server::start(&run, &[]);
    let (_, all) = s.json("GET", "api/queue", Value::Null);
    let items = all["items"].as_array().unwrap();
    assert_eq!((items.len(), items[0]["w"].as_u64(), items[0]["outcome"].as_str()), (CHOSEN, Some(32), Some("open")));
    let why = &items[0]["why"];
    assert!(why["score"].is_f64() && why["channels"].as_array().unwrap().len() >= 8, "{why}");
    let i = items[0]["index"].as_u64().unwrap();
    let (_, info) = s.json("GET", &format!("api/item/{i}"), Value::Null);
    assert!(info["p_fake"].is_f64() && info["original"] == true && info["difference"] == 0 && info["heat"].is_u64(), "{info}");
    for what in ["picture", "original", "difference", "heat"] {
        let (code, _, png) = s.ask("GET", &format!("api/{what}/{i}"), None, "").unwrap();
        let image = image::load_from_memory(&png).unwrap();
        assert_eq!((code, image.width(), image.height()), (200, 32, 32), "{what}");
    }
    let mask = random(&mut Rng::new(5, stream("masks"), 0));
    // Nobody has asked for the right to write.
    assert_eq!(s.put("mask", i, &mask, 0).0, 409);
    s.lease();
    for (m, code, word) in [
        (Mask::new(33, 32), 422, "33 x 32 pixels"),
        (Mask::new(64, 64), 422, "64 x 64 pixels"),
        (Mask::new(32, 32), 422, "empty"),
        (Mask::from_fn(32, 32, |x, y| x + y == 0), 428, "only 0.098 %"),
        (Mask::from_fn(32, 32, |x, y| x + y > 3), 428, "inverted"),
    ] {
        let (got, said) = s.put("mask", i, &m, 0);
        assert!(got == code && said["error"].as_str().unwrap().contains(word), "{got} {said}");
    }
    let mut short = sent(&mask, 0);
    short["runs"] = json!([5, 5]);
    assert_eq!(s.json("PUT", &format!("api/mask/{i}"), short).0, 422);
    assert_eq!(s.json("PUT", &format!("api/mask/{i}"), json!({ "tab": "t", "secret": 1 })).0, 400);
    let mut sure = sent(&Mask::from_fn(32, 32, |x, y| x + y > 3), 0);
    sure["sure"] = json!(true);
    assert_eq!(s.json("PUT", &format!("api/mask/{i}"), sure).0, 200);
    // The page has not seen that yet.
    let (code, said) = s.put("mask", i, &mask, 0);
    assert!(code == 412 && said["error"].as_str().unwrap().contains("changed by anna"), "{said}");
    assert_eq!(s.put("draft", i, &mask, 0).0, 200);
    let (_, info) = s.json("GET", &format!("api/item/{i}"), Value::Null);
    assert_eq!((&info["draft"], &info["revision"]), (&json!(runs::of(&mask)), &json!(1)));
    assert_eq!(s.put("mask", i, &mask, 1), (200, json!({ "revision": 2 })));
    // An answer that was lost: the same again changes nothing.
    assert_eq!(s.put("mask", i, &mask, 1), (200, json!({ "revision": 2 })));
    assert_eq!(Mask::open(file(&run, i)).unwrap(), mask);
    let png = image::open(file(&run, i)).unwrap();
    assert_eq!(png.color(), image::ColorType::L8);
    assert!(png.to_luma8().pixels().all(|p| [0, 255].contains(&p.0[0])));
    let (_, info) = s.json("GET", &format!("api/item/{i}"), Value::Null);
    assert_eq!((&info["draft"], &info["mask"]), (&Value::Null, &json!(runs::of(&mask))));
    let j = items[1]["index"].as_u64().unwrap();
    let skip = |reason: &str| s.json("POST", &format!("api/skip/{j}"), json!({ "tab": "t", "reason": reason })).0;
    assert_eq!((skip(" "), skip("a\nb"), skip("unsure")), (422, 422, 200));
    let lines = lines(&run);
    let last = &lines[1];
    assert_eq!(
        (lines.len(), &last["by"], &last["origin"], &last["outcome"]),
        (3, &json!("anna"), &json!("person"), &json!("masked"))
    );
    assert_eq!((&last["seconds"], &last["tools"], &last["index"]), (&json!(2.5), &json!(["brush"]), &json!(i)));
    assert!(last["when"].as_str().unwrap().ends_with('Z') && last["area"].as_f64().unwrap() > 0.0);
    assert_eq!((&lines[2]["outcome"], &lines[2]["reason"]), (&json!("skipped"), &json!("unsure")));
    // A folder that cannot be written: named, and the page hears of it.
    fs::remove_dir_all(run.join("masks/drafts")).unwrap();
    fs::write(run.join("masks/drafts"), "in the way").unwrap();
    let (code, said) = s.put("draft", i, &mask, 2);
    assert!(code == 500 && said["error"].as_str().unwrap().contains("drafts"), "{said}");
}

#[test]
fn a_second_tab_a_second_server_and_a_port_in_use_are_named() {
    let (_dir, run) = run();
    let mut s = Server::start(&run, &[]);
    let i = s.indices()[0];
    s.lease();
    let (code, said) = s.json("POST", "api/lease", json!({ "tab": "other", "by": "ben" }));
    assert!(code == 409 && said["error"].as_str().unwrap().starts_with("anna has this queue open in another tab"), "{said}");
    let mask = random(&mut Rng::new(6, stream("masks"), 0));
    let mut other = sent(&mask, 0);
    other["tab"] = json!("other");
    for what in ["draft", "mask"] {
        let (code, said) = s.json("PUT", &format!("api/{what}/{i}"), other.clone());
        assert!(code == 409 && said["error"].as_str().unwrap().contains("not saved: anna has"), "{said}");
    }
    assert!(!file(&run, i).exists());
    // The first gives it up.
    assert_eq!(s.json("POST", "api/release", json!({ "tab": "t" })).0, 200);
    assert_eq!(s.json("POST", "api/lease", json!({ "tab": "other", "by": "ben" })).0, 200);
    assert_eq!(s.json("PUT", &format!("api/mask/{i}"), other).0, 200);
    assert_eq!(lines(&run)[0]["by"], "ben");

    let out = lae(&["annotate", path(&run), "--by", "ben"]);
    let said = text(&out.stderr);
    assert!(
        out.status.code() == Some(2) && said.contains("anna (process") && said.contains("annotates this run already"),
        "{said}"
    );
    let (_dir, elsewhere) = self::run();
    let out = lae(&["annotate", path(&elsewhere), "--port", &s.port.to_string()]);
    let said = text(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("--port") && said.contains("in use"), "{said}");
    // The same address after a restart.
    let before = (s.port, s.token.clone());
    s.kill();
    let again = Server::start(&run, &[]);
    assert_eq!((again.port, again.token.clone()), before);
    assert_eq!(again.indices().len(), CHOSEN);
    // What is no run that waits.
    let out = lae(&["annotate", path(&elsewhere.join("none"))]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("is not a run folder"));
    fs::remove_file(elsewhere.join("selection.json")).unwrap();
    let out = lae(&["annotate", path(&elsewhere)]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("--wait-for-masks"), "{}", text(&out.stderr));
    let (_dir, blocked) = self::run();
    fs::write(blocked.join("masks"), "in the way").unwrap();
    let out = lae(&["annotate", path(&blocked)]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("masks"), "{}", text(&out.stderr));
}

/// Masks are sent without a pause, and the server is killed at fifty random moments. What it said it has, it has.
#[test]
fn fifty_kills_lose_no_finished_mask() {
    let (_dir, run) = run();
    let mut rng = Rng::new(11, stream("kills"), 0);
    let mut kept: Vec<Option<Mask>> = vec![None; CHOSEN];
    let (mut told, mut cut) = (0, 0);
    for _ in 0..50 {
        let mut s = Server::start(&run, &[]);
        let indices = s.indices();
        s.lease();
        // What was told is there after the kill before; a mask that was on its way may be there whole, or not.
        let (_, all) = s.json("GET", "api/queue", Value::Null);
        let mut revisions: Vec<u64> = all["items"].as_array().unwrap().iter().map(|i| i["revision"].as_u64().unwrap()).collect();
        let begun = Instant::now();
        let end = Duration::from_micros(rng.below(150_000) as u64);
        let pid = s.child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(end);
            // Not `Child::kill`: the child belongs to the thread that sends.
            assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        });
        let mut way = None;
        while begun.elapsed() < Duration::from_secs(20) {
            let place = rng.below(CHOSEN);
            let mask = random(&mut rng);
            if mask.area() < 4 {
                continue;
            }
            way = Some((place, mask.clone()));
            match s.ask("PUT", &format!("api/mask/{}", indices[place]), Some(&sent(&mask, revisions[place])), "") {
                Some((200, _, body)) => {
                    revisions[place] = serde_json::from_slice::<Value>(&body).unwrap()["revision"].as_u64().unwrap();
                    kept[place] = Some(mask);
                    way = None;
                    told += 1;
                }
                Some((code, _, body)) => panic!("{code} {}", text(&body)),
                None => break,
            }
        }
        killer.join().unwrap();
        s.child.wait().unwrap();
        cut += way.is_some() as usize;
        for place in 0..CHOSEN {
            let file = file(&run, indices[place]);
            let found = file.exists().then(|| Mask::open(&file).unwrap_or_else(|e| panic!("half a mask: {e}")));
            if found != kept[place] {
                let (at, mask) = way.clone().unwrap_or_else(|| panic!("mask {place} is not the one that was told"));
                assert!(at == place && found == Some(mask), "mask {place} is neither what was told nor what was on its way");
                kept[place] = found;
            }
        }
        // A server that was killed before its first mask leaves no lines; others leave whole ones.
        if told > 0 {
            assert!(lines(&run).len() >= told, "each mask that was told has its line");
        }
        // What was being written may be left under a temporary name, and nothing else.
        for entry in fs::read_dir(run.join("masks")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = ["drafts", "annotations.jsonl", ".lock", ".session.json"].contains(&name.as_str());
            assert!(known || name.ends_with(".tmp") || (name.starts_with("train-") && name.ends_with(".png")), "{name}");
        }
    }
    assert!(told > 50 && cut >= 25, "{told} masks told, {cut} requests cut off: the test tests nothing");
    Server::start(&run, &[]);
    assert!(!fs::read_dir(run.join("masks")).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().ends_with(".tmp")));
    println!("{told} masks told over 50 kills, {cut} requests cut off");
}

/// From the wait to the report: what is missing is counted, what a person drew is used and told apart.
#[test]
fn stage_two_takes_the_masks_of_a_person() {
    let (_dir, run) = run();
    let resume = |more: &[&str]| {
        let out = lae(&[&["train", "--resume", path(&run)], more].concat());
        (out.status.code(), text(&out.stderr))
    };
    let (code, said) = resume(&["--masks-so-far"]);
    assert!(code == Some(2) && said.contains("none of the 6 chosen pictures has a mask"), "{said}");
    let mut s = Server::start(&run, &[]);
    s.lease();
    let indices = s.indices();
    let mut rng = Rng::new(8, stream("masks"), 0);
    let masks: Vec<Mask> = (0..CHOSEN).map(|_| random(&mut rng)).collect();
    assert_eq!(s.put("mask", indices[0], &masks[0], 0).0, 200);
    assert_eq!(s.put("mask", indices[1], &masks[1], 0).0, 200);
    assert_eq!(s.json("POST", &format!("api/skip/{}", indices[2]), json!({ "tab": "t", "reason": "unsure" })).0, 200);
    s.kill();
    let (code, said) = resume(&[]);
    assert!(
        code == Some(4) && said.contains("3 of 6 chosen pictures have none yet") && said.contains("--masks-so-far"),
        "{said}"
    );
    // One of the missing comes from elsewhere.
    masks[3].save(file(&run, indices[3])).unwrap();
    let whole = fs::read(run.join("selection.json")).unwrap();
    // Another size is refused by name before anything is trained.
    Mask::from_fn(64, 16, |_, _| true).save(file(&run, indices[4])).unwrap();
    let (code, said) = resume(&["--masks-so-far"]);
    assert!(code == Some(2) && said.contains(&format!("train-{:06}.png", indices[4])) && said.contains("64 x 16"), "{said}");
    assert_eq!(fs::read(run.join("selection.json")).unwrap(), whole);
    fs::remove_file(file(&run, indices[4])).unwrap();
    let (code, said) = resume(&["--masks-so-far"]);
    assert_eq!(code, Some(0), "{said}");
    let words =
        "stage 2 has masks: 1 from files, 2 by a person (anna 2); 3 chosen pictures without: 2 missing, 1 skipped: unsure";
    assert!(said.contains(words), "{said}");
    let read = |f: &str| serde_json::from_slice::<Value>(&fs::read(run.join(f)).unwrap()).unwrap();
    let chosen = read("selection.json");
    let origins: Vec<&Value> = chosen["masks"].as_array().unwrap().iter().map(|m| &m["origin"]).collect();
    assert_eq!(origins, [&json!("person"), &json!("person"), &Value::Null, &json!("file"), &Value::Null, &Value::Null]);
    let report = read("report.json");
    assert!(report["notices"].to_string().contains(words));
    let rows: Vec<String> = report["masks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{} {} {} {}", r["of"], r["origin"], r["count"], r["note"]))
        .collect();
    for row in [
        "\"train\" \"forger\" 64 \"\"",
        "\"stage 2: annotated fakes\" \"person\" 2 \"anna\"",
        "\"stage 2: annotated fakes\" \"file\" 1 \"\"",
        "\"stage 2: annotated fakes\" \"none\" 1 \"skipped: unsure\"",
        "\"stage 2: annotated fakes\" \"none\" 2 \"missing\"",
    ] {
        assert!(rows.iter().any(|r| r == row), "{row} in {rows:#?}");
    }
    assert_eq!(report["candidates"][0]["mask"], "mask by a person");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Who made the masks") && page.contains("mask by a person") && page.contains("skipped: unsure"));
    // The weights depend on what was drawn.
    let trained = |invert: bool| {
        let (_dir, run) = self::run();
        fs::create_dir(run.join("masks")).unwrap();
        for (k, i) in indices.iter().enumerate() {
            let m = &masks[k];
            Mask::from_fn(32, 32, |x, y| m.get(x, y) != invert).save(file(&run, *i)).unwrap();
        }
        ok(&["train", "--resume", path(&run)]);
        // A mask that changes under a run that goes on is named.
        masks[0].flip().save(file(&run, indices[0])).unwrap();
        fs::read(run.join("metrics.jsonl")).unwrap()
    };
    let (a, b, c) = (trained(false), trained(true), trained(false));
    assert!(a == c && a != b, "same masks, same run; other masks, another");
}

/// Out in every format and in again: the same pixels.
#[test]
fn formats_there_and_back() {
    let (dir, run) = run();
    let mut s = Server::start(&run, &[]);
    s.lease();
    let indices = s.indices();
    let mut rng = Rng::new(9, stream("masks"), 0);
    let mut masks: Vec<Mask> = (0..4).map(|_| random(&mut rng)).collect();
    // A ring, and two pixels that touch at a corner alone.
    masks.push(Mask::from_fn(32, 32, |x, y| (5..8).contains(&x.abs_diff(15).max(y.abs_diff(15)))));
    for (k, m) in masks.iter().enumerate() {
        assert_eq!(s.put("mask", indices[k], m, 0).0, 200);
    }
    s.kill();
    for (format, to) in [("folder", "f"), ("labelme", "l"), ("coco", "c.json"), ("coco-lists", "d.json")] {
        let to = dir.path().join(to);
        let out = ok(&["annotate", path(&run), "--export", format, path(&to)]);
        assert!(text(&out.stdout).contains("5 masks written"), "{}", text(&out.stdout));
        let out = lae(&["annotate", path(&run), "--export", format, path(&to)]);
        assert!(out.status.code() == Some(2) && text(&out.stderr).contains("exists already"));
        let (_other, fresh) = self::run();
        let out = ok(&["annotate", path(&fresh), "--import", path(&to), "--by", "ben"]);
        assert!(text(&out.stdout).contains("5 masks taken"), "{format}: {}", text(&out.stdout));
        for (k, m) in masks.iter().enumerate() {
            assert_eq!(&Mask::open(file(&fresh, indices[k])).unwrap(), m, "{format} {k}");
        }
        let line = &lines(&fresh)[0];
        assert_eq!((&line["origin"], &line["by"]), (&json!("file"), &json!("ben")), "{line}");
        // A finished mask stays unless the file's is asked for.
        let out = ok(&["annotate", path(&fresh), "--import", path(&to)]);
        assert!(text(&out.stdout).contains("0 masks taken; 5 pictures have a finished mask"), "{}", text(&out.stdout));
        let out = ok(&["annotate", path(&fresh), "--import", path(&to), "--replace"]);
        assert!(text(&out.stdout).contains("5 masks taken"));
    }
    let labelme: Value =
        serde_json::from_slice(&fs::read(dir.path().join(format!("l/train-{:06}.json", indices[4]))).unwrap()).unwrap();
    assert_eq!((&labelme["shapes"][0]["shape_type"], &labelme["imageWidth"]), (&json!("mask"), &json!(32)), "a ring has a hole");
    // Refused by name, and nothing of the import is taken.
    let (_other, fresh) = self::run();
    let refused = |path_: &Path, words: &[&str]| {
        let out = lae(&["annotate", path(&fresh), "--import", path(path_)]);
        let said = text(&out.stderr);
        assert!(out.status.code() == Some(2) && words.iter().all(|w| said.contains(w)), "{words:?} in {said}");
        assert!(!fresh.join("masks/annotations.jsonl").exists(), "nothing was taken");
    };
    let large = dir.path().join("large");
    fs::create_dir(&large).unwrap();
    masks[0].save(large.join(format!("train-{:06}.png", indices[0]))).unwrap();
    Mask::from_fn(33, 32, |_, _| true).save(large.join(format!("train-{:06}.png", indices[1]))).unwrap();
    refused(&large, &["33 x 32", "larger than its picture (32 x 32)", &format!("train-{:06}", indices[1])]);
    let strange = dir.path().join("strange");
    fs::create_dir(&strange).unwrap();
    masks[0].save(strange.join("holiday.png")).unwrap();
    refused(&strange, &["1 masks, and none of a chosen picture", "train-"]);
    for (name, content, words) in [
        ("a.json", "{", vec!["a.json", "JSON"]),
        ("b.json", "{\"images\":[]}", vec!["b.json", "neither labelme"]),
        ("c2.json", "{\"images\":[{\"id\":1}],\"annotations\":[]}", vec!["file_name, width and height"]),
        (
            "d2.json",
            "{\"shapes\":[{\"shape_type\":\"line\",\"points\":[[1,1],[2,2]]}],\"imageWidth\":32,\"imageHeight\":32}",
            vec!["shape 1", "line"],
        ),
        (
            "e.json",
            "{\"images\":[{\"id\":1,\"file_name\":\"x\",\"width\":4,\"height\":2}],\"annotations\":[{\"image_id\":1,\"segmentation\":{\"size\":[4,2],\"counts\":[8]}}]}",
            vec!["size [4,2]", "2 high and 4 wide"],
        ),
    ] {
        let f = dir.path().join(name);
        fs::write(&f, content).unwrap();
        refused(&f, &words);
    }
    refused(&dir.path().join("nowhere"), &["nowhere"]);
    let out = lae(&["annotate", path(&run), "--export", "yolo", path(&dir.path().join("y"))]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("folder, labelme, coco, coco-lists"));
    let out = lae(&["annotate", path(&fresh), "--export", "coco", path(&dir.path().join("z.json"))]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("no finished masks"));
}

/// A data set whose fakes have no masks: a person draws them, at the size of the pictures.
#[test]
fn a_data_set_without_masks_is_masked_by_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    ok(&["forge", "--out", path(&data), "--count", "24", "--size", "40", "--set", "data.unseen=[]"]);
    fs::remove_dir_all(data.join("train/mask")).unwrap();
    let args =
        ["--preset", "smoke", "--data", path(&data), "--annotations", "3", "--set", "train.epochs=1", "--set", "train.batch=8"];
    let train = |more: &[&str]| lae(&[&["train"], &args[..], more].concat());
    let out = train(&["--out", path(&dir.path().join("no"))]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("--wait-for-masks"), "{}", text(&out.stderr));
    let out = train(&["--out", path(&run), "--wait-for-masks", "--set", "selection.reselect=true"]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("selection.reselect"), "{}", text(&out.stderr));
    assert_eq!(train(&["--out", path(&run), "--wait-for-masks"]).status.code(), Some(4));
    let mut s = Server::start(&run, &[]);
    s.lease();
    let (_, all) = s.json("GET", "api/queue", Value::Null);
    let items = all["items"].as_array().unwrap().clone();
    assert!(items[0]["picture"].as_str().unwrap().starts_with("train/fake/") && items[0]["w"] == 40, "{}", items[0]);
    let (_, info) = s.json("GET", &format!("api/item/{}", items[0]["index"]), Value::Null);
    assert!(info["original"] == true && info["difference"].is_u64(), "the manifest names the originals: {info}");
    let mask = Mask::from_fn(40, 40, |x, y| x < 20 && y < 10);
    for item in &items {
        assert_eq!(s.put("mask", item["index"].as_u64().unwrap(), &mask, 0).0, 200);
    }
    s.kill();
    let to = dir.path().join("masks");
    ok(&["annotate", path(&run), "--export", "folder", path(&to)]);
    let stem = items[0]["picture"].as_str().unwrap().trim_start_matches("train/fake/").to_string();
    assert_eq!(Mask::open(to.join(&stem)).unwrap(), mask, "named as its picture, so that it is a mask of DIR/train/mask");
    ok(&["train", "--resume", path(&run)]);
    let report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    let rows = report["masks"].to_string();
    assert!(rows.contains("\"none\"") && rows.contains("\"person\""), "{rows}");
    // Pictures that changed under the run are named.
    lae_engine::data::procedural::photograph(78, 2, 40).save(data.join("train/fake").join(&stem)).unwrap();
    let out = lae(&["annotate", path(&run)]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("1 with other content"), "{}", text(&out.stderr));
}
