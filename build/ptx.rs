//! What a PTX file and the assembler say of the entries in it.

/// One `.entry`.
#[derive(Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    /// Bytes and alignment of each parameter.
    pub params: Vec<(u32, u32)>,
    /// Product of `.maxntid` or `.reqntid`: the most threads that a block may have.
    pub max_threads: Option<u32>,
}

/// What `ptxas -v` says of one entry, for one architecture.
#[derive(Debug, Default, PartialEq, Clone)]
pub struct Resources {
    pub name: String,
    pub arch: u32,
    pub registers: u32,
    pub shared: u32,
    pub stack: u32,
    pub spill_stores: u32,
    pub spill_loads: u32,
    pub barriers: u32,
}

/// `.version 9.0` as (9, 0).
pub fn version(text: &str) -> Option<(u32, u32)> {
    let words = text.lines().find_map(|l| l.trim().strip_prefix(".version"))?;
    let (major, minor) = words.split_whitespace().next()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

pub fn with_version(text: &str, (major, minor): (u32, u32)) -> String {
    let line = text.lines().find(|l| l.trim().starts_with(".version")).expect("a PTX file has a version");
    text.replacen(line, &format!(".version {major}.{minor}"), 1)
}

/// `.file` lines hold absolute paths of the machine that compiled. Keep what is the same everywhere: `kernels/fill.cu` for ours,
/// the part after the last `include/` for the toolkit's headers.
pub fn portable_paths(text: &str) -> String {
    let line = |l: &str| -> String {
        if !l.trim_start().starts_with(".file") {
            return l.to_string();
        }
        let Some((head, path)) = l.split_once('"') else { return l.to_string() };
        let (path, tail) = path.rsplit_once('"').unwrap_or((path, ""));
        let path = path.replace('\\', "/");
        let short =
            ["kernels/", "include/"].iter().find_map(|dir| path.rfind(&format!("/{dir}")).map(|i| path[i + 1..].to_string()));
        format!("{head}\"{}\"{tail}", short.unwrap_or(path))
    };
    text.lines().map(|l| line(l) + "\n").collect()
}

/// Every `.entry` of a PTX file.
pub fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let text: String = text.lines().map(|l| l.split("//").next().unwrap_or("").to_string() + "\n").collect();
    let mut found = Vec::new();
    for part in text.split(".entry").skip(1) {
        let (head, _) = part.split_once('{').ok_or("an entry without a body")?;
        let (name, rest) = head.split_once('(').unwrap_or((head, ")"));
        let (list, directives) = rest.split_once(')').ok_or("a parameter list without an end")?;
        let params = list.split(',').map(str::trim).filter(|p| !p.is_empty());
        let params = params.map(|p| param(p).ok_or_else(|| format!("parameter {p:?}"))).collect::<Result<_, _>>()?;
        let name = name.split_whitespace().next().ok_or("an entry without a name")?.to_string();
        found.push(Entry { name, params, max_threads: threads(directives) });
    }
    Ok(found)
}

/// `.param .u64 .ptr .align 1 name` or `.param .align 4 .b8 name[24]`.
fn param(text: &str) -> Option<(u32, u32)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let bits = words.iter().find_map(|w| w.strip_prefix(['.'])?.strip_prefix(['b', 'u', 's', 'f'])?.parse::<u32>().ok())?;
    let count = match text.split_once('[') {
        Some((_, n)) => n.trim_end().strip_suffix(']')?.trim().parse().ok()?,
        None => 1,
    };
    // After `.ptr`, `.align` speaks of what is pointed at.
    let own = words.split(|w| *w == ".ptr").next()?;
    let align = own.iter().position(|w| *w == ".align").map_or(Some(bits / 8), |i| own.get(i + 1)?.parse().ok())?;
    Some((bits / 8 * count, align))
}

/// `.maxntid 16, 8, 1` as 128.
fn threads(directives: &str) -> Option<u32> {
    let at = [".maxntid", ".reqntid"].iter().find_map(|d| Some(directives.find(d)? + d.len()))?;
    let list = directives[at..].split('.').next()?;
    list.split(',').map(|n| n.trim().parse::<u32>().ok()).product()
}

/// The report of `ptxas -v`.
pub fn resources(report: &str) -> Result<Vec<Resources>, String> {
    let mut found: Vec<Resources> = Vec::new();
    for line in report.lines() {
        // "ptxas info    : Compiling entry function 'fill_fwd_f32' for 'sm_80'"
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let mut quoted = rest.split('\'');
            let (name, arch) = (quoted.next(), quoted.nth(1));
            let arch = arch.and_then(|a| a.strip_prefix("sm_")?.trim_end_matches(char::is_alphabetic).parse().ok());
            let (Some(name), Some(arch)) = (name, arch) else { return Err(format!("ptxas said {line:?}")) };
            found.push(Resources { name: name.to_string(), arch, ..Resources::default() });
        }
        let Some(entry) = found.last_mut() else { continue };
        // Spills of functions that the entry calls count as its own.
        entry.stack += before(line, "bytes stack frame").unwrap_or(0);
        entry.spill_stores += before(line, "bytes spill stores").unwrap_or(0);
        entry.spill_loads += before(line, "bytes spill loads").unwrap_or(0);
        if let Some(n) = before(line, "registers") {
            entry.registers = n;
            entry.barriers = before(line, "barriers").unwrap_or(0);
            entry.shared = before(line, "bytes smem").unwrap_or(0);
        }
    }
    match found.iter().find(|r| r.registers == 0) {
        Some(r) => Err(format!("ptxas said no register count of {}", r.name)),
        None => Ok(found),
    }
}

/// The number before some words: 368 in `used 0 barriers, 368 bytes cmem[0]` for `bytes cmem`.
fn before(line: &str, words: &str) -> Option<u32> {
    line[..line.find(words)?].split_whitespace().next_back()?.parse().ok()
}
