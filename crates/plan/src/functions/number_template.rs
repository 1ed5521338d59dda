//! Templates of numbers, which `to_char` and `to_number` share: `9 0 . , D G S MI PL SG PR FM TH V L`, and of `to_char` `EEEE` and `RN`.
//!
//! The locale is C: `L` is a blank, `D` a point, `G` a comma.

use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};

use super::arith::drop_digits;
use super::bind;
use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::pattern::Known;
use super::udf::Args;
use crate::pgtypes;

/// Digits of a row's number, rounded to so many behind the point, without sign and point; and whether it is negative. `None` for what
/// has no digits.
pub(super) type Digits<'a> = Box<dyn Fn(usize, usize) -> EvalResult<(Option<String>, bool)> + 'a>;

pub(super) fn digits<'a>(a: &'a Args<'_>, ty: &DataType) -> EvalResult<Digits<'a>> {
    let plain = |v: i128, scale: i8, fraction: usize| {
        let want = i8::try_from(fraction).unwrap_or(i8::MAX);
        let (v, missing) =
            if want >= scale { (v, fraction - usize::try_from(scale).unwrap_or(0)) } else { (drop_digits(v, scale - want), 0) };
        let text = format!("{}{}", v.unsigned_abs(), "0".repeat(missing));
        let text = if text.len() <= fraction { format!("{text:0>width$}", width = fraction + 1) } else { text };
        (Some(text), v < 0)
    };
    Ok(match ty {
        DataType::Int32 => {
            let (v, s) = a.lanes::<Int32Type>(0)?;
            Box::new(move |i, fraction| Ok(plain(v[i * s].into(), 0, fraction)))
        }
        DataType::Int64 => {
            let (v, s) = a.lanes::<Int64Type>(0)?;
            Box::new(move |i, fraction| Ok(plain(v[i * s].into(), 0, fraction)))
        }
        DataType::Float64 => {
            let (v, s) = a.lanes::<Float64Type>(0)?;
            Box::new(move |i, fraction| {
                let v = v[i * s];
                if !v.is_finite() {
                    return Ok((None, v < 0.0));
                }
                Ok((Some(format!("{:.fraction$}", v.abs()).replace('.', "")), v < 0.0))
            })
        }
        ty => {
            let scale = bind::scale_of(ty);
            let (v, s) = a.lanes::<Decimal128Type>(0)?;
            Box::new(move |i, fraction| Ok(plain(v[i * s], scale, fraction)))
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Digit,
    Zero,
    Point,
    Comma,
    /// S: by the number.
    Sign,
    Minus,
    Plus,
    Either,
    /// TH, in capitals or not.
    Ordinal(bool),
    /// RN, in capitals or not.
    Roman(bool),
    /// L, a blank.
    Currency,
    Text(char),
}

/// A template of numbers.
#[derive(Debug)]
pub(super) struct Shape {
    tokens: Vec<Token>,
    fill: bool,
    angled: bool,
    whole: usize,
    /// Digits behind the point.
    fraction: usize,
    /// Digits behind V: the number is shown multiplied by so many tens.
    shift: usize,
    /// EEEE
    scientific: bool,
}

impl Shape {
    pub(super) fn parse(template: &str) -> EvalResult<Shape> {
        let mut shape = Shape { tokens: vec![], fill: true, angled: false, whole: 0, fraction: 0, shift: 0, scientific: false };
        let mut rest = template;
        let mut quoted = false;
        let mut behind_point = false;
        let mut behind_v = false;
        while let Some(c) = rest.chars().next() {
            if shape.scientific {
                return Err(EvalError::new("42601", "\"EEEE\" must be the last pattern used"));
            }
            if rest.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("EEEE")) {
                let plain = |t: &Token| matches!(t, Token::Digit | Token::Zero | Token::Point | Token::Text(_));
                if !shape.fill || shape.angled || behind_v || !shape.tokens.iter().all(plain) {
                    return Err(EvalError::new("42601", "\"EEEE\" is incompatible with other formats"));
                }
                shape.scientific = true;
                rest = &rest[4..];
                continue;
            }
            let upper = rest.get(..2).unwrap_or("").to_ascii_uppercase();
            let mut len = c.len_utf8();
            if c == '"' {
                quoted = !quoted;
                rest = &rest[1..];
                continue;
            }
            if quoted {
                shape.tokens.push(Token::Text(c));
                rest = &rest[len..];
                continue;
            }
            let two = match upper.as_str() {
                "FM" => {
                    shape.fill = false;
                    true
                }
                "PR" => {
                    shape.angled = true;
                    true
                }
                "MI" => {
                    shape.tokens.push(Token::Minus);
                    true
                }
                "PL" => {
                    shape.tokens.push(Token::Plus);
                    true
                }
                "SG" => {
                    shape.tokens.push(Token::Either);
                    true
                }
                "TH" => {
                    shape.tokens.push(Token::Ordinal(c == 'T'));
                    true
                }
                "RN" => {
                    shape.tokens.push(Token::Roman(c == 'R'));
                    true
                }
                "SP" => true,
                _ => false,
            };
            if two {
                len = 2;
            } else {
                match c.to_ascii_uppercase() {
                    '9' | '0' => {
                        shape.tokens.push(if c == '9' { Token::Digit } else { Token::Zero });
                        *(if behind_point { &mut shape.fraction } else { &mut shape.whole }) += 1;
                        shape.shift += usize::from(behind_v);
                    }
                    '.' | 'D' if behind_v => {
                        return Err(EvalError::new("42601", "cannot use \"V\" and decimal point together"));
                    }
                    'V' if behind_point => {
                        return Err(EvalError::new("42601", "cannot use \"V\" and decimal point together"));
                    }
                    'V' => behind_v = true,
                    '.' | 'D' if behind_point => return Err(EvalError::new("42601", "multiple decimal points")),
                    '.' | 'D' => {
                        behind_point = true;
                        shape.tokens.push(Token::Point);
                    }
                    ',' | 'G' => shape.tokens.push(Token::Comma),
                    'S' => shape.tokens.push(Token::Sign),
                    'L' => shape.tokens.push(Token::Currency),
                    // PostgreSQL reserves them, and shows nothing for them
                    'B' | 'C' => {}
                    _ => shape.tokens.push(Token::Text(c)),
                }
            }
            rest = &rest[len..];
        }
        Ok(shape)
    }

    /// Writes a row's number.
    pub(super) fn show(&self, number: &Digits<'_>, scientific: &Scientific<'_>, i: usize, out: &mut String) -> EvalResult<()> {
        if self.scientific {
            let shown = scientific(i, self.fraction)?;
            if !shown.starts_with('-') {
                out.push(' ');
            }
            out.push_str(&shown);
            return Ok(());
        }
        if let Some(upper) = self.tokens.iter().find_map(|t| if let Token::Roman(upper) = t { Some(*upper) } else { None }) {
            let (digits, negative) = number(i, 0)?;
            let value = digits.filter(|_| !negative).and_then(|d| d.parse::<u32>().ok()).unwrap_or(0);
            let roman = roman(value).unwrap_or_else(|| "#".repeat(ROMAN_WIDTH));
            let roman = if upper { roman } else { roman.to_lowercase() };
            for token in &self.tokens {
                match token {
                    Token::Roman(_) if self.fill => out.push_str(&format!("{roman:>ROMAN_WIDTH$}")),
                    Token::Roman(_) => out.push_str(&roman),
                    Token::Text(c) => out.push(*c),
                    _ => {}
                }
            }
            return Ok(());
        }
        let (digits, negative) = number(i, self.fraction + self.shift)?;
        let digits = digits.map(|d| if self.shift > 0 { without_zeros(&d) } else { d });
        self.write(digits.as_deref(), negative, out);
        Ok(())
    }

    /// Writes a number of these digits.
    fn write(&self, digits: Option<&str>, negative: bool, out: &mut String) {
        let room = self.whole + self.fraction;
        let digits: Option<Vec<char>> = digits
            .map(|d| d.chars().collect())
            .filter(|d: &Vec<char>| d.len() <= room || (self.whole == 0 && d.len() == room + 1 && d[0] == '0'));
        let overflow = digits.is_none();
        let mut digits = digits.unwrap_or_else(|| vec!['#'; room]);
        let negative = negative && (overflow || digits.iter().any(|c| *c != '0'));
        while digits.len() > room {
            digits.remove(0);
        }
        // Nothing before the point is nothing to show, unless there is no point.
        let shown_whole = digits.len() - self.fraction;
        let zero_whole = !overflow && digits[..shown_whole].iter().all(|c| *c == '0');
        let has_point = self.tokens.contains(&Token::Point);
        let significant = if zero_whole && (has_point || shown_whole == 0) { 0 } else { shown_whole };
        let first_zero = self
            .tokens
            .iter()
            .take_while(|t| **t != Token::Point)
            .filter(|t| matches!(t, Token::Digit | Token::Zero))
            .position(|t| *t == Token::Zero);
        let starts = first_zero.map_or(self.whole - significant, |z| z.min(self.whole - significant));
        // Zeros at the end behind the point go where FM stands before a 9.
        let mut last = self.fraction;
        if !self.fill && !overflow {
            let behind: Vec<Token> = self
                .tokens
                .iter()
                .skip_while(|t| **t != Token::Point)
                .filter(|t| matches!(t, Token::Digit | Token::Zero))
                .copied()
                .collect();
            let keep = behind.iter().rposition(|t| *t == Token::Zero).map_or(0, |at| at + 1);
            while last > keep && digits[shown_whole + last - 1] == '0' {
                last -= 1;
            }
        }
        let own_sign = self.tokens.iter().any(|t| matches!(t, Token::Sign | Token::Minus | Token::Either));
        let leading = self
            .tokens
            .iter()
            .position(|t| *t == Token::Sign)
            .is_some_and(|at| self.tokens[..at].iter().all(|t| !matches!(t, Token::Digit | Token::Zero)));
        let sign = if self.angled {
            if negative {
                "<"
            } else if self.fill {
                " "
            } else {
                ""
            }
        } else if leading {
            if negative { "-" } else { "+" }
        } else if !own_sign {
            if negative {
                "-"
            } else if self.fill {
                " "
            } else {
                ""
            }
        } else {
            ""
        };
        let mut body = String::new();
        let (mut at_whole, mut at_fraction, mut begun, mut point) = (0, 0, false, false);
        let begin = |begun: &mut bool, body: &mut String| {
            if !std::mem::replace(begun, true) {
                body.push_str(sign);
            }
        };
        for token in &self.tokens {
            match token {
                Token::Digit | Token::Zero if !point => {
                    if at_whole >= starts {
                        begin(&mut begun, &mut body);
                        let place = (at_whole + shown_whole).checked_sub(self.whole);
                        body.push(place.map_or('0', |p| digits[p]));
                    } else if self.fill {
                        body.push(' ');
                    }
                    at_whole += 1;
                }
                Token::Digit | Token::Zero => {
                    if at_fraction < last {
                        body.push(digits[shown_whole + at_fraction]);
                    }
                    at_fraction += 1;
                }
                Token::Point => {
                    begin(&mut begun, &mut body);
                    body.push('.');
                    point = true;
                }
                Token::Comma if begun => body.push(','),
                Token::Comma if self.fill => body.push(' '),
                Token::Comma => {}
                Token::Sign if leading => {}
                Token::Sign | Token::Either => body.push(if negative { '-' } else { '+' }),
                Token::Minus => match (negative, self.fill) {
                    (true, _) => body.push('-'),
                    (false, true) => body.push(' '),
                    (false, false) => {}
                },
                Token::Plus => match (negative, self.fill) {
                    (false, _) => body.push('+'),
                    (true, true) => body.push(' '),
                    (true, false) => {}
                },
                Token::Ordinal(upper) if !negative && !overflow && !has_point => {
                    let ending = ending(&digits);
                    body.push_str(&if *upper { ending.to_uppercase() } else { ending.to_owned() });
                }
                Token::Ordinal(_) | Token::Roman(_) => {}
                Token::Currency => body.push(' '),
                Token::Text(c) => body.push(*c),
            }
        }
        if self.angled {
            body.push_str(if negative {
                ">"
            } else if self.fill {
                " "
            } else {
                ""
            });
        }
        out.push_str(&body);
    }
}

/// Columns that a Roman number is written in.
const ROMAN_WIDTH: usize = 15;

/// `None` for what Romans had no number for.
fn roman(mut n: u32) -> Option<String> {
    const PARTS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..4000).contains(&n) {
        return None;
    }
    let mut out = String::new();
    for (value, letters) in PARTS {
        while n >= value {
            out.push_str(letters);
            n -= value;
        }
    }
    Some(out)
}

/// The ending of the ordinal of these digits.
fn ending(digits: &[char]) -> &'static str {
    let teen = digits.len() > 1 && digits[digits.len() - 2] == '1';
    match digits.last() {
        Some('1') if !teen => "st",
        Some('2') if !teen => "nd",
        Some('3') if !teen => "rd",
        _ => "th",
    }
}

fn without_zeros(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    }
}

/// A row's number as `d.ddde+dd` with so many digits behind the point.
pub(super) type Scientific<'a> = Box<dyn Fn(usize, usize) -> EvalResult<String> + 'a>;

pub(super) fn scientific<'a>(a: &'a Args<'_>, ty: &DataType) -> EvalResult<Scientific<'a>> {
    Ok(match ty {
        // as doubles are: a tie goes to the even digit
        DataType::Int32 => {
            let (v, s) = a.lanes::<Int32Type>(0)?;
            Box::new(move |i, fraction| Ok(of_double(v[i * s].into(), fraction)))
        }
        DataType::Float64 => {
            let (v, s) = a.lanes::<Float64Type>(0)?;
            Box::new(move |i, fraction| Ok(of_double(v[i * s], fraction)))
        }
        DataType::Int64 => {
            let (v, s) = a.lanes::<Int64Type>(0)?;
            Box::new(move |i, fraction| Ok(of_decimal(v[i * s].into(), 0, fraction)))
        }
        ty => {
            let scale = bind::scale_of(ty);
            let (v, s) = a.lanes::<Decimal128Type>(0)?;
            Box::new(move |i, fraction| Ok(of_decimal(v[i * s], scale, fraction)))
        }
    })
}

fn of_double(v: f64, fraction: usize) -> String {
    if !v.is_finite() {
        return format!("#.{}", "#".repeat(fraction + 4));
    }
    let shown = format!("{v:.fraction$e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    with_exponent(mantissa, exponent.parse().unwrap_or(0))
}

/// A tie goes away from zero.
fn of_decimal(v: i128, scale: i8, fraction: usize) -> String {
    let digits = v.unsigned_abs().to_string();
    let n = i32::try_from(digits.len()).unwrap_or(0);
    let mut exponent = if v == 0 { 0 } else { n - 1 - i32::from(scale) };
    let mut kept: Vec<u8> = digits.bytes().take(fraction + 1).collect();
    if digits.as_bytes().get(fraction + 1).is_some_and(|next| *next >= b'5') {
        let mut at = kept.len();
        loop {
            match at.checked_sub(1) {
                Some(before) if kept[before] == b'9' => kept[before] = b'0',
                Some(before) => {
                    kept[before] += 1;
                    break;
                }
                None => {
                    kept.insert(0, b'1');
                    kept.pop();
                    exponent += 1;
                    break;
                }
            }
            at -= 1;
        }
    }
    kept.resize(fraction + 1, b'0');
    let mut mantissa = String::from(if v < 0 { "-" } else { "" });
    for (at, digit) in kept.iter().enumerate() {
        if at == 1 {
            mantissa.push('.');
        }
        mantissa.push(char::from(*digit));
    }
    with_exponent(&mantissa, exponent)
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

/// A text that is being read by a template.
struct Reading<'a> {
    shape: &'a Shape,
    text: Vec<char>,
    at: usize,
    sign: Option<char>,
    number: String,
    whole: usize,
    fraction: usize,
    point: bool,
}

impl Reading<'_> {
    fn here(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn any_digit(&self) -> bool {
        self.whole + self.fraction > 0
    }

    fn has(&self, token: Token) -> bool {
        self.shape.tokens.contains(&token)
    }

    /// Goes through the template as PostgreSQL does: each of its tokens looks at the character that has its turn, and what stands there
    /// in the place of a digit is passed over. What is behind the template is not looked at.
    fn read(&mut self) {
        for token in &self.shape.tokens {
            let Some(c) = self.here() else { return };
            match token {
                Token::Digit | Token::Zero | Token::Point => self.place(*token != Token::Point),
                Token::Comma if c != ',' || !self.shape.fill => continue,
                Token::Comma => {}
                Token::Sign => continue,
                Token::Minus if c == '-' => self.sign = Some(c),
                Token::Plus if c == '+' => self.sign = Some(c),
                Token::Either if matches!(c, '-' | '+') => self.sign = Some(c),
                Token::Minus | Token::Plus | Token::Either => {
                    // A blank may stand where there is no sign; what belongs to the number may not be lost.
                    if !c.is_ascii_digit() && !matches!(c, '.' | ',' | '-' | '+') {
                        self.at += 1;
                    }
                    continue;
                }
                Token::Ordinal(_) => {
                    self.pass(2);
                    continue;
                }
                Token::Currency => {
                    self.pass(1);
                    continue;
                }
                Token::Text(_) | Token::Roman(_) => {}
            }
            self.at += 1;
        }
    }

    /// Passes over so many characters at most that are no part of a number.
    fn pass(&mut self, n: usize) {
        let part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '+' | '-');
        for _ in 0..n {
            if self.here().is_some_and(|c| !part(c)) {
                self.at += 1;
            }
        }
    }

    /// The place of a digit or of the point.
    fn place(&mut self, of_digit: bool) {
        if self.here() == Some(' ') {
            self.at += 1;
        }
        if of_digit && self.sign.is_none() && !self.any_digit() {
            self.sign = match self.here() {
                Some('-') => Some('-'),
                Some('<') if self.shape.angled && !self.has(Token::Sign) => Some('-'),
                Some('+') => Some('+'),
                _ => None,
            };
            self.at += usize::from(self.sign.is_some());
        }
        let mut taken = false;
        match self.here() {
            Some(c) if c.is_ascii_digit() => {
                if self.point && self.fraction == self.shape.fraction {
                    return;
                }
                self.number.push(c);
                *(if self.point { &mut self.fraction } else { &mut self.whole }) += 1;
                taken = true;
            }
            Some('.') if !self.point && self.has(Token::Point) => {
                self.number.push('.');
                self.point = true;
                taken = true;
            }
            _ => {}
        }
        if self.sign.is_some() || !self.any_digit() {
            return;
        }
        // A sign behind the last digit.
        let next = self.text.get(self.at + 1).copied();
        if self.has(Token::Sign) {
            if taken && matches!(next, Some('-' | '+')) {
                self.sign = next;
                self.at += 1;
            }
        } else if !taken && ![Token::Plus, Token::Minus, Token::Either].into_iter().any(|t| self.has(t)) {
            self.sign = self.here().filter(|c| matches!(c, '-' | '+'));
        }
    }
}

builtin!(TO_NUMBER, "to_number", [], &[(&[K::Text, K::Text], K::Num)], false, |a| {
    let ((text, ss), (templates, st)) = (a.texts(0)?, a.texts(1)?);
    let known = Known::new();
    let scale = bind::scale_of(a.ret);
    a.rows::<Decimal128Type>(|i| {
        let (text, template) = (text.value(i * ss), templates.value(i * st));
        let shape = known.get(template, || Shape::parse(template))?;
        if shape.scientific {
            return Err(EvalError::new("0A000", "\"EEEE\" not supported for input"));
        }
        if shape.tokens.iter().any(|t| matches!(t, Token::Roman(_))) {
            return Err(EvalError::new("0A000", "\"RN\" not supported for input"));
        }
        let mut reading = Reading {
            shape: &shape,
            text: text.chars().collect(),
            at: 0,
            sign: None,
            number: String::new(),
            whole: 0,
            fraction: 0,
            point: false,
        };
        reading.read();
        if !reading.any_digit() {
            return Err(EvalError::invalid_text("numeric", " "));
        }
        let significant = reading.number.trim_start_matches('0').split('.').next().unwrap_or_default().len();
        if significant > shape.whole {
            return Err(EvalError::new("22003", "numeric field overflow"));
        }
        if shape.shift > 0 {
            let at = reading.number.len().saturating_sub(shape.shift);
            let zeros = shape.shift.saturating_sub(reading.number.len());
            reading.number = format!("{}.{}{}", &reading.number[..at], "0".repeat(zeros), &reading.number[at..]);
        }
        let number = format!("{}{}", if reading.sign == Some('-') { "-" } else { "" }, reading.number);
        pgtypes::parse_decimal(&number, pgtypes::NUMERIC_PRECISION, scale)
    })
});
