//! Connection parameters are accepted, or rejected with a message that contains no secret.

use flagstaff::postgres::connect::parameters::Parameters;
use flagstaff::postgres::connect::target::Target;
use flagstaff::postgres::error::ErrorKind;

const SECRET: &str = "open sesame";

/// Each line of the text is a parameter, with its name before the first `=`.
pub(crate) fn connection_parameters(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let mut parameters: Parameters =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    parameters.insert("password".to_owned(), SECRET.to_owned());
    match Target::new(&parameters) {
        Ok(target) => assert_eq!(format!("{target:?}"), "Target"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Parameters);
            assert!(!error.to_string().contains(SECRET) || text.contains(SECRET), "{error}");
        }
    }
}
