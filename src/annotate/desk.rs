//! What the page asks, and the answers. One thing is done at a time; nothing here knows of sockets.
//!
//! ```text
//! GET  api/queue            every picture of the queue, why it was chosen and where it stands
//! GET  api/item/N           what a page needs to begin with picture N: its masks as runs, p_fake, thresholds
//! GET  api/picture/N        PNG; likewise original, difference and heat, where there are such
//! PUT  api/draft/N          what is being drawn
//! PUT  api/mask/N           the finished mask
//! POST api/skip/N, api/reopen/N
//! POST api/lease, api/release   the right to write; every write names its tab
//! ```

use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use super::clock;
use super::lease::Lease;
use super::queue::{Queue, grey_png};
use super::runs;
use super::store::Store;
use crate::data::{Mask, MaskOrigin};
use crate::error::Error;
use crate::train::masks::{Annotation, Outcome, name};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
}

pub struct Call {
    pub method: Method,
    /// Behind the token: `api/queue`.
    pub path: String,
    pub body: Vec<u8>,
}

pub struct Reply {
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(status: u16, value: &Value) -> Reply {
        Reply { status, kind: "application/json", body: value.to_string().into_bytes() }
    }
    pub fn refusal(status: u16, why: &str) -> Reply {
        Reply::json(status, &json!({ "error": why }))
    }
    fn png(body: Vec<u8>) -> Reply {
        Reply { status: 200, kind: "image/png", body }
    }
}

/// Why something is not done: the status and a sentence.
struct No(u16, String);

impl From<Error> for No {
    fn from(e: Error) -> No {
        No(500, e.to_string())
    }
}

/// What a page sends with a write. Fields that do not belong to the request are left out.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Sent {
    tab: String,
    by: String,
    w: usize,
    h: usize,
    runs: Vec<u32>,
    /// What [`Store::revision`] was when the page began with the picture.
    revision: usize,
    seconds: f64,
    tools: Vec<String>,
    first: String,
    edits: u32,
    reason: String,
    /// The annotator has been asked about a very small or very large mask.
    sure: bool,
}

/// Longest text that a page may send: names, reasons.
const LONG: usize = 200;
/// Shares of a picture between which a mask needs no question.
const USUAL: (f64, f64) = (0.001, 0.9);

/// The queue, what was made of it, and who may write.
pub struct Desk {
    pub queue: Queue,
    pub store: Store,
    lease: Lease,
    run: String,
    by: String,
}

impl Desk {
    /// `run`: the run's name for the page; `by`: the annotator's name unless the page has another.
    pub fn new(queue: Queue, store: Store, run: String, by: String) -> Desk {
        Desk { queue, store, lease: Lease::default(), run, by }
    }

    /// Bytes of the longest request that can make sense: alternating pixels of the largest picture take two characters each.
    pub fn longest(&self) -> usize {
        let pixels = self.queue.items.iter().map(|i| i.w * i.h).max().unwrap_or(0);
        (16 << 10) + 4 * pixels
    }

    pub fn answer(&mut self, call: &Call, now: Instant) -> Reply {
        self.try_answer(call, now).unwrap_or_else(|No(status, why)| Reply::refusal(status, &why))
    }

    fn try_answer(&mut self, call: &Call, now: Instant) -> Result<Reply, No> {
        let mut parts = call.path.strip_prefix("api/").unwrap_or("").splitn(2, '/');
        let (what, rest) = (parts.next().unwrap_or(""), parts.next());
        let known =
            ["queue", "item", "picture", "original", "difference", "heat", "draft", "mask", "skip", "reopen", "lease", "release"];
        if !known.contains(&what) {
            return Err(No(404, format!("{}: nothing is there", crate::text::line(&call.path))));
        }
        let wanted = match what {
            "draft" | "mask" => Method::Put,
            "skip" | "reopen" | "lease" | "release" => Method::Post,
            _ => Method::Get,
        };
        if call.method != wanted {
            return Err(No(405, format!("api/{what} takes {wanted:?}")));
        }
        match what {
            "queue" => return Ok(Reply::json(200, &self.all())),
            "lease" | "release" => return self.lease(what, &sent(&call.body)?, now),
            _ => {}
        }
        let index = rest.and_then(|r| r.parse::<u32>().ok());
        let place = index.and_then(|i| self.queue.place(i));
        let (Some(index), Some(place)) = (index, place) else {
            return Err(No(404, format!("{}: no such picture is in the queue", crate::text::line(&call.path))));
        };
        if call.method == Method::Get {
            self.look(what, index, place)
        } else {
            self.write(what, index, place, sent(&call.body)?, now)
        }
    }

    fn all(&self) -> Value {
        let row = |(place, item): (usize, &super::queue::Item)| {
            let last = self.store.latest(item.index);
            json!({
                "index": item.index,
                "name": item.name,
                "picture": item.picture,
                "w": item.w,
                "h": item.h,
                "broken": item.broken,
                "outcome": last.map_or(Outcome::Open, |a| a.outcome),
                "reason": last.map_or("", |a| &a.reason),
                "by": last.map_or("", |a| &a.by),
                "origin": last.map(|a| a.origin),
                "seconds": last.map_or(0.0, |a| a.seconds),
                "area": last.map_or(0.0, |a| a.area),
                "draft": self.store.has_draft(item.index),
                "revision": self.store.revision(item.index),
                "why": self.queue.why(place),
            })
        };
        let items: Vec<Value> = self.queue.items.iter().enumerate().map(row).collect();
        json!({ "run": self.run, "by": self.by, "version": env!("CARGO_PKG_VERSION"), "items": items })
    }

    fn lease(&mut self, what: &str, sent: &Sent, now: Instant) -> Result<Reply, No> {
        if sent.tab.is_empty() {
            return Err(No(422, "a tab must have a name".into()));
        }
        if what == "release" {
            self.lease.release(&sent.tab);
            return Ok(Reply::json(200, &json!({})));
        }
        let by = if sent.by.is_empty() { &self.by } else { &sent.by };
        self.lease.take(&sent.tab, by, now).map_err(|who| No(409, who))?;
        Ok(Reply::json(200, &json!({})))
    }

    fn look(&mut self, what: &str, index: u32, place: usize) -> Result<Reply, No> {
        let (w, h) = (self.queue.items[place].w, self.queue.items[place].h);
        if let Some(why) = &self.queue.items[place].broken {
            return Err(No(422, format!("the picture cannot be read ({why}): skip it")));
        }
        let none = |what: &str| No(404, format!("picture {index} has no {what}"));
        match what {
            "picture" => Ok(Reply::png(self.queue.picture(index)?.to_png()?)),
            "original" => Ok(Reply::png(self.queue.original(index).ok_or_else(|| none(what))??.to_png()?)),
            "difference" => {
                let d = self.queue.difference(index)?.ok_or_else(|| none(what))?;
                Ok(Reply::png(grey_png(&d.grey, w, h)?))
            }
            "heat" => {
                let d = self.queue.seen(index)?.heat.ok_or_else(|| none(what))?;
                Ok(Reply::png(grey_png(&d.grey, w, h)?))
            }
            _ => {
                let seen = self.queue.seen(index)?;
                // An original of another size is no reason to refuse the picture: the page says why there is no difference.
                let (difference, trouble) = match self.queue.difference(index) {
                    Ok(d) => (d, None),
                    Err(e) => (None, Some(e.to_string())),
                };
                let mask = self.store.mask(index)?;
                let draft = self.store.draft(index)?;
                let fits = |m: Mask| ((m.w, m.h) == (w, h)).then(|| runs::of(&m));
                let value = json!({
                    "index": index, "w": w, "h": h,
                    "p_fake": seen.p_fake,
                    "heat": seen.heat.map(|d| d.threshold),
                    "difference": difference.map(|d| d.threshold),
                    "original": matches!(self.queue.original(index), Some(Ok(_))),
                    "trouble": trouble,
                    "mask": mask.and_then(fits),
                    "draft": draft.and_then(fits),
                    "revision": self.store.revision(index),
                });
                Ok(Reply::json(200, &value))
            }
        }
    }

    fn write(&mut self, what: &str, index: u32, place: usize, sent: Sent, now: Instant) -> Result<Reply, No> {
        let by = self.lease.holds(&sent.tab, now).map_err(|who| No(409, format!("not saved: {who}")))?;
        if sent.revision != self.store.revision(index) && what != "draft" {
            // A page whose answer was lost sends the same again.
            let last = self.store.latest(index);
            let same = match (what, last.map(|a| a.outcome)) {
                ("skip", Some(Outcome::Skipped)) => last.is_some_and(|a| a.reason == sent.reason),
                ("mask", Some(Outcome::Masked)) => self.store.mask(index)?.is_some_and(|m| runs::of(&m) == sent.runs),
                ("reopen", Some(Outcome::Open)) => true,
                _ => false,
            };
            if same {
                return Ok(Reply::json(200, &json!({ "revision": self.store.revision(index) })));
            }
            let who = self.store.latest(index).map_or(String::new(), |a| format!(" by {}", a.by));
            return Err(No(412, format!("picture {index} was changed{who} since this page read it: reload it")));
        }
        let item = &self.queue.items[place];
        let mut line = Annotation {
            index,
            name: name(index),
            picture: item.picture.clone(),
            outcome: Outcome::Open,
            reason: String::new(),
            by,
            when: clock::now(),
            seconds: if sent.seconds.is_finite() { sent.seconds.clamp(0.0, 86_400.0) } else { 0.0 },
            tools: sent.tools,
            first: sent.first,
            edits: sent.edits,
            area: 0.0,
            crc32c: None,
            origin: MaskOrigin::Person,
        };
        match what {
            "skip" => {
                if sent.reason.trim().is_empty() {
                    return Err(No(422, "say why the picture is skipped".into()));
                }
                (line.outcome, line.reason) = (Outcome::Skipped, sent.reason);
                self.store.settle(line, None)?;
            }
            "reopen" => self.store.settle(line, None)?,
            _ => {
                let (w, h) = (item.w, item.h);
                if (sent.w, sent.h) != (w, h) {
                    return Err(No(422, format!("the mask is {} x {} pixels, picture {index} is {w} x {h}", sent.w, sent.h)));
                }
                let mask = runs::mask(w, h, &sent.runs).map_err(|why| No(422, format!("no mask of picture {index}: {why}")))?;
                if what == "draft" {
                    self.store.put_draft(index, &mask)?;
                } else {
                    line.area = mask.area() as f64 / (w * h) as f64;
                    self.check(&line, sent.sure)?;
                    line.outcome = Outcome::Masked;
                    self.store.settle(line, Some(&mask))?;
                }
            }
        }
        Ok(Reply::json(200, &json!({ "revision": self.store.revision(index) })))
    }

    fn check(&self, line: &Annotation, sure: bool) -> Result<(), No> {
        let (least, most) = USUAL;
        match line.area {
            0.0 => Err(No(422, "the mask is empty: mark the forged pixels, or skip the picture and say why".into())),
            a if a < least && !sure => {
                Err(No(428, format!("the mask covers only {:.3} % of the picture: is that all?", 100.0 * a)))
            }
            a if a > most && !sure => Err(No(
                428,
                format!("the mask covers {:.0} % of the picture: is all of that forged, or is it inverted?", 100.0 * a),
            )),
            _ => Ok(()),
        }
    }
}

/// The body of a write.
fn sent(body: &[u8]) -> Result<Sent, No> {
    let sent: Sent = serde_json::from_slice(body).map_err(|e| No(400, format!("not understood: {e}")))?;
    let texts = [&sent.tab, &sent.by, &sent.first, &sent.reason].into_iter().chain(&sent.tools);
    if sent.tools.len() > 32 || texts.into_iter().any(|t| t.len() > LONG || t.chars().any(char::is_control)) {
        return Err(No(422, format!("a name or reason is longer than {LONG} bytes or has control characters")));
    }
    Ok(sent)
}
