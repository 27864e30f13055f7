//! Decimals: a whole number in two's complement, the highest byte first, and how many of its digits stand behind the
//! point. Pure.

/// A decimal of more digits behind its point is none that a text or a float could hold.
const SCALE_MAX: u32 = 1_000;
/// Below this, every whole number is an `f64`, and so is every power of ten up to the 22nd.
const EXACT_END: i128 = 1 << 53;
const EXACT_SCALE_MAX: u32 = 22;

/// `None` beyond 128 bits, which is more than 38 digits.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { 0xff } else { 0 };
    let excess = bytes.len().saturating_sub(size_of::<i128>());
    let (padding, bytes) = bytes.split_at(excess);
    let mut whole = [sign; size_of::<i128>()];
    let from = whole.len() - bytes.len();
    whole[from..].copy_from_slice(bytes);
    let number = i128::from_be_bytes(whole);
    let fits = padding.iter().all(|byte| *byte == sign) && (number < 0) == (sign != 0);
    fits.then_some(number)
}

/// `-12.30`
pub(super) fn text(bytes: &[u8], scale: u32) -> Option<String> {
    let number = unscaled(bytes)?;
    let scale = usize::try_from(scale).ok().filter(|_| scale <= SCALE_MAX)?;
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// The nearest float.
#[expect(clippy::cast_precision_loss, reason = "what is cast is exact")]
pub(super) fn float(bytes: &[u8], scale: u32) -> Option<f64> {
    let number = unscaled(bytes)?;
    if number.unsigned_abs() < EXACT_END.unsigned_abs() && scale <= EXACT_SCALE_MAX {
        let power = 10_u128.pow(scale);
        // Both are exact, so that dividing rounds once.
        return Some(number as f64 / power as f64);
    }
    text(bytes, scale)?.parse().ok()
}

/// The whole number that it is, if it is one.
pub(super) fn whole(bytes: &[u8], scale: u32) -> Option<i128> {
    let number = unscaled(bytes)?;
    if number == 0 {
        return Some(0);
    }
    let power = 10_i128.checked_pow(scale)?;
    (number % power == 0).then_some(number / power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_is_shown_with_its_digits_behind_the_point() {
        for (bytes, scale, wanted) in [
            (&[][..], 2, "0.00"),
            (&[0x04, 0xd2], 2, "12.34"),
            (&[0xff], 2, "-0.01"),
            (&[0x05], 0, "5"),
            (&[0xfb, 0x2e], 3, "-1.234"),
        ] {
            assert_eq!(text(bytes, scale).as_deref(), Some(wanted));
        }
        assert_eq!(text(&[1], SCALE_MAX + 1), None);
    }

    #[test]
    fn more_bytes_than_needed_are_no_more_digits() {
        let mut long = vec![0xff; 40];
        assert_eq!(text(&long, 0).as_deref(), Some("-1"));
        long[0] = 0;
        assert_eq!((text(&long, 0), float(&long, 0), whole(&long, 0)), (None, None, None));
        let mut positive = vec![0; 4];
        positive.extend([0xff; 16]);
        assert_eq!(text(&positive, 0), None, "beyond 127 bits");
    }

    #[test]
    fn a_whole_decimal_is_a_whole_number() {
        assert_eq!(whole(&[0x64], 2), Some(1));
        assert_eq!(whole(&[0x65], 2), None);
        assert_eq!(whole(&[0], 999), Some(0));
        assert_eq!(whole(&[1], 99), None);
    }

    proptest! {
        #[test]
        fn a_float_is_what_its_text_says(number: i128, scale in 0_u32..60) {
            let bytes = number.to_be_bytes();
            let parsed: f64 = text(&bytes, scale).unwrap().parse().unwrap();
            prop_assert_eq!(float(&bytes, scale), Some(parsed));
        }

        #[test]
        fn a_small_float_is_what_its_text_says(number: i32, scale in 0_u32..30) {
            let bytes = number.to_be_bytes();
            let parsed: f64 = text(&bytes, scale).unwrap().parse().unwrap();
            prop_assert_eq!(float(&bytes, scale), Some(parsed));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, scale: u32) {
            let _ = (text(&bytes, scale), float(&bytes, scale), whole(&bytes, scale));
        }
    }
}
