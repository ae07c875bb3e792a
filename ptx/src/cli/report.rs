//! Verdicts as text, JSON, JUnit XML and SARIF 2.1.0.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::verdict::{FileReport, Finding, LaunchReport, Summary, Verdict};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

pub fn text(files: &[FileReport]) -> String {
    let mut o = String::new();
    let indented = |text: &str, by: &str| text.lines().map(|l| format!("{by}{l}\n")).collect::<String>();
    for f in files {
        writeln!(o, "{} by {}", if f.ptx.is_empty() { "?" } else { &f.ptx }, f.spec).expect("a String grows");
        f.problems.iter().for_each(|p| o += &indented(&format!("wrong: {p}"), "  "));
        f.notes.iter().for_each(|n| o += &indented(&format!("note: {n}"), "  "));
        for l in &f.launches {
            let name = if l.name == l.kernel { l.name.clone() } else { format!("{} ({})", l.name, l.kernel) };
            write!(o, "  {:8} {name}", l.verdict.word()).expect("a String grows");
            if matches!(l.verdict, Verdict::Ok) {
                let (n, s) = (l.instructions, l.schedules.join(", "));
                write!(o, ": {} blocks, {n} warp instructions; {s}; {:.2} s", l.blocks, l.seconds).expect("a String grows");
            }
            o.push('\n');
            l.why.iter().for_each(|w| o += &indented(w, "      "));
            for (reason, times) in &l.suppressed {
                o += &indented(&format!("suppressed, {times} times: {reason}"), "      ");
            }
            for x in &l.findings {
                let times = if x.times > 1 { format!("; {} times", x.times) } else { String::new() };
                o += &indented(&format!("{}\n({}{times})", x.text, x.schedules.join(", ")), "      ");
            }
        }
    }
    let s = Summary::of(files);
    write!(o, "{}: {} ok", plural(s.launches(), "launch").replace("launchs", "launches"), s.ok).expect("a String grows");
    for (n, word) in [(s.finding, "with findings"), (s.wrong, "wrong"), (s.not_run, "not run")] {
        if n > 0 {
            write!(o, ", {n} {word}").expect("a String grows");
        }
    }
    if s.unusable > 0 {
        write!(o, "; {} could not be used", plural(s.unusable, "file")).expect("a String grows");
    }
    if s.ok + s.finding == 0 {
        o += "; no launch ran, so nothing was checked";
    }
    o.push('\n');
    o
}

pub fn json(files: &[FileReport]) -> Value {
    let finding = |x: &Finding| {
        let source = x.site.as_ref().map(|s| s.source.clone()).unwrap_or_default();
        json!({
            "kind": x.kind, "text": x.text, "about": x.about, "times": x.times, "schedules": x.schedules, "spec_line": x.line,
            "ptx_line": x.site.as_ref().map(|s| s.line), "instruction": x.site.as_ref().map(|s| s.text.clone()), "source": source,
        })
    };
    let launch = |l: &LaunchReport| {
        json!({
            "name": l.name, "kernel": l.kernel, "spec_line": l.line, "verdict": l.verdict.word(), "schedules": l.schedules,
            "findings": l.findings.iter().map(finding).collect::<Vec<_>>(), "why": l.why,
            "suppressed": l.suppressed.iter().map(|(reason, times)| json!({ "reason": reason, "times": times })).collect::<Vec<_>>(),
            "warp_instructions": l.instructions, "blocks": l.blocks, "seconds": l.seconds,
        })
    };
    let file = |f: &FileReport| {
        json!({
            "ptx": f.ptx, "spec": f.spec, "problems": f.problems, "notes": f.notes, "launches": f.launches.iter().map(launch).collect::<Vec<_>>(),
        })
    };
    let s = Summary::of(files);
    json!({
        "format": 1, "tool": format!("lae-ptx {VERSION}"), "files": files.iter().map(file).collect::<Vec<_>>(),
        "summary": {
            "launches": s.launches(), "ok": s.ok, "finding": s.finding, "wrong": s.wrong, "not_run": s.not_run,
            "findings": s.findings, "unusable_files": s.unusable,
        },
        "exit": s.code(),
    })
}

/// Text of XML: escaped, without the characters that XML cannot hold.
fn xml(text: &str) -> String {
    let mut o = String::new();
    for c in text.chars() {
        match c {
            '&' => o += "&amp;",
            '<' => o += "&lt;",
            '>' => o += "&gt;",
            '"' => o += "&quot;",
            '\n' => o += "&#10;",
            '\t' => o += "&#9;",
            c if (c as u32) < 32 || matches!(c as u32, 0xfffe | 0xffff) => o.push('\u{fffd}'),
            c => o.push(c),
        }
    }
    o
}

/// JUnit's XML, as CI servers read it: findings are failures, what could not be checked is an error.
pub fn junit(files: &[FileReport]) -> String {
    let (mut suites, mut totals, mut seconds) = (String::new(), [0; 4], 0.0);
    for f in files {
        let (mut cases, mut counts, mut time) = (String::new(), [0; 4], 0.0);
        let mut case = |name: &str, class: &str, secs: f64, body: &str| {
            writeln!(
                cases,
                "    <testcase name=\"{}\" classname=\"{}\" time=\"{secs:.3}\">{body}</testcase>",
                xml(name),
                xml(class)
            )
            .expect("a String grows");
        };
        let part = |tag: &str, kind: &str, text: &str| {
            let first = text.lines().next().unwrap_or("");
            format!("<{tag} type=\"{}\" message=\"{}\">{}</{tag}>", xml(kind), xml(first), xml(text).replace("&#10;", "\n"))
        };
        for p in &f.problems {
            counts[0] += 1;
            counts[2] += 1;
            case("specification", &f.spec, 0.0, &part("error", "wrong", p));
        }
        for l in &f.launches {
            counts[0] += 1;
            time += l.seconds;
            let body = match l.verdict {
                Verdict::Ok => String::new(),
                Verdict::Finding => {
                    counts[1] += 1;
                    // One failure a case: readers of JUnit's format keep one.
                    let all: Vec<String> =
                        l.findings.iter().map(|x| format!("{}\n({})", x.text, x.schedules.join(", "))).collect();
                    let kinds: Vec<&str> = l.findings.iter().map(|x| x.kind).collect();
                    part("failure", &kinds.join(" "), &all.join("\n\n"))
                }
                Verdict::Wrong => {
                    counts[2] += 1;
                    part("error", "wrong", &l.why.join("\n"))
                }
                Verdict::NotRun => {
                    counts[3] += 1;
                    format!("<skipped message=\"{}\"/>", xml(&l.why.join("; ")))
                }
            };
            case(&l.name, &l.kernel, l.seconds, &body);
        }
        let [tests, failures, errors, skipped] = counts;
        let name = xml(&f.spec);
        writeln!(
            suites,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
             time=\"{time:.3}\">\n{cases}  </testsuite>"
        )
        .expect("a String grows");
        (0..4).for_each(|i| totals[i] += counts[i]);
        seconds += time;
    }
    let [tests, failures, errors, _] = totals;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lae-ptx\" tests=\"{tests}\" failures=\"{failures}\" \
         errors=\"{errors}\" time=\"{seconds:.3}\">\n{suites}</testsuites>\n"
    )
}

/// A path as a URI reference: from the current folder if it lies below, as code hosts want it.
fn uri(path: &str) -> String {
    let here = std::env::current_dir().ok();
    let inside = here.and_then(|h| Path::new(path).strip_prefix(h).ok().map(|p| p.to_string_lossy().into_owned()));
    let mut path = inside.unwrap_or_else(|| path.to_string()).replace('\\', "/");
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.to_string();
    }
    let mut o = String::from(if path.starts_with('/') { "file://" } else { "" });
    for b in path.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' | b'+' => o.push(b as char),
            b => write!(o, "%{b:02X}").expect("a String grows"),
        }
    }
    o
}

/// `file:line:col` of a report, with the whole path that the PTX has for the file.
fn source(f: &FileReport, text: &str) -> Option<(String, u32, u32)> {
    let mut parts = text.rsplitn(3, ':');
    let (col, line, name) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let same = |s: &&String| s.rsplit(['/', '\\']).next() == Some(name);
    let mut found = f.sources.iter().filter(same);
    let path = match (found.next(), found.next()) {
        (Some(one), None) => one.clone(),
        _ => name.to_string(),
    };
    Some((path, line, col))
}

/// What the kinds of findings mean, for the list of rules.
fn rule(kind: &str) -> &'static str {
    match kind {
        "out-of-bounds" => "An access outside of the memory that the launch was given",
        "misaligned" => "An address that is no multiple of the size of its access",
        "null" => "An access through a null pointer",
        "use-after-free" => "An access to memory that was freed",
        "read-only" => "A write to memory that the launch may only read",
        "uninitialised" => "A value that nothing wrote decides a branch or an address, or is stored",
        "divergent-barrier" => "A barrier that not all threads of a warp reach together",
        "deadlock" => "No thread of the block can go on",
        "sync-mask" => "A mask of a .sync instruction that does not name the lane that executes it",
        "barrier" => "Operands of a barrier that make no sense",
        "mbarrier" => "An mbarrier that is not initialised, or has counts that it cannot have",
        "warpgroup" => {
            "A product of a warp group without its fence, its wait or its other warps, or with a descriptor that cannot be"
        }
        "bulk" => "A bulk copy whose tensor map, coordinates, sizes or wait are not as they must be",
        "heap" => "A free of what malloc did not return, or of what was freed",
        "operand" => "An operand that the instruction does not allow",
        "budget" => "More instructions than the launch was allowed",
        "trap" => "The kernel executed a trap, or an assertion failed",
        "tf32" => "A tf32 operand with bits that the tensor core ignores",
        "race" => "Two accesses to the same memory, one of them a write, that nothing orders",
        "stack-overflow" => "Calls that are nested too deep",
        "value" => "A result other than expected",
        "schedule" => "A result that depends on the order of blocks and warps",
        "wrong" => "Something could not be checked",
        _ => "A finding of the emulator",
    }
}

/// SARIF 2.1.0: every finding with its place in the source (`.loc`), else in the PTX, else in the specification.
pub fn sarif(files: &[FileReport]) -> Value {
    let place = |path: &str, line: u32, col: u32| {
        let mut region = json!({ "startLine": line.max(1) });
        if col > 0 {
            region["startColumn"] = col.into();
        }
        json!({ "physicalLocation": { "artifactLocation": { "uri": uri(path) }, "region": region } })
    };
    let (mut results, mut kinds) = (Vec::new(), Vec::new());
    for f in files {
        for p in &f.problems {
            kinds.push("wrong");
            let path = if f.spec.is_empty() { &f.ptx } else { &f.spec };
            // `SPEC:12: …` names the line.
            let line =
                p.strip_prefix(path.as_str()).and_then(|r| r.strip_prefix(':')?.split(':').next()?.parse().ok()).unwrap_or(1);
            results.push(
                json!({ "ruleId": "wrong", "level": "error", "message": { "text": p }, "locations": [place(path, line, 0)] }),
            );
        }
        for l in &f.launches {
            if matches!(l.verdict, Verdict::Wrong | Verdict::NotRun) {
                kinds.push("wrong");
                let level = if l.verdict == Verdict::Wrong { "error" } else { "note" };
                let text = format!("{}: {}: {}", l.name, l.verdict.word(), l.why.join("\n"));
                let at = place(&f.spec, l.line, 0);
                results.push(json!({ "ruleId": "wrong", "level": level, "message": { "text": text }, "locations": [at] }));
            }
            for x in &l.findings {
                kinds.push(x.kind);
                let mut places: Vec<Value> = Vec::new();
                if let Some(site) = &x.site {
                    let lines = site.source.iter().filter_map(|s| source(f, s));
                    places.extend(lines.map(|(path, line, col)| place(&path, line, col)));
                    places.push(place(&f.ptx, site.line, 0));
                }
                places.push(place(&f.spec, x.line, 0));
                let related: Vec<Value> = places
                    .iter()
                    .skip(1)
                    .enumerate()
                    .map(|(i, p)| {
                        let mut p = p.clone();
                        p["id"] = (i + 1).into();
                        p
                    })
                    .collect();
                let text = format!("{}: {}\n({})", l.name, x.text, x.schedules.join(", "));
                results.push(json!({
                    "ruleId": x.kind, "level": "error", "message": { "text": text }, "locations": [places[0]],
                    "relatedLocations": related,
                    "properties": { "launch": l.name, "kernel": l.kernel, "schedules": x.schedules },
                }));
            }
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    let rules: Vec<Value> = kinds.iter().map(|k| json!({ "id": k, "shortDescription": { "text": rule(k) } })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "lae-ptx", "version": VERSION, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Site;

    fn report() -> FileReport {
        let site = Site {
            text: "st.shared.f32 [%r1], %f1;".into(),
            line: 40,
            source: vec!["tile.cuh:7:3".into(), "a b.cu:12:5".into()],
        };
        let schedules = vec!["forward".to_string()];
        let race = Finding {
            kind: "race",
            text: "race: a < b & \"c\"\n  in k".into(),
            about: String::new(),
            key: String::new(),
            times: 3,
            schedules: schedules.clone(),
            site: Some(site),
            line: 9,
        };
        let value = Finding {
            kind: "value",
            text: "value: buffer `y`: \u{1}".into(),
            about: "y".into(),
            site: None,
            line: 11,
            ..race.clone()
        };
        let launch = |name: &str, verdict, findings| LaunchReport {
            name: name.into(),
            kernel: "k<float>".into(),
            line: 8,
            verdict,
            findings,
            suppressed: vec![("known & meant".into(), 3)],
            why: vec![],
            schedules: schedules.clone(),
            instructions: 5,
            blocks: 1,
            seconds: 0.5,
        };
        FileReport {
            ptx: "k.ptx".into(),
            spec: "./k.toml".into(),
            problems: vec![],
            notes: vec![],
            launches: vec![launch("first", Verdict::Ok, vec![]), launch("second", Verdict::Finding, vec![race, value])],
            sources: vec!["/src/tile.cuh".into(), "kernels/a b.cu".into()],
        }
    }

    #[test]
    fn of_all_forms() {
        let files = [
            report(),
            FileReport { spec: "b.toml".into(), problems: vec!["b.toml:3: unknown key".into()], ..Default::default() },
        ];
        let t = text(&files);
        assert!(t.contains("2 launches: 1 ok, 1 with findings; 1 file could not be used"), "{t}");
        let x = junit(&files);
        assert!(x.contains("tests=\"3\" failures=\"1\" errors=\"1\"") && x.contains("race: a &lt; b &amp; &quot;c&quot;"), "{x}");
        assert!(x.contains("type=\"race value\"") && !x.contains('\u{1}'), "{x}");
        let s = sarif(&files);
        let r = &s["runs"][0]["results"];
        let uri = |v: &Value| v["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().to_string();
        assert_eq!(uri(&r[0]["locations"][0]), "file:///src/tile.cuh");
        assert_eq!(r[0]["locations"][0]["physicalLocation"]["region"], json!({ "startLine": 7, "startColumn": 3 }));
        let related: Vec<String> = r[0]["relatedLocations"].as_array().unwrap().iter().map(uri).collect();
        assert_eq!(related, ["kernels/a%20b.cu", "k.ptx", "k.toml"]);
        assert_eq!(
            (uri(&r[1]["locations"][0]), r[1]["locations"][0]["physicalLocation"]["region"]["startLine"].as_u64()),
            ("k.toml".into(), Some(11))
        );
        assert_eq!(r[2]["locations"][0]["physicalLocation"]["region"]["startLine"], 3);
        assert_eq!(s["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), 3);
        assert_eq!(json(&files)["exit"], 2);
        assert_eq!(json(&files[..1])["exit"], 1);
        assert_eq!(json(&[])["exit"], 2, "nothing was checked");
    }
}
