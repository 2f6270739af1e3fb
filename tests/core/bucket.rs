//! The bucket equals `int(sha256(f"{key}:{pk}".encode()).hexdigest(), 16) % 100`.

use flagstaff::bucket::{bucket, position};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// Long division of the digest, one hexadecimal digit at a time.
fn remainder(key: &str, subject: &str, divisor: u32) -> u32 {
    let digest = Sha256::digest(format!("{key}:{subject}"));
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.fold(0, |remainder, digit| (remainder * 16 + u32::from(digit)) % divisor)
}

fn reference(key: &str, subject: &str) -> u32 {
    remainder(key, subject, 100)
}

#[test]
fn positions_of_documented_units_are_as_documented() {
    let seed = "experiment:checkout_button:0";
    let buckets = ["1", "2", "3", "42", "100000"].map(|unit| position(seed, unit).bucket);
    assert_eq!(buckets, [9799, 3456, 835, 8809, 1091]);
}

#[test]
fn position_of_every_message_length_equals_reference() {
    for length in 0..200 {
        let unit = "u".repeat(length);
        let bucket = u32::from(position("experiment:k:0", &unit).bucket);
        assert_eq!(bucket, remainder("experiment:k:0", &unit, 10_000), "length {length}");
    }
}

#[test]
fn fingerprint_is_the_beginning_of_the_digest() {
    let digest = Sha256::digest("experiment:k:0:42");
    let first = u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"));
    assert_eq!(position("experiment:k:0", "42").fingerprint, first);
}

#[test]
fn buckets_of_documented_users_are_as_documented() {
    let buckets = ["1", "2", "3", "42", "100000"].map(|pk| bucket("new_checkout", pk));
    assert_eq!(buckets, [2, 51, 3, 33, 66]);
}

#[test]
fn bucket_of_every_message_length_equals_reference() {
    for length in 0..200 {
        let subject = "u".repeat(length);
        assert_eq!(u32::from(bucket("k", &subject)), reference("k", &subject), "length {length}");
        assert_eq!(u32::from(bucket(&subject, "k")), reference(&subject, "k"), "length {length}");
    }
}

#[test]
fn bucket_depends_on_the_whole_digest() {
    // The last eight bytes alone yield another bucket for nearly every user.
    let differs = |pk: &u32| {
        let digest = Sha256::digest(format!("new_checkout:{pk}"));
        let end = u64::from_be_bytes(digest[24..].try_into().expect("eight bytes"));
        u64::from(bucket("new_checkout", &pk.to_string())) != end % 100
    };
    assert!((0..100).filter(differs).count() > 50);
}

#[test]
fn buckets_are_distributed_evenly() {
    let mut counts = [0_i32; 100];
    for pk in 0..100_000 {
        counts[usize::from(bucket("spread", &pk.to_string()))] += 1;
    }
    // 1,000 are expected in each; five standard deviations are 158.
    assert!(counts.iter().all(|count| (count - 1_000).abs() < 158), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn bucket_of_any_printable_text_equals_reference(key in "\\PC{0,80}", subject in "\\PC{0,80}") {
        prop_assert_eq!(u32::from(bucket(&key, &subject)), reference(&key, &subject));
    }

    #[test]
    fn bucket_of_any_text_equals_reference(key in any::<String>(), subject in any::<String>()) {
        prop_assert_eq!(u32::from(bucket(&key, &subject)), reference(&key, &subject));
    }

    #[test]
    fn position_of_any_text_equals_reference(seed in "\\PC{0,80}", unit in any::<String>()) {
        let bucket = u32::from(position(&seed, &unit).bucket);
        prop_assert_eq!(bucket, remainder(&seed, &unit, 10_000));
    }

    #[test]
    fn bucket_of_any_integer_equals_reference(pk in any::<i64>()) {
        let pk = pk.to_string();
        prop_assert_eq!(u32::from(bucket("new_checkout", &pk)), reference("new_checkout", &pk));
    }
}
