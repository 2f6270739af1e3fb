//! Connection settings are understood or refused, with a line that gives no secret away.

use flagstaff::postgres::connect::Settings;
use flagstaff::postgres::error::Kind;
use flagstaff::postgres::target::Target;

const SECRET: &str = "open sesame";

/// Each line of the text is a setting, its name before the first `=`.
pub(crate) fn connection_settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let mut settings: Settings =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    settings.insert("password".to_owned(), SECRET.to_owned());
    match Target::new(&settings) {
        Ok(target) => assert_eq!(format!("{target:?}"), "Target"),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Settings);
            assert!(!error.to_string().contains(SECRET) || text.contains(SECRET), "{error}");
        }
    }
}
