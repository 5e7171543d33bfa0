//! A text of HTML. Markup is always a literal of this program and everything else is escaped: the types see to it.

/// HTML that grows.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup. `'static`, so that no text of the document can come in this way.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text, or the value of an attribute in double quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A text where backticks mark code.
    pub(super) fn prose(&mut self, text: &str) -> &mut Self {
        let mut is_code = false;
        for part in text.split('`') {
            if is_code {
                self.raw("<code>").text(part).raw("</code>");
            } else {
                self.text(part);
            }
            is_code = !is_code;
        }
        self
    }

    /// A text as code.
    pub(super) fn code(&mut self, text: &str) -> &mut Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        let mut html = Html::default();
        html.raw("<a href=\"").text("\" onclick='x'").raw("\">").prose("</a><script>`<b>` & 'c'").raw("</a>");
        assert_eq!(
            html.into_string(),
            "<a href=\"&quot; onclick=&#39;x&#39;\">&lt;/a&gt;&lt;script&gt;<code>&lt;b&gt;</code> &amp; &#39;c&#39;</a>"
        );
    }
}
