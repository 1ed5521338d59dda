//! Unicode's normal forms: `normalize(x, NFC)`, and `is_normalized(x, 'NFC')`, which `x IS NFC NORMALIZED` is. NFC where none is named.
//!
//! The tables are those of `unicode-normalization`, which knows a newer Unicode than PostgreSQL 15: characters that had not been assigned
//! then may be decomposed here. Normal forms of assigned characters never change (Unicode's stability policy). Cost: the text's length.

use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfd, is_nfkc, is_nfkd};

use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::udf::{Args, TEXT_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NormalForm {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl NormalForm {
    fn of(name: &str) -> EvalResult<NormalForm> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "NFC" => NormalForm::Nfc,
            "NFD" => NormalForm::Nfd,
            "NFKC" => NormalForm::Nfkc,
            "NFKD" => NormalForm::Nfkd,
            _ => return Err(EvalError::new("22023", format!("invalid normalization form: {name}"))),
        })
    }

    fn is_of(self, text: &str) -> bool {
        match self {
            NormalForm::Nfc => is_nfc(text),
            NormalForm::Nfd => is_nfd(text),
            NormalForm::Nfkc => is_nfkc(text),
            NormalForm::Nfkd => is_nfkd(text),
        }
    }

    /// Appends the text in this form.
    ///
    /// # Errors
    /// 54000 beyond [`TEXT_MAX`]: a character has up to 18 in NFKD.
    fn write(self, text: &str, out: &mut String) -> EvalResult<()> {
        // what stands in ASCII has every form already
        match self {
            _ if text.is_ascii() => {
                out.push_str(text);
                Ok(())
            }
            NormalForm::Nfc => append(text.nfc(), out),
            NormalForm::Nfd => append(text.nfd(), out),
            NormalForm::Nfkc => append(text.nfkc(), out),
            NormalForm::Nfkd => append(text.nfkd(), out),
        }
    }
}

fn append(mut chars: impl Iterator<Item = char>, out: &mut String) -> EvalResult<()> {
    chars.try_for_each(|c| {
        out.push(c);
        if out.len() > TEXT_MAX { Err(EvalError::new("54000", "requested length too large")) } else { Ok(()) }
    })
}

/// The form that row `i` names.
fn forms<'a>(a: &'a Args<'_>) -> EvalResult<impl Fn(usize) -> EvalResult<NormalForm> + 'a> {
    let names = if a.cols.len() > 1 { Some(a.texts(1)?) } else { None };
    Ok(move |i: usize| names.map_or(Ok(NormalForm::Nfc), |(names, step)| NormalForm::of(names.value(i * step))))
}

builtin!(NORMALIZE, "normalize", [], &[(&[K::Text], K::Text), (&[K::Text, K::Text], K::Text)], false, |a| {
    let ((text, st), form) = (a.texts(0)?, forms(a)?);
    a.rows_text(|i, out| form(i)?.write(text.value(i * st), out))
});
builtin!(IS_NORMALIZED, "is_normalized", [], &[(&[K::Text], K::Bool), (&[K::Text, K::Text], K::Bool)], false, |a| {
    let ((text, st), form) = (a.texts(0)?, forms(a)?);
    a.rows_bool(|i| Ok(form(i)?.is_of(text.value(i * st))))
});

#[cfg(test)]
mod tests {
    use super::NormalForm;

    #[test]
    fn a_written_text_is_of_its_form() {
        for text in ["", "abc", "e\u{301}", "\u{e9}", "\u{fb01}", "\u{1e9b}\u{323}", "\u{ac00}", "\u{1100}\u{1161}"] {
            for form in [NormalForm::Nfc, NormalForm::Nfd, NormalForm::Nfkc, NormalForm::Nfkd] {
                let mut out = String::new();
                assert_eq!(form.write(text, &mut out).map_err(|e| e.sqlstate), Ok(()));
                assert!(form.is_of(&out), "{text:?} {form:?} {out:?}");
                assert_eq!(form.is_of(text), out == text, "{text:?} {form:?} {out:?}");
            }
        }
    }

    #[test]
    fn forms_are_named_in_any_case_and_no_others_are_known() {
        assert_eq!(NormalForm::of("nfKc").ok(), Some(NormalForm::Nfkc));
        assert_eq!(NormalForm::of("NFX").map_err(|e| e.sqlstate), Err("22023"));
    }
}
