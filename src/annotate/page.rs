//! The page: one document with its style and its program inside, which asks nothing of any other address.

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In this order: each uses those before it.
const PROGRAM: [&str; 5] = [
    include_str!("page/bitmap.js"),
    include_str!("page/history.js"),
    include_str!("page/link.js"),
    include_str!("page/view.js"),
    include_str!("page/page.js"),
];

/// The document, whose style and program carry `nonce`.
pub fn document(nonce: &str) -> String {
    let program = PROGRAM.concat();
    HTML.replace("{{style}}", &format!("<style nonce=\"{nonce}\">\n{STYLE}</style>"))
        .replace("{{program}}", &format!("<script nonce=\"{nonce}\">\n\"use strict\";\n{program}</script>"))
}

/// The policy under which a browser runs nothing but the program with `nonce`, and loads nothing from elsewhere.
pub fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' blob: data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_names_no_other_address() {
        let page = super::document("n");
        assert!(!page.contains("{{") && page.matches("nonce=\"n\"").count() == 2);
        for word in ["http://", "https://", "//cdn", "@import", "url(", "eval(", "innerHTML", " style=", " onclick="] {
            assert!(!page.contains(word), "{word} in the page");
        }
    }
}
