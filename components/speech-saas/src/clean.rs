//! Prompts as plain text: markup, control characters and characters that nobody sees are taken out, and spaces become one. What is
//! drawn, kept and shown is what is left; a page that shows the history shows no script of a stranger's.

/// The text that is left.
pub(crate) fn cleaned(text: &str) -> String {
    // before the tags: a character that nobody sees must not hide one
    let seen = text.chars().filter(|c| !is_unseen(*c));
    let plain: String = seen.map(|c| if c.is_control() { ' ' } else { c }).collect();
    without_tags(&plain).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text without `<script>`, `</b>`, `<!-- … -->` and the like. A `<` before anything else is no tag, and one whose tag does not
/// end takes the rest with it.
fn without_tags(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        left.push_str(before);
        let is_tag = tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        rest = match (is_tag, tag.find('>')) {
            (true, Some(end)) => {
                left.push(' ');
                &tag[end + 1..]
            }
            (true, None) => "",
            (false, _) => {
                left.push('<');
                &tag[1..]
            }
        };
    }
    left + rest
}

/// Characters without a shape that hide text or turn its direction (Unicode's general category Cf, and fillers).
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_dangerous_is_taken_out_and_the_rest_stays() {
        for (text, left) in [
            ("a red boat", "a red boat"),
            ("  a\tred\r\n\u{0}boat ", "a red boat"),
            ("<script>alert(1)</script>a boat", "alert(1) a boat"),
            ("a <b onclick='x'>red</b> boat<!-- c -->", "a red boat"),
            ("boats < ships, 3 <4 & \"so\"", "boats < ships, 3 <4 & \"so\""),
            ("a boat <img src=x onerror=alert(1)", "a boat"),
            ("<<b>script>x", "< script>x"),
            ("<\u{200b}script>x</scr\u{feff}ipt>", "x"),
            ("ev\u{200b}il\u{202e}txt\u{feff}", "eviltxt"),
            ("punainen vene, 红船", "punainen vene, 红船"),
            ("<a><b></b>", ""),
        ] {
            assert_eq!((cleaned(text).as_str(), cleaned(left).as_str()), (left, left), "{text:?}");
        }
    }
}
