//! What the engine's connection calls itself: by its `application_name` a worker says what it has applied.
//!
//! That costs no table write, every role may read it, and it goes when the worker does.

use crate::token_set::TokenSet;

/// The most that the server keeps of a name.
const LONGEST: usize = 63;

/// What the engine's connection is called until it is known to be ours alone: behind a pooler whatever it
/// says would stay on a connection that others use. A short connection too, unless the parameters name it.
pub(crate) const ANONYMOUS: &str = "flagstaff";

/// `fs1 TOKEN NONCE STATE PID HOST`: the newest token that is applied, 0 for none, the low half of
/// its nonce as eight hexadecimal digits, and the worker. Of a host's name that does not fit, the
/// end is kept, which is what differs between the hosts of a cluster.
pub(crate) fn applied(token_set: Option<&TokenSet>, state: char, host: &str) -> String {
    let token = token_set.map_or(0, TokenSet::newest);
    let nonce = token_set.map_or(0, TokenSet::nonce) & 0xffff_ffff;
    let name = format!("fs1 {token} {nonce:08x} {state} {} ", std::process::id());
    let host: Vec<char> = host.chars().map(safe).collect();
    let room = LONGEST - name.len();
    if host.len() <= room {
        return name + &String::from_iter(host);
    }
    name + "~" + &String::from_iter(&host[host.len() + 1 - room..])
}

/// What stands in a host's name, and needs no quotes in a statement.
fn safe(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_') { letter } else { '_' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(newest: i64, nonce: i64, host: &str) -> String {
        let mut token_set = TokenSet::default();
        token_set.add("f", newest, "");
        token_set.set_nonce(nonce);
        applied(Some(&token_set), 'L', host).replace(&std::process::id().to_string(), "PID")
    }

    #[test]
    fn a_worker_says_what_it_has_applied_and_who_it_is() {
        assert_eq!(of(7, -1, "web-1"), "fs1 7 ffffffff L PID web-1");
        assert_eq!(of(7, 0x1_0000_00ff, "web-1"), "fs1 7 000000ff L PID web-1");
        let nothing = applied(None, 'S', "web-1");
        assert!(nothing.starts_with("fs1 0 00000000 S "));
    }

    #[test]
    fn the_end_of_a_long_name_is_kept() {
        let host = format!("shop-{}-x7k2p", "frontend-".repeat(9));
        let name = applied(None, 'L', &host);
        assert_eq!(name.len(), LONGEST);
        assert!(name.contains(" ~") && name.ends_with("-x7k2p"));
    }

    #[test]
    fn the_largest_numbers_leave_room_for_a_host() {
        let mut token_set = TokenSet::default();
        token_set.add("f", i64::MAX, "");
        let name = applied(Some(&token_set), 'L', &"h".repeat(80));
        assert!(name.len() == LONGEST && name.ends_with(&"h".repeat(19)));
    }

    #[test]
    fn a_name_can_end_no_statement() {
        assert!(applied(None, 'L', "o'brien; é").ends_with(" o_brien___"));
    }
}
