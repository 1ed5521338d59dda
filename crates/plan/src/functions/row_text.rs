//! `pg_row_text(a, b, ..)`: a row as PostgreSQL writes it, `(1,"b c",)`: what a statement shows of `ROW(a, b, ..)`.

use super::cast::writer;
use super::error::EvalResult;
use super::text::bind_any;
use super::udf::{Builtin, text_array};

/// Its frozen name.
pub const NAME: &str = "pg_row_text";

/// See the module's header.
pub static ROW_TEXT: Builtin = Builtin {
    name: NAME,
    aliases: &[],
    bind: bind_any,
    refine: None,
    kernel: |a| {
        let writers: Vec<_> = a.cols.iter().map(|c| writer(&c.array)).collect::<EvalResult<_>>()?;
        text_array(a.n, |i, out| {
            let mut field = String::new();
            for (n, (col, write)) in a.cols.iter().zip(&writers).enumerate() {
                out.push(if n == 0 { '(' } else { ',' });
                if !col.is_null(i) {
                    field.clear();
                    write(i * col.step, &mut field);
                    put(&field, out);
                }
            }
            out.push(')');
            Ok(true)
        })
    },
    safe: true,
};

/// A field, in quotes where it could be mistaken; NULL is nothing at all.
fn put(field: &str, out: &mut String) {
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || c.is_ascii_whitespace() || c == '\x0b';
    if !field.is_empty() && !field.contains(special) {
        return out.push_str(field);
    }
    out.push('"');
    for c in field.chars() {
        if matches!(c, '"' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('"');
}
