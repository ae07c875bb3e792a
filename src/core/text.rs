//! Numbers as people write them.

/// 5,183,808
pub fn thousands(n: usize) -> String {
    let s = n.to_string();
    let head = s.len() % 3;
    let mut parts: Vec<&str> = if head > 0 { vec![&s[..head]] } else { vec![] };
    parts.extend((head..s.len()).step_by(3).map(|i| &s[i..i + 3]));
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_every_three_digits() {
        for (n, text) in [(0, "0"), (12, "12"), (999, "999"), (1000, "1,000"), (28_615, "28,615"), (5_183_808, "5,183,808")] {
            assert_eq!(thousands(n), text);
        }
    }
}
