//! The `application_name` of the engine's connection, which shows what the worker has applied.
//!
//! It costs no table write, every role can read it, and it disappears with the worker.

use crate::rules::RULE_FORMAT;
use crate::token_set::TokenSet;

/// The length at which the server truncates a name.
const MAX_LENGTH: usize = 63;

/// `fs2 TABLE TOKEN NONCE STATE PID rFORMAT HOST`: the oid of the token table (0 for none), the
/// newest applied token (0 for none), the low half of its nonce as eight hexadecimal digits, the
/// worker, and the newest format of rules that it can read. A long host name keeps its end, which
/// differs between the hosts of a cluster.
///
/// Versions that do not know the format of rules read it as part of the host.
pub(super) fn worker_name(
    token_table: Option<u32>,
    token_set: Option<&TokenSet>,
    state: char,
    host: &str,
) -> String {
    let table = token_table.unwrap_or(0);
    let token = token_set.map_or(0, TokenSet::newest);
    let nonce = token_set.map_or(0, TokenSet::nonce) & 0xffff_ffff;
    let pid = std::process::id();
    let name = format!("fs2 {table} {token} {nonce:08x} {state} {pid} r{RULE_FORMAT} ");
    let host: Vec<char> = host.chars().map(without_quotes).collect();
    let room = MAX_LENGTH - name.len();
    if host.len() <= room {
        return name + &String::from_iter(host);
    }
    name + "~" + &String::from_iter(&host[host.len() + 1 - room..])
}

/// Replaces what a host name does not contain and a quoted literal must not.
fn without_quotes(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_') { letter } else { '_' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(newest: i64, nonce: i64, host: &str) -> String {
        let mut token_set = TokenSet::default();
        token_set.add("f", newest, "");
        token_set.set_nonce(nonce);
        worker_name(Some(16404), Some(&token_set), 'L', host)
            .replace(&std::process::id().to_string(), "PID")
    }

    #[test]
    fn worker_name_holds_the_applied_token_and_the_worker() {
        assert_eq!(name(7, -1, "web-1"), "fs2 16404 7 ffffffff L PID r2 web-1");
        assert_eq!(name(7, 0x1_0000_00ff, "web-1"), "fs2 16404 7 000000ff L PID r2 web-1");
        let nothing_applied = worker_name(Some(16404), None, 'S', "web-1");
        assert!(nothing_applied.starts_with("fs2 16404 0 00000000 S "));
    }

    #[test]
    fn worker_name_without_a_token_table_has_a_zero() {
        assert!(worker_name(None, None, 'R', "web-1").starts_with("fs2 0 0 00000000 R "));
    }

    #[test]
    fn long_host_name_keeps_its_end() {
        let host = format!("shop-{}-x7k2p", "frontend-".repeat(9));
        let name = worker_name(None, None, 'L', &host);
        assert_eq!(name.len(), MAX_LENGTH);
        assert!(name.contains(" ~") && name.ends_with("-x7k2p"));
    }

    #[test]
    fn largest_numbers_leave_room_for_a_host() {
        let mut token_set = TokenSet::default();
        token_set.add("f", i64::MAX, "");
        let name = worker_name(Some(u32::MAX), Some(&token_set), 'L', &"h".repeat(80));
        assert!(name.len() == MAX_LENGTH && name.ends_with(&"h".repeat(5)));
    }

    #[test]
    fn quote_in_a_host_name_is_replaced() {
        assert!(worker_name(None, None, 'L', "o'brien; é").ends_with(" o_brien___"));
    }
}
