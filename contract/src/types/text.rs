//! Texts of limited length, and numbers in texts.

/// A number and its noun, such as `1 attempt` or `2 attempts`.
pub fn counted(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The longest beginning of `text` that has at most `limit` bytes when written as JSON.
pub fn truncate(text: &str, limit: usize) -> &str {
    let mut written = 0;
    let end = text.char_indices().find(|(_, c)| {
        written += written_bytes(*c);
        written > limit
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// Cuts a text that is too long, at its front and between two lines if it has any.
pub fn keep_the_end(text: &mut String, limit: usize) {
    let Some(too_much) = text.len().checked_sub(limit).filter(|too_much| *too_much > 0) else { return };
    let cut = text.ceil_char_boundary(too_much);
    let next_line = text[cut..].find('\n').map(|newline| cut + newline + 1).filter(|next| *next < text.len());
    text.drain(..next_line.unwrap_or(cut));
}

/// The size of a character in a JSON string: programs print control characters, which take six bytes each there.
fn written_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(truncate("äöü", 3), "ä");
        assert_eq!((truncate("abc", 3), truncate("abc", 2), truncate("", 0)), ("abc", "ab", ""));
    }

    #[test]
    fn a_cut_text_is_short_in_json_as_well() {
        for c in ["\u{1}", "\"", "\\", "\n", "\u{1b}", "ä", "\u{2028}", "\u{7f}"] {
            let written = serde_json::to_string(truncate(&c.repeat(100), 60)).expect("a text").len() - 2;
            assert!((57..=60).contains(&written), "{c:?}: {written}");
        }
    }
}
